package clock

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTimesyncdsWordCountsWhereTheKernelIsNotAsked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "synchronized")
	if got := syncBy(file); got != Unknown {
		t.Errorf("without the file: %v", got)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := syncBy(file); got != Synchronised {
		t.Errorf("with the file: %v", got)
	}
	if got := syncBy(filepath.Dir(file)); got != Unknown {
		t.Errorf("by a folder: %v", got)
	}
}
