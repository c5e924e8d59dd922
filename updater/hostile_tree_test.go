package updater_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
)

// tree is the image of a folder, by hand: each line of the index, then as many
// bytes as it says.
func tree(lines ...string) string {
	var index, content strings.Builder
	index.WriteString("freshet-tree 1\n")
	for _, line := range lines {
		var mode string
		var size int
		fmt.Sscanf(line, "%s %d", &mode, &size)
		index.WriteString(line + "\n")
		content.WriteString(strings.Repeat("x", size))
	}
	return index.String() + "\n" + content.String()
}

// forgedTrees are images of folders that would write where they must not, or
// another thing than they seem to.
func forgedTrees() []odd {
	of := func(image string) func(*forger, *bases.Manifest, string) {
		return func(f *forger, m *bases.Manifest, _ string) {
			m.Image = bases.Image{Kind: bases.KindTree, Size: int64(len(image)), SHA256: sha256.Sum256([]byte(image))}
			m.Full = f.blob(patch(f.t, nil, []byte(image)))
		}
	}
	rows := []struct{ name, image, text string }{
		{"climbs out", tree("- 4 ../../../escape"), "no path within the tree"},
		{"climbs out from within", tree("- 4 a/../../../escape"), "no path within the tree"},
		{"is absolute", tree("- 4 /escape"), "no path within the tree"},
		{"has an empty part", tree("- 4 a//escape"), "no path within the tree"},
		{"is a link", tree("l 4 escape"), "is no entry"},
		{"is a device", tree("c 4 escape"), "is no entry"},
		{"is a pipe", tree("p 4 escape"), "is no entry"},
		{"stands there twice", tree("- 4 escape", "- 4 escape"), "out of order"},
		{"differs by case alone", tree("- 4 Escape", "- 4 escape"), "differ by case alone"},
		{"differs by the case of its folder", tree("- 4 Dir/a", "- 4 dir/b"), "differ by case alone"},
		{"is in another Unicode form", tree("- 4 e\u0301scape"), "normalization form C"},
		{"differs by a case that has two letters", tree("- 4 STRASSE", "- 4 straße"), "differ by case alone"},
		{"is a file and a folder", tree("- 4 a", "- 4 a/escape"), "both a file and a folder"},
		{"has a control character", tree("- 4 a\x1b[2Jescape"), "control character"},
		{"is not UTF-8", tree("- 4 a\xff"), "not UTF-8"},
		{"is too long", tree("- 4 " + strings.Repeat("escape/", 200) + "a"), "a path of"},
		{"is too deep", tree("- 4 " + strings.Repeat("a/", 64) + "escape"), "a path of 65 parts"},
		{"is longer than a state may be", "freshet-tree 1\n- x " + strings.Repeat("a", 18<<20) + "\n\n", "a path of 18"},
		{"is one of too many", tree(many(1<<17 + 1)...), "more than 131072 files and folders"},
		{"lies in one of too many folders", tree(many(1<<17/63+1, strings.Repeat("/F", 62))...), "more than 131072 files and folders"},
		{"has a size below zero", "freshet-tree 1\n- -4 escape\n\nxxxx", "is no entry"},
		{"has a size that overflows", "freshet-tree 1\n- 9223372036854775807 a\n- 9223372036854775807 b\n\nxxxx", "longer than the image"},
	}
	var out []odd
	for _, r := range rows {
		out = append(out, odd{name: "a path in a tree that " + r.name, make: of(r.image), text: r.text})
	}
	return append(out,
		odd{name: "a tree whose index has no end", make: of("freshet-tree 1\n- 4 escape\n"), text: "cut off"},
		odd{name: "a tree without files", make: of("freshet-tree 1\n\n"), text: "no files"},
		odd{name: "a tree that is none", make: of("escape\n\n"), text: "no tree"},
		odd{name: "a tree with more bytes than its files", make: of(tree("- 4 escape") + "more"), text: "signed are"},
	)
}

// many are n lines of a tree, of empty files.
func many(n int, below ...string) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("- 0 %06d%s", i, strings.Join(below, ""))
	}
	return lines
}

// tryPatch applies a patch to see what it does.
func tryPatch(t *testing.T, old, patch []byte, size int64) error {
	t.Helper()
	return delta.Apply(t.Context(), io.Discard, bytes.NewReader(old), int64(len(old)), bytes.NewReader(patch), int64(len(patch)), size)
}
