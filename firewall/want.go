package firewall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/freshet/freshet/firewall/iplist"
)

// Want is what settings, bases and generation ask for.
type Want struct {
	Enabled   bool
	Policy    Policy
	Lists     map[string]ListFile // of the policy's lists, those installed
	Mechanism Mechanism
	Automatic bool // a change of what is wanted is applied by itself
	Repair    bool // what others changed is set right

	// Undo is when a version was taken back last that may have changed the rules.
	// What it did is nothing that others did: it is undone once, also where that
	// is only reported.
	Undo time.Time

	// Unknown is why lists or mechanism could not be read; then nothing new is
	// applied: what stands is better than what a part of the truth asks for.
	Unknown error

	// Lifelines finds what must stay reachable; nil: nothing is looked at. It
	// may take a moment, and is asked only before a change.
	Lifelines func(context.Context) []Lifeline `json:"-"`
}

// ListFile is a base as a list is read from it.
type ListFile struct {
	Version int64
	Dir     string // a folder with one file
}

// hash names what is asked for.
func (w Want) hash() string {
	versions := map[string]int64{}
	for _, l := range w.Policy.Lists {
		versions[l.Base] = w.Lists[l.Base].Version
	}
	data, err := json.Marshal([]any{w.Policy, versions, w.Mechanism})
	if err != nil {
		panic("firewall: a policy that is no JSON: " + err.Error()) // it has no such fields
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// open reads the list. A base is a folder with one file.
func (l ListFile) open() (list iplist.List, err error) {
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return list, err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !e.Type().IsRegular() })
	if len(entries) != 1 {
		return list, fmt.Errorf("%d files in %s: a block list is one file", len(entries), l.Dir)
	}
	file, err := os.Open(filepath.Join(l.Dir, entries[0].Name()))
	if err != nil {
		return list, err
	}
	defer file.Close()
	if list, err = iplist.Read(file); err != nil {
		return list, err
	}
	return list, list.Refused()
}

// Note is something that an operator should know of a change.
type Note struct {
	Base  string // the list that it is of
	Text  string
	Wrong bool // the list was refused
}

// material reads the lists that are wanted. Of one that cannot be used the
// content before stays; one that is not installed yet blocks nothing.
func (f *Firewall) material(w Want, before build, protect []Lifeline) (map[string]Addresses, []SetList, []Note) {
	lists, notes := map[string]Addresses{}, []Note{}
	var all []SetList
	for _, l := range w.Policy.Lists {
		sl := SetList{Base: l.Base}
		file, installed := w.Lists[l.Base]
		var a Addresses
		if !installed {
			notes = append(notes, Note{Base: l.Base, Text: "it is not installed yet, and blocks nothing"})
		} else {
			list, err := file.open()
			sl.Version = file.Version
			if a = addressesOf(list); err != nil {
				notes = append(notes, Note{Base: l.Base, Text: err.Error(), Wrong: true})
				a = before.mat.lists[l.Base]
			} else if list.Left > 0 {
				sl.Bad = list.Left
				for _, b := range list.Bad {
					sl.BadLines = append(sl.BadLines, b.String())
				}
				notes = append(notes, Note{Base: l.Base, Text: fmt.Sprintf("%s of %d left out: %s", english.Plural(list.Left, "line", ""), list.Lines, list.Words())})
			}
		}
		a, sl.Left = a.Without(protected(protect))
		for _, left := range sl.Left {
			notes = append(notes, Note{Base: l.Base, Text: left + " is left out: it would cut off what must stay reachable"})
		}
		sl.SHA256, sl.Count = a.sum(), len(a)
		lists[l.Base] = a
		all = append(all, sl)
	}
	return lists, all, notes
}

// lines counts the rules of all families.
func (b build) lines() int {
	n := 0
	for _, fam := range Families() {
		n += len(spread(b.set.Policy, fam, b.mat.Sets[fam], b.mat.Blocks[fam]))
	}
	return n
}

// addresses counts those of all lists.
func (b build) addresses() int {
	n := 0
	for a := range maps.Values(b.mat.lists) {
		n += len(a)
	}
	return n
}
