package main_test

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/settings"
)

type object = map[string]any

const draft = "https://json-schema.org/draft/2020-12/schema"

// writer makes schemas of Go types, by their JSON or YAML tags.
type writer struct {
	tag    string         // json or yaml
	closed bool           // unknown keys are refused
	enums  map[string]any // by "Type.Field"
	needs  map[string][]string
	defs   object
}

// schemaOf is the schema of v's type, whole. Outputs are open, since fields are
// added within /v1; closed is for the tests, which find those that no type has.
func schemaOf(title string, v any, closed bool) object {
	w := &writer{tag: "json", closed: closed, enums: outputEnums(), defs: object{}}
	return w.whole(title, v)
}

// settingsSchema is that of the settings file.
func settingsSchema() object {
	w := &writer{tag: "yaml", closed: true, enums: settingsEnums(), defs: object{}, needs: map[string][]string{
		"Settings": {"version"}, "Source": {"url"}, "Base": {"name"}, "Deliver": nil, "Signal": {"pidfile"}, "Import": {"watch"},
	}}
	return w.whole("The settings file of Freshet's agent, freshet.yaml", settings.Settings{})
}

func (w *writer) whole(title string, v any) object {
	root := w.of(reflect.TypeOf(v))
	out := object{"$schema": draft, "title": title, "$defs": w.defs}
	for k, v := range root {
		out[k] = v
	}
	return out
}

func outputEnums() map[string]any {
	states := []any{"up to date", "out of date", "totally out of date", "without databases"}
	return map[string]any{
		"Status.State": states, "BaseStatus.State": states[:3],
		"Task.Type":      []any{api.TypeUpdate, api.TypeRollback, api.TypeVerify},
		"Task.Overlap":   []any{api.Queue, api.Skip},
		"Timing.Kind":    []any{api.Interval, api.Daily, api.Weekly, api.Manual, api.AtStart, api.OnBase},
		"Result.Outcome": []any{api.Updated, api.RolledBack, api.NothingNew, api.Whole, api.Repaired, api.Partly, api.Failed, api.Stopped},
		"Event.Severity": []any{string(event.Info), string(event.Warning), string(event.Error), string(event.Critical)},
	}
}

func settingsEnums() map[string]any {
	words := func(all []string) []any {
		out := []any{nil} // a key without a value is as if absent
		for _, s := range all {
			out = append(out, s)
		}
		return out
	}
	modes := words([]string{settings.ModulesDisabled, settings.ModulesDownloadOnly, settings.ModulesInstall})
	return map[string]any{
		"Log.Level": words(settings.Levels()), "Signal.Signal": words(settings.Signals()), "Base.Engine": words(settings.Engines()),
		"Modules.Mode": modes, "Module.Mode": modes, "Modules.Notices": words([]string{"on", "off"}),
	}
}

const (
	durationForm = `^([0-9]+d|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	sizeForm     = `^[0-9]+(\.[0-9]+)? ?[A-Za-z]*$`
)

// of is the schema of a type; that of a struct is a reference.
func (w *writer) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[api.Duration]():
		return object{"type": "string", "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h))+$`, "description": "as 1h30m0s"}
	case reflect.TypeFor[settings.Duration]():
		return object{"type": w.orNull("string"), "pattern": durationForm, "description": "as 90s, 5m, 72h, 3d"}
	case reflect.TypeFor[settings.Bytes](), reflect.TypeFor[settings.Rate]():
		form := sizeForm
		if t == reflect.TypeFor[settings.Rate]() {
			form = strings.TrimSuffix(sizeForm, "$") + "(/s)?$"
		}
		return object{"type": []any{"string", "integer", "null"}, "pattern": form}
	case reflect.TypeFor[settings.Mode]():
		return object{"type": []any{"string", "integer", "null"}, "pattern": "^(0o)?[0-7]{1,4}$"}
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return object{"type": w.scalar()}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return w.of(t.Elem())
	case reflect.Slice:
		return object{"type": w.orNull("array"), "items": w.of(t.Elem())}
	case reflect.Map:
		return object{"type": w.orNull("object"), "additionalProperties": w.of(t.Elem())}
	case reflect.Struct:
		return w.define(t)
	case reflect.Bool:
		return object{"type": w.orNull("boolean")}
	case reflect.String:
		return object{"type": w.scalar()}
	case reflect.Float64:
		return object{"type": "number"}
	}
	return object{"type": "integer"}
}

// scalar is a text; in settings a number is one too.
func (w *writer) scalar() any {
	if w.tag == "json" {
		return "string"
	}
	return []any{"string", "number", "null"}
}

// orNull allows a key without a value, in settings.
func (w *writer) orNull(kind string) any {
	if w.tag == "json" {
		return kind
	}
	return []any{kind, "null"}
}

func (w *writer) define(t reflect.Type) object {
	ref := object{"$ref": "#/$defs/" + t.Name()}
	if _, ok := w.defs[t.Name()]; ok {
		return ref
	}
	def := object{"type": w.orNull("object")}
	w.defs[t.Name()] = def
	properties, required := object{}, slices.Clone(w.needs[t.Name()])
	if w.closed {
		def["additionalProperties"] = false
	}
	w.fields(t, def, properties, &required)
	def["properties"] = properties
	if len(required) > 0 {
		def["required"] = required
	}
	return ref
}

// fields adds the fields of a struct to its schema, those of inlined ones too.
func (w *writer) fields(t reflect.Type, def, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, more, _ := strings.Cut(f.Tag.Get(w.tag), ",")
		switch {
		case more == "inline" && f.Type.Kind() == reflect.Map: // whatever is no key
			def["additionalProperties"] = w.of(f.Type.Elem())
			def["propertyNames"] = object{"pattern": "^[a-z0-9-]{1,64}$"}
			continue
		case more == "inline", f.Anonymous && name == "":
			w.fields(f.Type, def, properties, required)
			continue
		case name == "" || name == "-":
			continue
		}
		s := w.of(f.Type)
		if enum, ok := w.enums[t.Name()+"."+f.Name]; ok {
			s = object{"enum": enum}
		}
		properties[name] = s
		if w.tag == "json" && !strings.Contains(more, "omit") {
			*required = append(*required, name)
		}
	}
}
