package settings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// decoder walks a YAML document and collects what is wrong with it. It works
// on nodes, since these know their lines.
type decoder struct {
	file     string
	problems Problems
}

// fields says what each key of a mapping does.
type fields map[string]func(n *yaml.Node)

const maxProblems = 20

func (d *decoder) problem(line int, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, line, fmt.Sprintf(format, args...)})
}

// err is nil, or all problems in the order of their lines.
func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if more := len(d.problems) - maxProblems; more > 0 {
		d.problems = append(d.problems[:maxProblems], Problem{File: d.file, Text: fmt.Sprintf("and %d more problems", more)})
	}
	return d.problems
}

// mapping calls the function of each key of n, which is what; "" is the whole
// file. An unknown key, one that
// stands twice, and what is no mapping are problems; nothing at all is an
// empty mapping.
func (d *decoder) mapping(n *yaml.Node, what string, f fields) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.problem(n.Line, "%swanted keys and values%s", within(what), alias(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		set, known := f[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !known:
			d.problem(key.Line, "%sunknown key %s%s", within(what), quote(key.Value), nearest(key.Value, f))
		case seen[key.Value] != 0:
			d.problem(key.Line, "%s%s stands here again, after line %d", within(what), key.Value, seen[key.Value])
		case !isNull(value):
			set(value)
		}
		seen[key.Value] = key.Line
	}
}

func within(what string) string {
	if what == "" {
		return ""
	}
	return what + ": "
}

// list calls each for every element of n.
func (d *decoder) list(n *yaml.Node, what string, each func(i int, n *yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n.Line, "%s: wanted a list%s", what, alias(n))
		return
	}
	for i, e := range n.Content {
		each(i, e)
	}
}

// text is the value of n, which must be a scalar.
func (d *decoder) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n.Line, "%s: wanted one value%s", what, alias(n))
		return "", false
	}
	return n.Value, true
}

// str sets to by a text that passes check.
func (d *decoder) str(to *string, what string, check func(string) error) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		if err := check(s); err != nil {
			d.problem(n.Line, "%s: %v", what, err)
			return
		}
		*to = s
	}
}

// duration sets to by a duration from least to most.
func (d *decoder) duration(to *Duration, what string, least, most time.Duration) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		v, err := ParseDuration(s)
		if err == nil && (v < Duration(least) || v > Duration(most)) {
			err = fmt.Errorf("%s is not from %s to %s", s, Duration(least), Duration(most))
		}
		if err != nil {
			d.problem(n.Line, "%s: %v", what, err)
			return
		}
		*to = v
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func alias(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode {
		return " (aliases are not taken: write it out)"
	}
	return ""
}

// nearest is a word about the known key that name was meant to be, or about
// all there are. A key is meant only if about a third of name is wrong at most.
func nearest[V any](name string, known map[string]V) string {
	best, least := "", (len(name)+1)/3
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		if len(name) > 64 {
			break
		}
		if n := levenshtein.ComputeDistance(name, k); n <= least && n < len(k) && (best == "" || n < least) {
			best, least = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf(": is %s meant?", best)
	}
	return fmt.Sprintf(": the keys here are %s", strings.Join(names, ", "))
}

func quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
