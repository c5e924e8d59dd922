package eventlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// NewLogger makes the program's log. It goes to "journal" (with fields; to
// stderr where there is no journal), "stderr", or a file by its absolute
// path, which may be renamed at any time. Level is one that logrus knows.
func NewLogger(to, level string) (*logrus.Logger, error) {
	lvl, err := logrus.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("setting up the log: %w", err)
	}
	l := logrus.New()
	l.SetLevel(lvl)
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	switch {
	case to == "journal" && journal.Enabled():
		l.SetOutput(io.Discard)
		l.AddHook(journalHook{})
	case to == "journal" || to == "stderr" || to == "":
		l.SetOutput(os.Stderr)
	default:
		f := appender(to)
		if _, err := f.Write(nil); err != nil {
			return nil, fmt.Errorf("setting up the log: %w", err)
		}
		l.SetOutput(f)
	}
	return l, nil
}

// appender is a file that is opened for each write, so that logrotate needs
// tell nobody.
type appender string

func (a appender) Write(p []byte) (int, error) {
	f, err := os.OpenFile(string(a), os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = durable.OpenNew(string(a), os.O_WRONLY|os.O_APPEND, perm)
	}
	if err != nil {
		return 0, err
	}
	n, err := f.Write(p)
	if e := f.Close(); err == nil {
		err = e
	}
	return n, err
}

// severityField is how forward tells the journal of severities that logrus
// does not have.
const severityField = "severity"

func forward(log *logrus.Logger, e event.Event) {
	if log == nil {
		return
	}
	fields := logrus.Fields{"code": string(e.Code), "seq": e.Seq, severityField: string(e.Severity)}
	for k, v := range e.Fields {
		if _, taken := fields[k]; !taken {
			fields[k] = v
		}
	}
	if e.Hint != "" {
		fields["hint"] = e.Hint
	}
	log.WithFields(fields).Log(levelOf(e.Severity), e.Text)
}

func levelOf(s event.Severity) logrus.Level {
	switch s {
	case event.Info:
		return logrus.InfoLevel
	case event.Warning:
		return logrus.WarnLevel
	}
	return logrus.ErrorLevel
}

// journalHook writes entries to the systemd journal, each field as
// FRESHET_FIELD; those that stand for an event with its MESSAGE_ID.
type journalHook struct{}

func (journalHook) Levels() []logrus.Level { return logrus.AllLevels }

func (journalHook) Fire(e *logrus.Entry) error {
	return journal.Send(e.Message, priority(e), journalFields(e))
}

func journalFields(e *logrus.Entry) map[string]string {
	vars := map[string]string{"SYSLOG_IDENTIFIER": "freshet"}
	for k, v := range e.Data {
		vars[journalField(k)] = fmt.Sprint(v)
	}
	if code, ok := e.Data["code"].(string); ok {
		vars["MESSAGE_ID"] = event.MessageID(event.Code(code))
	}
	return vars
}

func priority(e *logrus.Entry) journal.Priority {
	if e.Data[severityField] == string(event.Critical) {
		return journal.PriCrit
	}
	switch e.Level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return journal.PriCrit
	case logrus.ErrorLevel:
		return journal.PriErr
	case logrus.WarnLevel:
		return journal.PriWarning
	case logrus.InfoLevel:
		return journal.PriInfo
	}
	return journal.PriDebug
}

// journalField makes a name that the journal takes: see
// systemd.journal-fields(7).
func journalField(name string) string {
	return "FRESHET_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}
