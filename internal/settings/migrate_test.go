package settings_test

import (
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/freshet/freshet/internal/settings"
)

// The files say the same, each in its version's words: a new version adds
// one, and with it tests the step that leads there.
func TestFilesOfEveryVersionMeanTheSame(t *testing.T) {
	var first *settings.Settings
	for v := 1; v <= settings.Version; v++ {
		file := fmt.Sprintf("testdata/migrate/v%d.yaml", v)
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
