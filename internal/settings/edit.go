package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Enrolment is what enrolling changes in a settings file.
type Enrolment struct {
	Source string   // URL or folder, put first
	Alone  bool     // the other sources go: they are mirrors of another repository
	Root   string   // absolute path of the root of trust
	Bases  []string // wanted; nil: as the file says
}

// header begins a file that enrolling makes.
const header = "# Settings of Freshet. Every key is in the manual: man freshet, or docs/settings.md.\nversion: 1\n"

// Check says what in e no settings file can hold.
func (e Enrolment) Check() error {
	if err := sourceURL(e.Source); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	for i, name := range e.Bases {
		if err := baseName(name); err != nil {
			return err
		}
		if slices.Contains(e.Bases[:i], name) {
			return fmt.Errorf("base %s is named twice", name)
		}
	}
	return absolute(e.Root)
}

// Apply gives the text of a settings file with e in it, and what was changed
// in words. Nil text is a file that is not there. Of the rest every byte stays,
// comments too, but for a file in one line, which is laid out anew. The error
// is [Problems] if the file was wrong before.
func (e Enrolment) Apply(file string, text []byte) ([]byte, []string, error) {
	if err := e.Check(); err != nil {
		return nil, nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte(header)
	}
	was, err := Parse(file, text)
	if err != nil {
		return nil, nil, err
	}
	var changes []string
	for _, step := range []func([]byte, *Settings) ([]byte, string, error){e.setSources, e.setRoot, e.setBases} {
		var change string
		if text, change, err = step(text, was); err != nil {
			return nil, nil, fmt.Errorf("editing %s: %w", file, err)
		}
		if change != "" {
			changes = append(changes, change)
		}
	}
	now, err := Parse(file, text)
	if err == nil && !e.holds(now) {
		err = errors.New("it has a form that cannot be edited")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: set sources, root and bases in it by hand", file, err)
	}
	return text, changes, nil
}

// holds says whether s is what e is for.
func (e Enrolment) holds(s *Settings) bool {
	ok := len(s.Sources) > 0 && s.Root == e.Root && slices.ContainsFunc(s.Sources, func(o Source) bool { return o.URL == e.Source })
	if e.Bases == nil {
		return ok
	}
	return ok && slices.EqualFunc(s.Bases, e.Bases, func(b Base, name string) bool { return b.Name == name })
}

func (e Enrolment) setSources(text []byte, was *Settings) ([]byte, string, error) {
	has := slices.IndexFunc(was.Sources, func(o Source) bool { return o.URL == e.Source })
	if has >= 0 && (!e.Alone || len(was.Sources) == 1) {
		return text, "", nil
	}
	shown := (&Settings{Sources: []Source{{URL: e.Source}}}).Redacted().Sources[0].URL
	change := "sources: " + shown
	var gone []string
	for i, s := range was.Redacted().Sources {
		if e.Alone && i != has {
			gone = append(gone, s.URL)
		}
	}
	switch {
	case len(gone) > 0:
		change += ", no longer " + strings.Join(gone, ", ")
	case len(was.Sources) > 0:
		change += ", before those that were there"
	}
	text, err := rewrite(text, "sources", func(old *yaml.Node) any {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		entry := mapping("url", e.Source)
		if old != nil {
			for i, n := range old.Content {
				if i == has {
					entry = n
				}
			}
		}
		list.Content = append(list.Content, entry)
		if old != nil && !e.Alone {
			list.Content = append(list.Content, old.Content...)
		}
		return list
	})
	return text, change, err
}

func (e Enrolment) setRoot(text []byte, was *Settings) ([]byte, string, error) {
	if was.Root == e.Root {
		return text, "", nil
	}
	text, err := rewrite(text, "root", func(*yaml.Node) any { return e.Root })
	return text, fmt.Sprintf("root: %s, before %s", e.Root, was.Root), err
}

// setBases keeps what the file says of the bases that are wanted.
func (e Enrolment) setBases(text []byte, was *Settings) ([]byte, string, error) {
	same := slices.EqualFunc(was.Bases, e.Bases, func(b Base, name string) bool { return b.Name == name })
	if e.Bases == nil || same {
		return text, "", nil
	}
	change := "bases: " + strings.Join(e.Bases, ", ")
	var gone []string
	for _, b := range was.Bases {
		if !slices.Contains(e.Bases, b.Name) {
			gone = append(gone, b.Name)
		}
	}
	if len(gone) > 0 {
		change += ", no longer " + strings.Join(gone, ", ")
	}
	text, err := rewrite(text, "bases", func(old *yaml.Node) any {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, name := range e.Bases {
			entry := mapping("name", name)
			at := slices.IndexFunc(was.Bases, func(b Base) bool { return b.Name == name })
			if at >= 0 {
				entry = old.Content[at]
			}
			list.Content = append(list.Content, entry)
		}
		return list
	})
	return text, change, err
}

func mapping(key, value string) *yaml.Node {
	n := &yaml.Node{}
	// Of two strings: it cannot fail.
	_ = n.Encode(map[string]string{key: value})
	return n
}

// rewrite replaces the value of a key of the file's mapping, or adds the key at
// the end. value is given what stands there, nil if nothing does.
func rewrite(text []byte, key string, value func(old *yaml.Node) any) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	top := doc.Content[0]
	at := slices.IndexFunc(top.Content, func(n *yaml.Node) bool { return n.Value == key && n.Kind == yaml.ScalarNode })
	for at >= 0 && at%2 != 0 { // a value that reads like the key
		next := slices.IndexFunc(top.Content[at+1:], func(n *yaml.Node) bool { return n.Value == key && n.Kind == yaml.ScalarNode })
		if next < 0 {
			at = -1
			break
		}
		at += 1 + next
	}
	var old *yaml.Node
	if at >= 0 && !isNull(top.Content[at+1]) {
		old = top.Content[at+1]
	}
	block, err := layOut(map[string]any{key: value(old)})
	if err != nil {
		return nil, err
	}
	if top.Style&yaml.FlowStyle != 0 {
		return relaid(top, text, key, block)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	from, to := len(lines), len(lines)
	if at >= 0 {
		from = top.Content[at].Line - 1
		if at+2 < len(top.Content) {
			to = top.Content[at+2].Line - 1
		}
		// Comments and empty lines before the next key are that key's.
		for to > from+1 && apart(lines[to-1]) {
			to--
		}
	}
	var out []byte
	out = append(out, bytes.Join(lines[:from], nil)...)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	out = append(out, block...)
	return append(out, bytes.Join(lines[to:], nil)...), nil
}

// apart says whether a line, not indented, is of no key's value.
func apart(line []byte) bool {
	return len(bytes.TrimSpace(line)) == 0 || line[0] == '#'
}

// relaid lays a file out anew that is one mapping in braces, without key, and
// adds block.
func relaid(top *yaml.Node, text []byte, key string, block []byte) ([]byte, error) {
	var lead []byte
	for line := range bytes.Lines(text) {
		if !apart(line) {
			break
		}
		lead = append(lead, line...)
	}
	var out bytes.Buffer
	out.Write(lead)
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == key {
			continue
		}
		part, err := layOut(map[string]any{top.Content[i].Value: top.Content[i+1]})
		if err != nil {
			return nil, err
		}
		out.Write(part)
	}
	out.Write(block)
	return out.Bytes(), nil
}

func layOut(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}

// ReadText reads the settings file at path as [Load] does, whatever is in it;
// nil if it is not there.
func ReadText(path string) ([]byte, error) {
	data, err := read(path)
	if errors.Is(err, ErrMissing) {
		return nil, nil
	}
	return data, err
}

// ModeOf is the mode to write the file at path with: the one that it has, else
// one for its owner alone if secret.
func ModeOf(path string, secret bool) fs.FileMode {
	if st, err := os.Stat(path); err == nil {
		return st.Mode().Perm()
	}
	if secret {
		return 0o600
	}
	return 0o644
}
