package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/metrics"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md anew")

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// full is a sample with a value for every metric.
func full() metrics.Sample {
	last := &api.Result{Outcome: api.Updated, Started: noon.Add(-2 * time.Second), Ended: noon}
	return metrics.Sample{
		Status: api.Status{
			Version: "1.2.3", State: "out of date", SignedAt: noon, Generation: 7, Trial: true, Refused: "line 3",
			Bases:   []api.BaseStatus{{Name: "hosts", Version: 3, Age: 99, Published: noon, Records: 5, Size: 100}, {Name: "urls"}},
			Missing: []api.Missing{{Name: "hots"}},
			Roles:   []api.RoleStatus{{Role: "root", Version: 2, Expires: noon}, {Role: "modules", Unneeded: true}},
			Held:    []api.Held{{Base: "hosts", Version: 4}, {Base: "hosts", Version: 5}, {Module: "scanner"}},
			Engines: []api.EngineError{{Base: "hosts", Step: "deliver"}},
		},
		Tasks: []api.Task{
			{ID: 6, Name: "Update", Scheduled: true, Enabled: true, Run: 4, Last: last, LastSuccess: noon, Next: noon.Add(time.Hour)},
			{ID: 100, Name: "a \"task\"\\of mine"},
		},
		Go: "go1.26", Expires: noon.Add(time.Hour), Bytes: 5, Requests: 2, At: noon,
	}
}

func TestEveryMetricCanBeReadAndKeepsToTheConventions(t *testing.T) {
	text := metrics.Text(full())
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, m := range metrics.Table() {
		f := families[m.Name]
		if f == nil {
			t.Errorf("%s has no value", m.Name)
			continue
		}
		if got := strings.ToLower(f.GetType().String()); got != m.Type || f.GetHelp() != m.Help {
			t.Errorf("%s is a %s: %s", m.Name, got, f.GetHelp())
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if got := strings.Join(labels, ", "); got != m.Labels {
			t.Errorf("%s has the labels %q, its row says %q", m.Name, got, m.Labels)
		}
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
}

func TestValues(t *testing.T) {
	text := string(metrics.Text(full()))
	for _, want := range []string{
		"freshet_base_age_seconds{base=\"hosts\"} 99\n",
		"freshet_state{state=\"out_of_date\"} 1\n",
		"freshet_state{state=\"up_to_date\"} 0\n",
		"freshet_quarantined_versions{name=\"hosts\"} 2\n",
		"freshet_trial 1\n",
		"freshet_task_last_run_success{task=\"6\",name=\"Update\"} 1\n",
		"freshet_task_last_run_duration_seconds{task=\"6\",name=\"Update\"} 2\n",
		"freshet_task_enabled{task=\"100\",name=\"a \\\"task\\\"\\\\of mine\"} 0\n",
		"freshet_metadata_expiry_timestamp_seconds 1.795352400e+09\n",
	} {
		if name, number, _ := strings.Cut(want, " 1.795352400e+09"); number != "" {
			want = fmt.Sprintf("%s %v\n", name, float64(noon.Add(time.Hour).Unix()))
		}
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "freshet_task_last_run_success{task=\"100\"") {
		t.Error("a task that never ran has a result")
	}
	for _, outcome := range []string{api.Failed, api.Partly, api.Stopped} {
		s := full()
		s.Tasks[0].Last.Outcome = outcome
		if !strings.Contains(string(metrics.Text(s)), "freshet_task_last_run_success{task=\"6\",name=\"Update\"} 0\n") {
			t.Errorf("a run that ended %s is a success", outcome)
		}
	}
}

func TestTableInTheDocsIsTrue(t *testing.T) {
	const path = "../../docs/metrics.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, m := range metrics.Table() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, m.Labels, m.Help)
	}
	section := regexp.MustCompile(`(?s)(<!-- table: metrics -->\n).*?(<!-- end -->)`)
	if !section.Match(data) {
		t.Fatal("no table")
	}
	want := section.ReplaceAllString(string(data), "${1}"+b.String()+"${2}")
	if want == string(data) {
		return
	}
	if !*update {
		t.Fatal("the table is another than the code's: go test ./internal/metrics -args -update")
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
