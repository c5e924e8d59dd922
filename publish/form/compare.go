package form

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/freshet/freshet/bases"
)

// Severity says what becomes of a version with a finding.
type Severity string

// Severities.
const (
	Note   Severity = "note"   // it is published, and a person may know
	Warn   Severity = "warn"   // it is published, and a person should look
	Refuse Severity = "refuse" // it is not published without a reason
)

var ranks = map[Severity]int{Refuse: 0, Warn: 1, Note: 2}

// Override is the reason that lets a refused finding pass, and quiets a warning.
type Override string

// Overrides, each an option of its own: who explains a change of form has not
// looked at the amount.
const (
	AllowForm   Override = "allow"
	AllowShrink Override = "allow-shrink"
	AllowGrowth Override = "allow-growth"
)

// A Finding is one thing that changed, or that was never right.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Override Override `json:"-"` // "": no reason is asked for
	Text     string   `json:"text"`
	Hint     string   `json:"-"`
}

// Limits are what a publisher asks of a base. The zero value is the default.
type Limits struct {
	Shrink int // percent of the records, or bytes, that may be gone; 0: 50, and from 20 on it is warned
}

// Bounds of amounts. Lists of under smallBase records may grow as they like, and
// shrink by half.
const (
	maxGrowth   = 5
	smallBase   = 1000
	maxShrink   = 50
	shrinkTold  = 20
	checkWriter = "check what wrote it; if it is right, say why with --"
)

// Compare gives what changed from one version to the next, or, where there is
// none before (nil), what is strange in the first. The most severe come first.
func Compare(was *Form, is Form, limits Limits) []Finding {
	if was == nil {
		was = &Form{}
	}
	var found []Finding
	if was.Version != 0 {
		found = kinds(*was, is)
	}
	for _, rule := range rules {
		if f, ok := rule.find(*was, is); ok {
			found = append(found, f)
		}
	}
	if was.Version != 0 {
		found = append(found, amounts(*was, is, limits)...)
	}
	found = append(append(found, hidden(*was, is)...), compressed(is)...)
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(ranks[a.Severity], ranks[b.Severity]) })
	return found
}

func amounts(was, is Form, limits Limits) []Finding {
	shrink := cmp.Or(limits.Shrink, maxShrink)
	for _, c := range []struct {
		what     string
		old, new int64
	}{{"record", was.Records, is.Records}, {"byte", was.Size, is.Size}} {
		f := Finding{Text: fmt.Sprintf("%s would have %s where version %d has %d", is.Name, english.Plural(int(c.new), c.what, ""), was.Version, c.old)}
		gone := 100 - float64(c.new)*100/float64(max(c.old, 1))
		switch {
		case gone > float64(shrink):
			f.Code, f.Severity, f.Override = "shrunk", Refuse, AllowShrink
		case c.new/maxGrowth > c.old && was.Records >= smallBase:
			f.Code, f.Severity, f.Override = "grown", Refuse, AllowGrowth
		case limits.Shrink == 0 && gone > shrinkTold && was.Records >= smallBase:
			f.Code, f.Severity, f.Override = "shrunk", Warn, AllowShrink
			f.Text = fmt.Sprintf("%s lost %.0f %% of its %ss: %d where version %d has %d; --max-shrink sets what is normal", is.Name, gone, c.what, c.new, was.Version, c.old)
		default:
			continue
		}
		f.Hint = checkWriter + string(f.Override) + " REASON"
		return []Finding{f} // records say more than bytes
	}
	return nil
}

// kinds refuses a file in place of a folder, and the other way round: engines are
// configured for one of them.
func kinds(was, is Form) []Finding {
	if was.Kind == is.Kind {
		return nil
	}
	what := map[string]string{bases.KindFile: "a file", bases.KindTree: "a folder"}
	return []Finding{{
		Code: "kind", Severity: Refuse, Override: AllowForm, Hint: checkWriter + string(AllowForm) + " REASON",
		Text: fmt.Sprintf("%s was %s in version %d and is %s", is.Name, what[was.Kind], was.Version, what[is.Kind]),
	}}
}

// hidden notes files whose names begin with a dot, or that lie in such folders,
// when they come: they are what is published by mistake.
func hidden(was, is Form) []Finding {
	var names []string
	for p := range is.Files {
		if _, known := was.Files[p]; !known && (strings.HasPrefix(p, ".") || strings.Contains(p, "/.")) {
			names = append(names, p)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	text := is.Name + ": " + names[0]
	if n := len(names) - 1; n > 0 {
		text += " and " + english.Plural(n, "more dot file", "")
	}
	return []Finding{{Code: "dot-files", Severity: Note, Text: text + ", new in it, may be read by everyone now; --exclude '.*' leaves dot files out"}}
}

// compressed notes that what is published changes as a whole each time.
func compressed(is Form) []Finding {
	bytes := int64(0)
	kind, path := Content(""), ""
	for _, p := range slices.Sorted(maps.Keys(is.Files)) {
		if f := is.Files[p]; f.Content.Compressed() {
			if bytes += f.Size; kind == "" {
				kind, path = f.Content, p
			}
		}
	}
	if bytes*2 < is.Size || kind == "" {
		return nil
	}
	what := "it is"
	if path != "" {
		what = "most of it is compressed files, such as " + path + ", which is"
	}
	instead := "publish what is in it; --unpack does that"
	if path != "" || kind == SevenZ {
		instead = "publish what is in them, unpacked"
	}
	return []Finding{{Code: "compressed", Severity: Note, Text: fmt.Sprintf(
		"%s: %s %s: a small change inside changes all that follows, so that endpoints fetch nearly the whole each time, and it counts as one record; %s",
		is.Name, what, kind, instead)}}
}

// A rule judges a file by what it was (its zero value: not there before). single
// says that it is all there is.
type rule struct {
	code  string
	judge func(was, is File, single bool) (severity Severity, says string) // "" is nothing
}

var rules = []rule{
	{"markup", func(was, is File, _ bool) (Severity, string) {
		if is.Content != HTML || was.Content == HTML {
			return "", ""
		}
		if was.Content == "" {
			return Warn, "is an HTML page"
		}
		return Refuse, "is an HTML page, as a server sends that has an error to tell"
	}},
	{"emptied", func(was, is File, _ bool) (Severity, string) {
		if is.Size == 0 && was.Size > 0 {
			return Refuse, "became empty"
		}
		return "", ""
	}},
	{"content", func(was, is File, _ bool) (Severity, string) {
		if was.Size == 0 || is.Size == 0 || was.Content == is.Content || is.Content == HTML {
			return "", ""
		}
		return Refuse, fmt.Sprintf("was %s and is %s", was.Content, is.Content)
	}},
	{"cut", func(was, is File, single bool) (Severity, string) {
		if !was.Closed || is.Closed || is.last == nil || was.last == nil {
			return "", ""
		}
		severity := Warn
		if single || is.Size < was.Size {
			severity = Refuse
		}
		return severity, fmt.Sprintf("does not end with a line feed any more: it may be cut short, its last line is %q", is.last)
	}},
	{"mark", func(was, is File, _ bool) (Severity, string) {
		if is.Mark && was.Size > 0 && !was.Mark {
			return Warn, "begins with a byte order mark, which engines take for a part of the first record"
		}
		return "", ""
	}},
	{"encoding", func(was, is File, _ bool) (Severity, string) {
		if was.Valid && !is.Valid && is.last != nil {
			return Warn, "is not UTF-8 any more"
		}
		return "", ""
	}},
	{"returns", func(was, is File, _ bool) (Severity, string) {
		if is.Returns && was.last != nil && !was.Returns {
			return Warn, "has lines that end with CR LF, which engines may take for a part of the record"
		}
		return "", ""
	}},
	{"addresses", badLines},
}

// badLines says which lines of a block list firewalls leave out, and that they leave
// out the whole of it. What was so in the version before is known.
func badLines(was, is File, _ bool) (Severity, string) {
	switch {
	case is.list == nil && was.list != nil && is.Content == Text:
		return Refuse, "was a list of addresses and is none any more"
	case is.list == nil || is.list.Left == 0:
		return "", ""
	}
	if err := is.list.Refused(); err != nil {
		severity := Refuse
		if was.list == nil || was.list.Refused() != nil {
			severity = Warn
		}
		return severity, "is refused by the firewall of endpoints: " + err.Error()
	}
	severity := Note
	if was.list != nil && is.list.Left > was.list.Left {
		severity = Warn
	}
	return severity, fmt.Sprintf("has %s of %d that the firewall of endpoints leaves out: %s", english.Plural(is.list.Left, "line", ""), is.list.Lines, is.list.Words())
}

// find gives the worst of what the rule says of any file, and how many it is true of.
func (r rule) find(was, is Form) (Finding, bool) {
	f := Finding{Code: r.code, Override: AllowForm, Hint: checkWriter + string(AllowForm) + " REASON"}
	single := len(is.Files) == 1
	n := 0
	for _, path := range slices.Sorted(maps.Keys(is.Files)) {
		severity, says := r.judge(was.Files[path], is.Files[path], single)
		if severity == "" {
			continue
		}
		if n++; f.Severity == "" || ranks[severity] < ranks[f.Severity] {
			f.Severity, f.Text = severity, fmt.Sprintf("%s: %s %s", is.Name, cmp.Or(path, "the file"), says)
		}
	}
	if n > 1 {
		f.Text += fmt.Sprintf("; so with %s more", english.Plural(n-1, "file", ""))
	}
	return f, n > 0
}
