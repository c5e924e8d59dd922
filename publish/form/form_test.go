package form_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/publish/form"
)

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%08x.example\n", uint32(i)*2654435761)
	}
	return b.String()
}

// file is the form of a single file.
func file(t *testing.T, version int64, content string) form.Form {
	t.Helper()
	f, err := form.Of("b", version, int64(strings.Count(content, "\n")), bases.KindFile, []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// tree is the form of a folder with the files a, b, c, ….
func tree(t *testing.T, version int64, contents ...string) form.Form {
	t.Helper()
	image := "freshet-tree 1\n"
	records := 0
	for i, c := range contents {
		image += fmt.Sprintf("- %d %c.hdb\n", len(c), 'a'+i)
		records += strings.Count(c, "\n")
	}
	f, err := form.Of("b", version, int64(records), bases.KindTree, []byte(image+"\n"+strings.Join(contents, "")))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// treeOf is the form of a folder of files, each a path and its content.
func treeOf(t *testing.T, version int64, files ...string) form.Form {
	t.Helper()
	image, content := "freshet-tree 1\n", ""
	for i := 0; i < len(files); i += 2 {
		image += fmt.Sprintf("- %d %s\n", len(files[i+1]), files[i])
		content += files[i+1]
	}
	f, err := form.Of("b", version, int64(strings.Count(content, "\n")), bases.KindTree, []byte(image+"\n"+content))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const page = "<!DOCTYPE html>\n<html><head><title>Sorry, you have been blocked</title></head>\n<p>Please enable cookies.</p>\n</html>\n"

func hosts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "203.%d.%d.1\n", i/256, i%256)
	}
	return b.String()
}

func TestWhatChangedInForm(t *testing.T) {
	list := lines(1000)
	cut := list[:len(list)*6/10+7]
	none := func() *form.Form { return nil }
	was := func(f form.Form) func() *form.Form { return func() *form.Form { return &f } }
	for _, row := range []struct {
		name   string
		was    func() *form.Form
		is     form.Form
		limits form.Limits
		want   string // CODE:SEVERITY …, as they come
		text   string
	}{
		{"the same", was(file(t, 1, list)), file(t, 2, list), form.Limits{}, "", ""},
		{"a line more", was(file(t, 1, list)), file(t, 2, list+"new.example\n"), form.Limits{}, "", ""},
		{"a page in place of a list", was(file(t, 1, lines(5))), file(t, 2, page), form.Limits{}, "markup:refuse", "the file is an HTML page"},
		{"a page with a byte order mark, in capitals, behind a comment", was(file(t, 1, lines(3))), file(t, 2, "\xef\xbb\xbf \n<!-- x -->\n<HTML>\n\n\n\n"), form.Limits{}, "markup:refuse mark:warn", ""},
		{"a page at first", none, file(t, 1, page), form.Limits{}, "markup:warn", ""},
		{"pages that were pages", was(file(t, 1, page)), file(t, 2, page+"<p>\n"), form.Limits{}, "", ""},
		{"an answer of a bucket", was(file(t, 1, lines(3))), file(t, 2, "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code>\n</Error>\n"), form.Limits{}, "content:refuse", "was text and is XML"},
		{"an answer of an interface", was(file(t, 1, lines(1))), file(t, 2, "{\"error\": \"quota\"}\n"), form.Limits{}, "content:refuse", "was text and is JSON"},
		{"cut in a line", was(file(t, 1, list)), file(t, 2, cut), form.Limits{}, "cut:refuse shrunk:warn", fmt.Sprintf("its last line is %q", cut[strings.LastIndexByte(cut, '\n')+1:])},
		{"no line feed at the end, ever", was(file(t, 1, list+"a")), file(t, 2, list+"b"), form.Limits{}, "", ""},
		{"40 % gone", was(file(t, 1, list)), file(t, 2, lines(600)), form.Limits{}, "shrunk:warn", "lost 40 % of its records"},
		{"40 % gone of a small list", was(file(t, 1, lines(10))), file(t, 2, lines(6)), form.Limits{}, "", ""},
		{"40 % gone, which is normal", was(file(t, 1, list)), file(t, 2, lines(600)), form.Limits{Shrink: 45}, "", ""},
		{"40 % gone, which is too much", was(file(t, 1, list)), file(t, 2, lines(600)), form.Limits{Shrink: 30}, "shrunk:refuse", "b would have 600 records where version 1 has 1000"},
		{"60 % gone", was(file(t, 1, list)), file(t, 2, lines(400)), form.Limits{}, "shrunk:refuse", ""},
		{"half of a small list gone", was(file(t, 1, lines(10))), file(t, 2, lines(5)), form.Limits{}, "", ""},
		{"seven times as much", was(file(t, 1, list)), file(t, 2, lines(7000)), form.Limits{}, "grown:refuse", ""},
		{"seven times of a small list", was(file(t, 1, lines(100))), file(t, 2, lines(700)), form.Limits{}, "", ""},
		{"a mark of the encoding", was(file(t, 1, list)), file(t, 2, "\xef\xbb\xbf"+list), form.Limits{}, "mark:warn", ""},
		{"UTF-16", was(file(t, 1, list)), file(t, 2, "\xff\xfeh\x00"+strings.ReplaceAll(list, "e", "\x00")), form.Limits{}, "content:refuse", "was text and is UTF-16"},
		{"Latin-1", was(file(t, 1, list+"\xc3\xa9\n")), file(t, 2, list+"\xe9\n"), form.Limits{}, "encoding:warn", ""},
		{"UTF-8 where there was ASCII", was(file(t, 1, list)), file(t, 2, list+"\xc3\xa9\n"), form.Limits{}, "", ""},
		{"lines of another system", was(file(t, 1, list)), file(t, 2, strings.ReplaceAll(list, "\n", "\r\n")), form.Limits{}, "returns:warn", ""},
		{"such lines from the first on", none, file(t, 1, strings.ReplaceAll(list, "\n", "\r\n")), form.Limits{}, "", ""},
		{"bytes in place of text", was(file(t, 1, list)), file(t, 2, "\x7fELF\x00"+list), form.Limits{}, "content:refuse", "was text and is binary"},
		{"compressed at first", none, file(t, 1, "\x1f\x8b\x08"+list), form.Limits{}, "compressed:note", "it is gzip"},
		{"compressed in place of text", was(file(t, 1, list)), file(t, 2, "\x1f\x8b\x08"+list), form.Limits{}, "content:refuse compressed:note", "was text and is gzip"},
		{"a database of ClamAV", none, file(t, 1, "ClamAV-VDB:"+strings.Repeat(" ", 501)+"\x1f\x8b\x08\x00"), form.Limits{}, "compressed:note", "it is CVD"},
		{"one that is not packed", none, file(t, 1, "ClamAV-VDB:"+strings.Repeat(" ", 501)+"COPYING\x00"), form.Limits{}, "", ""},
		{"a file of a tree became empty", was(tree(t, 1, list, list, list, list)), tree(t, 2, list, list, "", list), form.Limits{}, "emptied:refuse shrunk:warn", "b: c.hdb became empty"},
		{"two files became empty", was(tree(t, 1, list, "a\n", "b\n")), tree(t, 2, list, "", ""), form.Limits{}, "emptied:refuse", "b.hdb became empty; so with 1 file more"},
		{"an empty file that was empty", was(tree(t, 1, list, "")), tree(t, 2, list, ""), form.Limits{}, "", ""},
		{"a new empty file", was(tree(t, 1, list)), tree(t, 2, list, ""), form.Limits{}, "", ""},
		{"one of a tree cut in a line", was(tree(t, 1, list, list)), tree(t, 2, list, list[:len(list)-9]), form.Limits{}, "cut:refuse", "b.hdb does not end"},
		{"one of a tree that an editor left so", was(tree(t, 1, list, list)), tree(t, 2, list, list+"new"), form.Limits{}, "cut:warn", ""},
		{"a page among the files of a tree", was(tree(t, 1, list, "a\n")), tree(t, 2, list, page), form.Limits{}, "markup:refuse", "b.hdb is an HTML page"},
		{"a tree in place of a file", was(file(t, 1, list)), tree(t, 2, list), form.Limits{}, "kind:refuse", "was a file in version 1 and is a folder"},
		{"a tree of compressed files", none, tree(t, 1, "\x1f\x8b\x08"+list, list[:500]), form.Limits{}, "compressed:note", "such as a.hdb, which is gzip"},
		{"a tree with one of them", none, tree(t, 1, "\x1f\x8b\x08", list), form.Limits{}, "", ""},
		{"dot files", none, treeOf(t, 1, ".env", "a\n", "sub/.cache/x", "b\n", "z.hdb", "c\n"), form.Limits{}, "dot-files:note", "b: .env and 1 more dot file, new in it"},
		{"dot files that are known", was(treeOf(t, 1, ".env", "a\n")), treeOf(t, 2, ".env", "a\nb\n"), form.Limits{}, "", ""},
		{"a block list with a bad line at first", none, file(t, 1, hosts(256)+"176.221.42.3254.174.140.223\n"), form.Limits{}, "addresses:note", `line 257: "176.221.42.3254.174.140.223": no address`},
		{"a bad line that is known", was(file(t, 1, hosts(256)+"224.0.0.0/3\n")), file(t, 2, hosts(256)+"224.0.0.0/3\n"), form.Limits{}, "addresses:note", "has 1 line of 257"},
		{"a bad line more", was(file(t, 1, hosts(256))), file(t, 2, hosts(256)+"224.0.0.0/3\n"), form.Limits{}, "addresses:warn", `line 257: "224.0.0.0/3": too wide`},
		{"so many that it is refused", was(file(t, 1, hosts(256))), file(t, 2, hosts(256)+lines(11)), form.Limits{}, "addresses:refuse", "11 of 267 lines are bad: line 257"},
		{"so many from the first on", none, file(t, 1, hosts(256)+lines(11)), form.Limits{}, "addresses:warn", ""},
		{"so many that are known", was(file(t, 1, hosts(256)+lines(11))), file(t, 2, hosts(256)+lines(12)), form.Limits{}, "addresses:warn", ""},
		{"names in place of addresses", was(file(t, 1, hosts(256))), file(t, 2, lines(256)), form.Limits{}, "addresses:refuse", "was a list of addresses"},
		{"addresses in place of names", was(file(t, 1, lines(256))), file(t, 2, hosts(256)), form.Limits{}, "", ""},
		{"a long block list with a bad line", was(file(t, 1, hosts(4000))), file(t, 2, hosts(4000)+"10.0.0.0/7\n"), form.Limits{}, "addresses:warn", "line 4001"},
		{"comments alone", was(file(t, 1, "# a\n")), file(t, 2, "# b\n"), form.Limits{}, "", ""},
		{"an old image that is lost", was(form.Form{Name: "b", Version: 1, Kind: bases.KindFile, Records: 1000, Size: int64(len(list))}), file(t, 2, lines(300)), form.Limits{}, "shrunk:refuse", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			text := ""
			for _, f := range form.Compare(row.was(), row.is, row.limits) {
				got = append(got, f.Code+":"+string(f.Severity))
				text += f.Text + "\n"
				if f.Severity == form.Refuse && (f.Override == "" || !strings.Contains(f.Hint, "--"+string(f.Override)+" REASON")) {
					t.Errorf("%s is refused, and no way past it is said: %q", f.Code, f.Hint)
				}
			}
			if strings.Join(got, " ") != row.want || !strings.Contains(text, row.text) {
				t.Errorf("found %q: %s\nwant %q: %s", got, text, row.want, row.text)
			}
		})
	}
}

func FuzzOfTakesAnyBytes(f *testing.F) {
	f.Add("freshet-tree 1\n- 2 a\n\na\n", page)
	f.Add("freshet-tree 1\n- 9 a\n\na\n", "ClamAV-VDB:")
	f.Add("", "\x1f\x8b\x08")
	f.Fuzz(func(t *testing.T, tree, file string) {
		was, err := form.Of("b", 1, 1, bases.KindTree, []byte(tree))
		is, err2 := form.Of("b", 2, 1, bases.KindFile, []byte(file))
		if err2 != nil {
			t.Fatal(err2)
		}
		if err == nil {
			form.Compare(&was, is, form.Limits{})
			form.Compare(&is, was, form.Limits{})
		}
	})
}
