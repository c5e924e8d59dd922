// Package metrics writes an agent's state in Prometheus' text format (exposition
// format 0.0.4). It is a pure function of what the local API says: there is no
// registry, and an idle agent computes nothing.
package metrics

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// ContentType is that of the format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Sample is what metrics are made of.
type Sample struct {
	Status   api.Status
	Tasks    []api.Task
	Go       string
	Expires  time.Time // of the metadata; zero: not known
	Bytes    int64     // fetched since the agent started
	Requests int64
	At       time.Time // when it was taken
}

// Metric is a row of the table.
type Metric struct {
	Name   string
	Type   string // gauge or counter
	Labels string // for the docs
	Help   string
	values func(*Sample) []value
}

type value struct {
	labels []string // name, value, …
	v      float64
}

// Table is every metric there is.
func Table() []Metric {
	return []Metric{
		{"freshet_build_info", "gauge", "version, goversion", "1, with the version of the agent", buildInfo},
		{"freshet_state", "gauge", "state", "1 for the state of the stalest base, 0 for the others: up_to_date, out_of_date, totally_out_of_date, without_databases", states},
		{"freshet_base_age_seconds", "gauge", "base", "Age of the installed version at the time of writing, from its signed time of publication", perBase(func(b api.BaseStatus) float64 { return float64(b.Age) })},
		{"freshet_base_published_timestamp_seconds", "gauge", "base", "Signed time of publication of the installed version", perBase(func(b api.BaseStatus) float64 { return unix(b.Published) })},
		{"freshet_base_version", "gauge", "base", "Number of the installed version", perBase(func(b api.BaseStatus) float64 { return float64(b.Version) })},
		{"freshet_base_records", "gauge", "base", "Records of the installed version", perBase(func(b api.BaseStatus) float64 { return float64(b.Records) })},
		{"freshet_base_size_bytes", "gauge", "base", "Size of the installed version", perBase(func(b api.BaseStatus) float64 { return float64(b.Size) })},
		{"freshet_base_missing", "gauge", "base", "1 for each base that is wanted and not installed", missing},
		{"freshet_quarantined_versions", "gauge", "name", "Versions of a base or module that are held back", quarantined},
		{"freshet_engine_errors", "gauge", "base, step", "1 for each engine that was not served since the last update began", engines},
		{"freshet_generation", "gauge", "", "Number of the current generation", one(func(s *Sample) float64 { return float64(s.Status.Generation) })},
		{"freshet_trial", "gauge", "", "1 while the current generation is on trial", one(func(s *Sample) float64 { return truth(s.Status.Trial) })},
		{"freshet_settings_refused", "gauge", "", "1 while the settings file is not in force", one(func(s *Sample) float64 { return truth(s.Status.Refused != "") })},
		{"freshet_metadata_signed_timestamp_seconds", "gauge", "", "Newest verified time of signing", stamped(func(s *Sample) time.Time { return s.Status.SignedAt })},
		{"freshet_metadata_expiry_timestamp_seconds", "gauge", "", "When the first of the metadata expires", stamped(func(s *Sample) time.Time { return s.Expires })},
		{"freshet_metadata_role_expiry_timestamp_seconds", "gauge", "role", "When the metadata of the role expires; left out where it is not needed", perRole(func(r api.RoleStatus) float64 { return unix(r.Expires) })},
		{"freshet_metadata_role_version", "gauge", "role", "Newest version of the role's metadata that is trusted; left out where it is not needed", perRole(func(r api.RoleStatus) float64 { return float64(r.Version) })},
		{"freshet_sources_behind", "gauge", "", "1 if at the last update every source was behind what was seen before", one(func(s *Sample) float64 { return truth(behind(s.Status.Update.Last)) })},
		{"freshet_task_enabled", "gauge", "task, name", "1 if the task runs by itself", perTask(func(t api.Task) (float64, bool) { return truth(t.Scheduled && t.Enabled), true })},
		{"freshet_task_running", "gauge", "task, name", "1 while the task runs", perTask(func(t api.Task) (float64, bool) { return truth(t.Running), true })},
		{"freshet_task_runs_total", "counter", "task, name", "Runs of the task, over restarts", perTask(func(t api.Task) (float64, bool) { return float64(t.Run), true })},
		{"freshet_task_failures", "gauge", "task, name", "Failed runs in a row", perTask(func(t api.Task) (float64, bool) { return float64(t.Failures), true })},
		{"freshet_task_last_run_success", "gauge", "task, name", "1 if the last run neither failed nor was stopped", perTask(succeeded)},
		{"freshet_task_last_run_timestamp_seconds", "gauge", "task, name", "End of the last run", perTask(ended)},
		{"freshet_task_last_run_duration_seconds", "gauge", "task, name", "What the last run took", perTask(took)},
		{"freshet_task_last_success_timestamp_seconds", "gauge", "task, name", "End of the last run that succeeded", perTask(func(t api.Task) (float64, bool) { return unix(t.LastSuccess), !t.LastSuccess.IsZero() })},
		{"freshet_task_next_run_timestamp_seconds", "gauge", "task, name", "When the task runs next by itself", perTask(func(t api.Task) (float64, bool) { return unix(t.Next), !t.Next.IsZero() })},
		{"freshet_fetched_bytes_total", "counter", "", "Bytes of all answers of sources since the agent started", one(func(s *Sample) float64 { return float64(s.Bytes) })},
		{"freshet_requests_total", "counter", "", "Requests to sources since the agent started", one(func(s *Sample) float64 { return float64(s.Requests) })},
		{"freshet_sample_timestamp_seconds", "gauge", "", "When these metrics were written", stamped(func(s *Sample) time.Time { return s.At })},
	}
}

// Text is a sample in the text format. A metric without values is left out.
func Text(s Sample) []byte {
	var b bytes.Buffer
	for _, m := range Table() {
		values := m.values(&s)
		if len(values) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", m.Name, m.Help, m.Name, m.Type)
		for _, v := range values {
			fmt.Fprintf(&b, "%s%s %s\n", m.Name, v.braces(), strconv.FormatFloat(v.v, 'g', -1, 64))
		}
	}
	return b.Bytes()
}

func (v value) braces() string {
	if len(v.labels) == 0 {
		return ""
	}
	var parts []string
	for i := 0; i+1 < len(v.labels); i += 2 {
		parts = append(parts, v.labels[i]+`="`+escaped(v.labels[i+1])+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func escaped(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(strings.ToValidUTF8(s, "\uFFFD"))
}

// unix is a time in seconds, to the millisecond.
func unix(t time.Time) float64 { return math.Round(float64(t.UnixMilli())) / 1000 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
