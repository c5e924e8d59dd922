package settings_test

import (
	"encoding"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/settings"
)

func docs(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func example(t testing.TB) string {
	t.Helper()
	_, rest, _ := strings.Cut(docs(t), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/settings.md has no example")
	}
	return text
}

func TestExampleInTheDocsIsValidAndHasEveryKey(t *testing.T) {
	s, err := settings.Parse("docs/settings.md", []byte(example(t)))
	if err != nil {
		t.Fatal(err)
	}
	checkRoundTrip(t, s)
	for key := range keys(reflect.TypeFor[settings.Settings](), "") {
		last := key[strings.LastIndex(key, ".")+1:]
		if !strings.Contains(example(t), last+":") {
			t.Errorf("the example lacks %s", key)
		}
	}
}

func TestEveryKeyHasItsLineInTheDocs(t *testing.T) {
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| .* \\| (.*) \\|$").FindAllStringSubmatch(docs(t), -1) {
		documented[m[1]] = m[2]
	}
	known := keys(reflect.TypeFor[settings.Settings](), "")
	for key := range known {
		if _, ok := documented[key]; !ok {
			t.Errorf("%s has no line", key)
		}
	}
	for key := range documented {
		if !known[key] {
			t.Errorf("%s has a line and is no key", key)
		}
	}
	d, b := settings.Default(), settings.DefaultBase("")
	for key, value := range map[string]any{
		"root": d.Root, "update.every": d.Update.Every, "update.random_delay": d.Update.RandomDelay,
		"update.connect_timeout": d.Update.ConnectTimeout, "log.to": d.Log.To, "log.level": d.Log.Level,
		"events.max_bytes": d.Events.MaxBytes, "bases.health_every": b.HealthEvery, "bases.timeout": b.Timeout,
		"modules.mode": d.Modules.Mode, "modules.notices": d.Modules.Notices,
	} {
		if want := fmt.Sprintf("`%v`", value); !strings.HasPrefix(documented[key], want) {
			t.Errorf("%s: default %s, the docs say %s", key, want, documented[key])
		}
	}
}

// keys gives every key of the settings as its path.
func keys(of reflect.Type, at string) map[string]bool {
	found := map[string]bool{}
	for i := range of.NumField() {
		f := of.Field(i)
		name, how, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if how == "inline" && f.Type.Kind() == reflect.Struct {
			maps.Copy(found, keys(f.Type, at))
			continue
		}
		if name == "" { // names of the operator's own
			continue
		}
		found[at+name] = true
		inner := f.Type
		if inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		text := reflect.TypeFor[encoding.TextMarshaler]() // such a value is one word
		if inner.Kind() == reflect.Struct && !inner.Implements(text) {
			for k := range keys(inner, at+name+".") {
				found[k] = true
			}
		}
	}
	return found
}
