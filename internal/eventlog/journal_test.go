package eventlog_test

import (
	"testing"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/eventlog"
)

func TestEventsAreFoundInTheJournalByTheirFields(t *testing.T) {
	rows := []struct {
		name     string
		code     event.Code
		fields   map[string]string
		priority int // syslog(3)
		want     map[string]string
	}{
		{"news", event.BaseReleased, map[string]string{"base": "hosts", "version": "4"}, 6, map[string]string{"FRESHET_BASE": "hosts", "FRESHET_VERSION": "4"}},
		{"a warning with a hint", event.BaseRolledBack, map[string]string{"base": "hosts", "from": "4"}, 4, map[string]string{
			"FRESHET_FROM": "4", "FRESHET_HINT": "it is kept until a newer version; freshet bases unhold hosts allows version 4 again"}},
		{"an error", event.UpdateFailed, nil, 3, map[string]string{"FRESHET_SEVERITY": "error"}},
		{"the worst", event.BaseDamaged, nil, 2, map[string]string{"FRESHET_SEVERITY": "critical"}},
		{"a field that would take the code's place", event.NothingNew, map[string]string{"code": "AgentStopped", "source": "x"}, 6, map[string]string{"FRESHET_SOURCE": "x"}},
	}
	for _, row := range rows {
		e := event.New(start, row.code, row.fields)
		e.Seq = 7
		priority, got := eventlog.Journalled(e)
		row.want["FRESHET_CODE"], row.want["FRESHET_SEQ"] = string(row.code), "7"
		row.want["MESSAGE_ID"], row.want["SYSLOG_IDENTIFIER"] = event.MessageID(row.code), "freshet"
		if priority != row.priority {
			t.Errorf("%s: priority %d, want %d", row.name, priority, row.priority)
		}
		for k, v := range row.want {
			if got[k] != v {
				t.Errorf("%s: %s=%q, want %q", row.name, k, got[k], v)
			}
		}
	}
}
