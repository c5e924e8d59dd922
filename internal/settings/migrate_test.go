package settings_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/freshet/freshet/internal/settings"
)

// The files say the same, each in its version's words: a new version adds
// one, and with it tests the step that leads there.
func TestFilesOfEveryVersionMeanTheSame(t *testing.T) {
	var first *settings.Settings
	for v := 1; v <= settings.Version; v++ {
		file := fmt.Sprintf("%s/v%d.yaml", goldenDir, v)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := settings.Parse(file, data)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = s
		}
		if s.Version != settings.Version || !reflect.DeepEqual(s, first) {
			t.Errorf("version %d: %+v, version 1: %+v", v, s, first)
		}
	}
}

// Each step has a golden pair: what it makes of the file of its version is the
// next version's file, but for the number and the comments.
func TestEachStepHasAGoldenPair(t *testing.T) {
	for i := range settings.Steps() {
		got, err := settings.Lift(readFile(t, fmt.Sprintf("%s/v%d.yaml", goldenDir, i+1)), i)
		if err != nil {
			t.Fatal(err)
		}
		want := readFile(t, fmt.Sprintf("%s/v%d.yaml", goldenDir, i+2))
		if g, w := parsed(t, got), parsed(t, want); !reflect.DeepEqual(g, w) {
			t.Errorf("from version %d: got %v, want %v", i+1, g, w)
		}
	}
}

func TestAStepThatBreaksIsAnErrorOfTheMigration(t *testing.T) {
	for _, row := range []struct {
		name string
		step func(*yaml.Node) (*yaml.Node, error)
		want string
	}{
		{"it panics", func(doc *yaml.Node) (*yaml.Node, error) { return doc.Content[99], nil }, "lifting the settings from version 1 to 2: the step panicked: runtime error: index out of range"},
		{"it returns an error", func(*yaml.Node) (*yaml.Node, error) { return nil, errors.New("no such thing") }, "from version 1 to 2: no such thing"},
		{"it leads to nothing", func(*yaml.Node) (*yaml.Node, error) { return nil, nil }, "led to no keys"},
		{"it leads to a list", func(*yaml.Node) (*yaml.Node, error) { return &yaml.Node{Kind: yaml.SequenceNode}, nil }, "led to no keys"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := settings.LiftBy([]byte("version: 1\nsupport: x\n"), row.step)
			var e *settings.MigrationError
			if !errors.As(err, &e) || e.From != 1 || e.To != 2 || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// parsed is what a file holds, without its version.
func parsed(t *testing.T, data []byte) map[string]any {
	t.Helper()
	m := map[string]any{}
	if err := yaml.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "version")
	return m
}
