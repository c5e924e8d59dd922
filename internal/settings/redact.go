package settings

import (
	"net/url"
	"reflect"
	"regexp"
	"strings"
)

// What of a text everybody may see stands in the tag public of its field. What has
// none is masked, so that a new key shows nothing unless somebody says so:
//
//	yes      all of it
//	url      without credentials and query
//	program  of a command, the program alone
const (
	publicYes     = "yes"
	publicURL     = "url"
	publicProgram = "program"
)

const mask = "***"

// Redacted is a copy without passwords, for people and logs.
func (s *Settings) Redacted() *Settings {
	return rewritten(s, func(text, public string) string {
		if public == publicURL {
			return maskUser(text)
		}
		return text
	}, nil)
}

// Public is a copy for those who may not change anything: without what commands
// are given, and all else that may be a secret.
func (s *Settings) Public() *Settings {
	return rewritten(s, func(text, public string) string {
		switch {
		case public == publicYes || text == "":
			return text
		case public == publicURL:
			text, _, _ = strings.Cut(maskUser(text), "?")
			return text
		}
		return mask
	}, func(list []string, public string) []string {
		switch {
		case public == publicYes || len(list) == 0:
			return list
		case public == publicProgram && len(list) == 1:
			return list
		case public == publicProgram:
			return []string{list[0], mask}
		}
		return []string{mask}
	})
}

// Secrets are what must not be shown to all of a text that quotes the settings:
// passwords in addresses as they may be written and, with commands, what these are
// given that is no plain word, path or number.
func (s *Settings) Secrets(commands bool) []string {
	var all []string
	rewritten(s, func(text, public string) string {
		switch {
		case public == publicURL:
			all = append(all, passwords(text)...)
		case public == "" && commands:
			all = append(all, text)
		}
		return text
	}, func(list []string, public string) []string {
		if public == publicYes || !commands {
			return list
		}
		for i, arg := range list {
			if public == publicProgram && i == 0 || plainArgument.MatchString(arg) {
				continue
			}
			all = append(all, arg)
			if _, value, ok := strings.Cut(arg, "="); ok && !plainArgument.MatchString(value) {
				all = append(all, value)
			}
		}
		return list
	})
	return all
}

var plainArgument = regexp.MustCompile(`^(-{0,2}[A-Za-z][A-Za-z-]*|/[^=?@ ]*|[0-9.]*|.{0,5}|(?s:.*)\{(dir|base|version|previous_dir)\}(?s:.*))$`)

func passwords(address string) []string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return nil
	}
	all := []string{u.User.String()}
	if password, ok := u.User.Password(); ok && password != "" {
		all = append(all, password, url.QueryEscape(password), url.PathEscape(password))
	}
	return all
}

func maskUser(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	u.User = url.User(mask)
	return strings.Replace(u.String(), "%2A%2A%2A", mask, 1)
}

// rewritten is a deep copy of s, with each text and, if list is set, each list of
// texts as a whole replaced.
func rewritten(s *Settings, text func(text, public string) string, list func(list []string, public string) []string) *Settings {
	r := rewriter{text, list}
	return r.value(reflect.ValueOf(s), "").Interface().(*Settings)
}

type rewriter struct {
	text func(text, public string) string
	list func(list []string, public string) []string
}

func (r rewriter) value(v reflect.Value, public string) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(r.text(v.String(), public))
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(r.value(v.Elem(), public))
		}
	case reflect.Struct:
		out.Set(v)
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out.Field(i).Set(r.value(v.Field(i), f.Tag.Get("public")))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		if v.Type() == reflect.TypeFor[[]string]() && r.list != nil {
			return reflect.ValueOf(append([]string{}, r.list(v.Interface().([]string), public)...))
		}
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(r.value(v.Index(i), public))
		}
	case reflect.Map:
		if v.IsNil() {
			break
		}
		out.Set(reflect.MakeMap(v.Type()))
		for _, key := range v.MapKeys() {
			out.SetMapIndex(key, r.value(v.MapIndex(key), public))
		}
	default:
		out.Set(v)
	}
	return out
}
