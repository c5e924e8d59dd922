package bases_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
)

const goodManifest = `{"type":"base","name":"list","version":7,"published":"2026-03-01T12:00:00Z",
"image":{"kind":"file","file":"list.txt","size":10,"sha256":"` + zeros + `"},
"full":{"size":5,"sha256":"` + zeros + `"},"start":{"version":4,"size":9,"sha256":"` + zeros + `"},
"deltas":[{"from":6,"size":3,"sha256":"` + zeros + `"},{"from":4,"size":2,"sha256":"` + zeros + `"}],
"records":2,"stale":{"out_of_date":259200,"totally_out_of_date":604800},"later":"field"}`

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestAManifestIsReadAndWhatIsSenselessRefused(t *testing.T) {
	if _, err := bases.ParseManifest("list", []byte(goodManifest)); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	rows := []struct{ name, old, new string }{
		{"for another base", `"name":"list"`, `"name":"other"`},
		{"of another type", `"type":"base"`, `"type":"module"`},
		{"version 0", `"version":7`, `"version":0`},
		{"no time of publication", `"published":"2026-03-01T12:00:00Z",`, ``},
		{"a file name that climbs out", `"file":"list.txt"`, `"file":"../list.txt"`},
		{"a file name that is a folder", `"file":"list.txt"`, `"file":".."`},
		{"no file name", `"file":"list.txt"`, `"file":""`},
		{"an unknown kind of image", `"kind":"file"`, `"kind":"disk"`},
		{"an empty image", `"size":10`, `"size":0`},
		{"a short hash", `"` + zeros + `"`, `"00"`},
		{"a delta from itself", `"from":6`, `"from":7`},
		{"a delta from nothing", `"from":6`, `"from":0`},
		{"a start from which no delta leads on", `"start":{"version":4`, `"start":{"version":5`},
		{"a start at the version itself", `"start":{"version":4`, `"start":{"version":7`},
		{"a start with an empty image", `"size":9`, `"size":0`},
		{"thresholds in the wrong order", `"out_of_date":259200`, `"out_of_date":999999`},
		{"something behind it", `"later":"field"}`, `"later":"field"} {}`},
		{"cut off", `"later":"field"}`, `"later":`},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			text := strings.Replace(goodManifest, r.old, r.new, 1)
			if text == goodManifest {
				t.Fatal("the row changes nothing")
			}
			if _, err := bases.ParseManifest("list", []byte(text)); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(goodManifest))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := bases.ParseManifest("list", data)
		if err != nil {
			return
		}
		if m.Published.After(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) {
			return // JSON knows no such year
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bases.ParseManifest("list", text); err != nil {
			t.Fatalf("%s\nis not read back: %v", text, err)
		}
	})
}
