package settings

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Duration is written as 90s, 5m, 72h, 1h30m or 3d.
type Duration time.Duration

// ParseDuration reads a Duration: what [time.ParseDuration] takes, or whole
// days.
func ParseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 31)
		if err != nil || n > 36500 {
			return 0, fmt.Errorf("%q is no number of days as 3d", s)
		}
		return Duration(n) * Duration(24*time.Hour), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration as 90s, 5m, 72h or 3d", s)
	}
	return Duration(d), nil
}

// String is the shortest form: 60m, not 1h0m0s.
func (d Duration) String() string {
	t := time.Duration(d)
	switch {
	case t == 0:
		return "0s"
	case t%time.Hour == 0:
		return fmt.Sprintf("%dh", t/time.Hour)
	case t%time.Minute == 0:
		return fmt.Sprintf("%dm", t/time.Minute)
	}
	return t.String()
}

// MarshalText is the form of JSON and YAML.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads it back.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	*d = v
	return err
}

// Bytes is a size, written as 4MiB, 500KB or a number of bytes.
type Bytes int64

// ParseBytes reads Bytes.
func ParseBytes(s string) (Bytes, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 {
		return 0, fmt.Errorf("%q is no size as 4MiB", s)
	}
	return Bytes(n), nil
}

// String is exact: in the largest unit that is whole.
func (b Bytes) String() string {
	switch {
	case b != 0 && b%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", b>>20)
	case b != 0 && b%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", b>>10)
	case b != 0 && b%1e9 == 0:
		return fmt.Sprintf("%dGB", b/1e9)
	case b != 0 && b%1e6 == 0:
		return fmt.Sprintf("%dMB", b/1e6)
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText is the form of JSON and YAML.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads it back.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	*b = v
	return err
}

// Mode is the permission bits of a file, written in octal: "0644".
type Mode uint32

// ParseMode reads a Mode of at most 0777.
func ParseMode(s string) (Mode, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%q is no mode as \"0644\"", s)
	}
	return Mode(n), nil
}

func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// MarshalText is the form of JSON and YAML.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads it back.
func (m *Mode) UnmarshalText(text []byte) error {
	v, err := ParseMode(string(text))
	*m = v
	return err
}
