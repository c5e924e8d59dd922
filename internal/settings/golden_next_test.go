//go:build nextschema

package settings_test

import (
	"errors"
	"testing"

	"github.com/freshet/freshet/internal/settings"
)

const goldenDir = "testdata/nextschema"

func TestAMigrationThatBreaksIsNoProblemOfTheFile(t *testing.T) {
	for _, text := range []string{"FRESHET_TEST_MIGRATION_PANICS", "FRESHET_TEST_MIGRATION_FAILS"} {
		_, err := settings.Parse("x", []byte("version: 1\nsupport: "+text+"\n"))
		var e *settings.MigrationError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
