package metrics

import (
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/api"
)

func buildInfo(s *Sample) []value {
	return []value{{[]string{"version", s.Status.Version, "goversion", s.Go}, 1}}
}

func states(s *Sample) []value {
	var all []value
	for _, state := range []string{"up to date", "out of date", "totally out of date", "without databases"} {
		all = append(all, value{[]string{"state", strings.ReplaceAll(state, " ", "_")}, truth(s.Status.State == state)})
	}
	return all
}

func one(of func(*Sample) float64) func(*Sample) []value {
	return func(s *Sample) []value { return []value{{nil, of(s)}} }
}

func stamped(of func(*Sample) time.Time) func(*Sample) []value {
	return func(s *Sample) []value {
		t := of(s)
		if t.IsZero() {
			return nil
		}
		return []value{{nil, unix(t)}}
	}
}

func perBase(of func(api.BaseStatus) float64) func(*Sample) []value {
	return func(s *Sample) []value {
		var all []value
		for _, b := range s.Status.Bases {
			all = append(all, value{[]string{"base", b.Name}, of(b)})
		}
		return all
	}
}

func perRole(of func(api.RoleStatus) float64) func(*Sample) []value {
	return func(s *Sample) []value {
		var all []value
		for _, r := range s.Status.Roles {
			if !r.Unneeded {
				all = append(all, value{[]string{"role", r.Role}, of(r)})
			}
		}
		return all
	}
}

func behind(last *api.Result) bool { return last != nil && last.Reason == api.ReasonBehind }

func missing(s *Sample) []value {
	var all []value
	for _, m := range s.Status.Missing {
		all = append(all, value{[]string{"base", m.Name}, 1})
	}
	return all
}

func quarantined(s *Sample) []value {
	count := map[string]float64{}
	var names []string
	for _, h := range s.Status.Held {
		name := h.Base + h.Module
		if count[name]++; count[name] == 1 {
			names = append(names, name)
		}
	}
	var all []value
	for _, name := range names {
		all = append(all, value{[]string{"name", name}, count[name]})
	}
	return all
}

func engines(s *Sample) []value {
	var all []value
	for _, e := range s.Status.Engines {
		all = append(all, value{[]string{"base", e.Base, "step", e.Step}, 1})
	}
	return all
}

// perTask gives a task's value; false: it has none.
func perTask(of func(api.Task) (float64, bool)) func(*Sample) []value {
	return func(s *Sample) []value {
		var all []value
		for _, t := range s.Tasks {
			if v, ok := of(t); ok {
				all = append(all, value{[]string{"task", strconv.Itoa(t.ID), "name", t.Name}, v})
			}
		}
		return all
	}
}

func succeeded(t api.Task) (float64, bool) {
	if t.Last == nil {
		return 0, false
	}
	switch t.Last.Outcome {
	case api.Failed, api.Partly, api.Stopped:
		return 0, true
	}
	return 1, true
}

func ended(t api.Task) (float64, bool) {
	if t.Last == nil {
		return 0, false
	}
	return unix(t.Last.Ended), true
}

func took(t api.Task) (float64, bool) {
	if t.Last == nil {
		return 0, false
	}
	return t.Last.Ended.Sub(t.Last.Started).Seconds(), true
}
