package schedule

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/settings"
)

// Bounds of a schedule.
const (
	LeastEvery = time.Minute
	Most       = 30 * 24 * time.Hour // of every and delay
	MaxBases   = 100
)

// Parse holds a timing and its random delay against their bounds. What a kind
// has no use for must not be set. Its errors are [*api.Error] of BadRequest.
func Parse(t api.Timing, random time.Duration) (Schedule, error) {
	s := Schedule{kind: t.Kind, every: time.Duration(t.Every), delay: time.Duration(t.Delay), bases: t.Bases, random: random}
	if err := fits(t); err != nil {
		return s, err
	}
	switch t.Kind {
	case api.Interval:
		if s.every < LeastEvery || s.every > Most {
			return s, bad("every %s: use %s to 30d", short(s.every), short(LeastEvery))
		}
	case api.Daily, api.Weekly:
		if err := s.clock(t); err != nil {
			return s, err
		}
	case api.AtStart, api.OnBase:
		if s.delay < 0 || s.delay > Most {
			return s, bad("delay %s: use 0s to 30d", short(s.delay))
		}
		if err := CheckBases(t.Bases); err != nil {
			return s, err
		}
	}
	return s, s.checkRandom()
}

// fits refuses an unknown kind, and fields that the kind does not have.
func fits(t api.Timing) error {
	uses := map[string]string{
		api.Interval: "every", api.Daily: "at", api.Weekly: "at days", api.Manual: "", api.AtStart: "delay", api.OnBase: "delay bases",
	}
	allowed, known := uses[t.Kind]
	if !known {
		return bad("kind of timing %.40q is not one of interval, daily, weekly, manual, start, base", t.Kind)
	}
	for field, set := range map[string]bool{
		"every": t.Every != 0, "at": t.At != "", "days": len(t.Days) > 0, "delay": t.Delay != 0, "bases": len(t.Bases) > 0,
	} {
		if set && !slices.Contains(strings.Fields(allowed), field) {
			return bad("a timing of kind %s has no %s", t.Kind, field)
		}
	}
	return nil
}

// clock reads the time of day and the days.
func (s *Schedule) clock(t api.Timing) error {
	at, err := time.Parse("15:04", t.At)
	if err != nil || len(t.At) != len("15:04") {
		return bad("at %.40q is no time of day as 03:30", t.At)
	}
	s.minute = at.Hour()*60 + at.Minute()
	if t.Kind == api.Weekly && len(t.Days) == 0 {
		return bad("a weekly timing needs days: mon to sun")
	}
	for _, name := range t.Days {
		i, ok := weekday(name)
		if !ok {
			return bad("day %.40q is not one of mon, tue, wed, thu, fri, sat, sun", name)
		}
		if s.days[i] {
			return bad("day %s stands there twice", name)
		}
		s.days[i] = true
	}
	return nil
}

// checkRandom bounds the random delay by the period: no slot overtakes another.
func (s *Schedule) checkRandom() error {
	most := Most
	switch s.kind {
	case api.Interval:
		if s.random > s.every {
			return bad("random delay %s is longer than every %s: give both so that they fit", short(s.random), short(s.every))
		}
	case api.Daily, api.Weekly:
		most = 24 * time.Hour
	}
	if s.random < 0 || s.random > most {
		return bad("random delay %s: use 0s to %s, as this timing allows", short(s.random), short(most))
	}
	return nil
}

// CheckBases bounds a list of names of bases.
func CheckBases(names []string) error {
	if len(names) > MaxBases {
		return bad("%d bases: name %d at most", len(names), MaxBases)
	}
	form := regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	for i, name := range names {
		if !form.MatchString(name) {
			return bad("%.80q is no name of a base: 1 to 64 of a-z, 0-9 and -", name)
		}
		if slices.Contains(names[:i], name) {
			return bad("base %s stands there twice", name)
		}
	}
	return nil
}

func bad(format string, args ...any) error {
	return &api.Error{Code: api.BadRequest, Text: fmt.Sprintf(format, args...)}
}

// short is a duration as settings have it.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return settings.Duration(d).String()
}

// Words says when, for people.
func Words(t api.Timing) string {
	switch t.Kind {
	case api.Interval:
		return "every " + short(time.Duration(t.Every))
	case api.Daily:
		return "daily at " + t.At
	case api.Weekly:
		return strings.Join(t.Days, ",") + " at " + t.At
	case api.AtStart:
		return after(t, "start")
	case api.OnBase:
		what := "an update"
		if len(t.Bases) > 0 {
			what = "an update of " + strings.Join(t.Bases, ",")
		}
		return after(t, what)
	}
	return "when started"
}

func after(t api.Timing, what string) string {
	if t.Delay == 0 {
		return "after " + what
	}
	return short(time.Duration(t.Delay)) + " after " + what
}
