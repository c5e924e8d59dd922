package settings_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/freshet/freshet/internal/settings"
)

// filled sets every text of the settings to one of its own, and gives those by
// their keys, with the tags.
func filled(s *settings.Settings) map[string]string {
	tags := map[string]string{}
	var fill func(v reflect.Value, tag, at string)
	fill = func(v reflect.Value, tag, at string) {
		switch v.Kind() {
		case reflect.String:
			v.SetString("S3CRET-" + at + "-")
			tags[v.String()] = tag
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), tag, at)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0), tag, at+"[0]")
			fill(v.Index(1), tag, at+"[1]")
		case reflect.Map:
			v.Set(reflect.MakeMap(v.Type()))
			elem := reflect.New(v.Type().Elem()).Elem()
			fill(elem, tag, at+"{}")
			v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), elem)
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					fill(v.Field(i), f.Tag.Get("public"), strings.TrimPrefix(at+"."+f.Name, "."))
				}
			}
		}
	}
	fill(reflect.ValueOf(s).Elem(), "", "")
	return tags
}

// TestNoKeyIsShownToAllUnlessItIsSaidSo walks all keys.
func TestNoKeyIsShownToAllUnlessItIsSaidSo(t *testing.T) {
	var s settings.Settings
	tags := filled(&s)
	if len(tags) < 40 {
		t.Fatalf("only %d texts", len(tags))
	}
	before := fmt.Sprintf("%+v", s)
	shown := fmt.Sprintf("%+v", dumped(s.Public()))
	for text, tag := range tags {
		program := tag == "program" && strings.HasSuffix(text, "[0]-")
		if want := tag == "yes" || tag == "url" || program; strings.Contains(shown, text) != want {
			t.Errorf("%s (public %q) is shown: %v", text, tag, !want)
		}
	}
	for _, secret := range []string{"Took[1]", "Try[1]", "Health[1]", "Restart[1]"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is shown", secret)
		}
	}
	if fmt.Sprintf("%+v", s) != before {
		t.Error("the settings themselves are changed")
	}
}

func dumped(s *settings.Settings) string {
	text, err := yaml.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestWhatIsPublicAndWhatIsSecret(t *testing.T) {
	s, err := settings.Parse("f", []byte(`version: 1
sources: [{url: "https://user:pass-word@a.example/x"}]
bases:
  - {name: a, took: [/usr/bin/curl, -H, "Authorization: Bearer t0ken", "--key=k3y-value", reload, /etc/x.conf, "{dir}"], health: [/usr/bin/true]}
`))
	if err != nil {
		t.Fatal(err)
	}
	public := dumped(s.Public())
	for _, secret := range []string{"pass-word", "t0ken", "k3y", "x.conf"} {
		if strings.Contains(public, secret) {
			t.Errorf("%s is public:\n%s", secret, public)
		}
	}
	for _, shown := range []string{"https://***@a.example/x", "/usr/bin/curl", "/usr/bin/true", "name: a"} {
		if !strings.Contains(public, shown) {
			t.Errorf("%s is not shown:\n%s", shown, public)
		}
	}
	got := strings.Join(s.Secrets(true), "\n")
	for _, secret := range []string{"user:pass-word", "Authorization: Bearer t0ken", "k3y-value"} {
		if !strings.Contains(got, secret) {
			t.Errorf("%s is no secret: %s", secret, got)
		}
	}
	for _, plain := range []string{"reload", "x.conf", "{dir}"} {
		if strings.Contains(got, plain) {
			t.Errorf("%s is a secret", plain)
		}
	}
	if got := strings.Join(s.Secrets(false), "\n"); strings.Contains(got, "t0ken") {
		t.Errorf("without commands: %s", got)
	}
}
