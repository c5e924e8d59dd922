package eventlog

import (
	"github.com/sirupsen/logrus"

	"github.com/freshet/freshet/internal/event"
)

// Journalled is what the journal is given of an event: its priority (syslog(3))
// and fields.
func Journalled(e event.Event) (priority int, fields map[string]string) {
	log := logrus.New()
	log.SetOutput(discard{})
	h := &kept{}
	log.AddHook(h)
	forward(log, e)
	return int(h.priority), h.fields
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

type kept struct {
	priority int
	fields   map[string]string
}

func (*kept) Levels() []logrus.Level { return logrus.AllLevels }

func (k *kept) Fire(e *logrus.Entry) error {
	k.priority, k.fields = int(priority(e)), journalFields(e)
	return nil
}
