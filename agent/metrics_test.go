package agent_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// freeAddress is one that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func scrape(address string) (string, error) {
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, data)
	}
	return string(data), err
}

func TestMetricsAreServedWhereTheSettingsSay(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	first, second := freeAddress(t), freeAddress(t)
	w.settings(fmt.Sprintf("metrics: {listen: %q}\n", first))
	s := w.start().settled()
	text, err := scrape(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"freshet_base_version{base=\"hosts\"} 1\n", "freshet_state{state=\"up_to_date\"} 1\n", "freshet_trial 0\n",
		"freshet_build_info{version=\"1.2.3\",", "freshet_task_last_run_success{task=\"6\",name=\"Update\"} 1\n",
		"\nfreshet_metadata_expiry_timestamp_seconds 1", fmt.Sprintf("\nfreshet_requests_total %d\n", s.update().Last.Requests),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	res, err := http.Post("http://"+first+"/metrics", "", nil)
	if err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", res, err)
	}
	w.settings(fmt.Sprintf("metrics: {listen: %q}\n", second))
	w.eventually("the listener moves", func() bool { _, err := scrape(second); return err == nil })
	if _, err := scrape(first); err == nil {
		t.Error("the old address still answers")
	}
	w.settings("")
	w.eventually("the listener ends", func() bool { _, err := scrape(second); return err != nil })
}

func TestMetricsThatCannotBeServedAreToldAndHarmNothing(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.settings(fmt.Sprintf("metrics: {listen: %q, file: %s}\n", w.server.Listener.Addr(), filepath.Join(w.dir, "none", "f.prom")))
	s := w.start().settled()
	w.eventually("both are told", func() bool { return s.events(event.MetricsFailed) == 2 })
	if res := s.run(api.TaskUpdate); res.Outcome != api.NothingNew {
		t.Errorf("%+v", res)
	}
}

func TestMetricsFileIsWrittenAfterEachRunAndNotAtEachLook(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	file := filepath.Join(w.dir, "freshet.prom")
	w.settings("update: {every: 1h, random_delay: 0s}\nmetrics: {file: " + file + "}\n")
	s := w.start().settled()
	has := func(want string) func() bool {
		return func() bool { data, _ := os.ReadFile(file); return strings.Contains(string(data), want) }
	}
	w.eventually("the first run stands there", has("freshet_base_version{base=\"hosts\"} 1\n"))
	first, err := os.Stat(file)
	if err != nil || first.Mode().Perm() != 0o644 {
		t.Fatalf("%v, %v", first.Mode(), err)
	}
	w.setClock(w.now.Load().Add(4 * time.Minute))
	s.never("it is written at each look", func() bool { now, _ := os.Stat(file); return !os.SameFile(first, now) })
	w.setClock(w.now.Load().Add(2 * time.Minute))
	w.eventually("it is written after five minutes", has("freshet_base_age_seconds{base=\"hosts\"} 360\n"))
	w.publish("a.example", "b.example")
	s.run(api.TaskUpdate)
	w.eventually("the second run stands there", has("freshet_base_version{base=\"hosts\"} 2\n"))
}
