package eventlog_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/eventlog"
)

func TestEventsAreLoggedByTheirSeverity(t *testing.T) {
	var out bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&out)
	logger.SetFormatter(&logrus.JSONFormatter{DisableTimestamp: true})
	l := open(t, filepath.Join(t.TempDir(), "events.log"))
	l.Log = logger
	for _, code := range []event.Code{event.NothingNew, event.WithoutBases, event.UpdateFailed, event.BaseDamaged} {
		add(t, l, event.New(start, code, map[string]string{"base": "hashes", "seq": "of the publisher"}))
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		`"code":"NothingNew","level":"info"`, `"code":"WithoutBases","hint":`, `"level":"error"`, `"severity":"critical"`,
	} {
		if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], fmt.Sprintf(`"seq":%d`, i+1)) || !strings.Contains(lines[i], `"base":"hashes"`) {
			t.Errorf("line %s lacks %s", lines[i], want)
		}
	}
}

func TestLogFileMayBeRenamedAtAnyTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "freshet.log")
	l, err := eventlog.NewLogger(path, "info")
	if err != nil {
		t.Fatal(err)
	}
	l.Info("first")
	l.Debug("not this")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Warn("second")
	for file, want := range map[string]string{path + ".1": "msg=first", path: "msg=second"} {
		data, err := os.ReadFile(file)
		if err != nil || strings.Count(string(data), "msg=") != 1 || !strings.Contains(string(data), want) {
			t.Errorf("%s: %q, %v", file, data, err)
		}
	}
	if _, err := eventlog.NewLogger(filepath.Join(path, "x"), "info"); err == nil {
		t.Error("a file that cannot be is taken")
	}
	if _, err := eventlog.NewLogger("stderr", "loud"); err == nil {
		t.Error("a level that is none is taken")
	}
}
