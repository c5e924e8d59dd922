package source_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/source"
)

func TestWhatIsNotThereIsTold(t *testing.T) {
	rows := map[string]struct {
		status int
		path   string
		want   bool
	}{
		"404":                        {404, "blobs/x", true},
		"410":                        {410, "blobs/x", true},
		"403 for the next root":      {403, "metadata/7.root.json", true},
		"403 for a blob":             {403, "blobs/x", true},
		"500 for the next root":      {500, "metadata/7.root.json", false},
		"401 is about the client":    {401, "blobs/x", false},
		"407 is about the proxy":     {407, "blobs/x", false},
		"503 is about the next hour": {503, "metadata/7.root.json", false},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s := serve(t, answers(row.status, "no"))
			_, err := s.Fetch(context.Background(), row.path, 100)
			if err == nil || errors.Is(err, source.ErrNotFound) != row.want {
				t.Errorf("error %v", err)
			}
			_, _, err = s.Open(context.Background(), row.path, 0, 100)
			if err == nil || errors.Is(err, source.ErrNotFound) != row.want {
				t.Errorf("error of Open %v", err)
			}
		})
	}
}

func TestBusySourceSaysHowLongToWait(t *testing.T) {
	rows := map[string]struct {
		status int
		header []string
		want   time.Duration
	}{
		"seconds":                          {429, []string{"Retry-After", "120"}, 2 * time.Minute},
		"a date, by the server's clock":    {503, []string{"Date", "Mon, 02 Jan 2006 15:00:00 GMT", "Retry-After", "Mon, 02 Jan 2006 15:04:00 GMT"}, 4 * time.Minute},
		"a date that has passed":           {503, []string{"Date", "Mon, 02 Jan 2006 15:00:00 GMT", "Retry-After", "Mon, 02 Jan 2006 14:00:00 GMT"}, 0},
		"nothing":                          {503, nil, 0},
		"a year":                           {429, []string{"Retry-After", "31536000"}, time.Hour},
		"a number that no duration holds":  {429, []string{"Retry-After", "9223372036854775807"}, time.Hour},
		"a number that no integer holds":   {429, []string{"Retry-After", "99999999999999999999999"}, time.Hour},
		"a negative number, which is none": {429, []string{"Retry-After", "-5"}, 0},
		"words":                            {429, []string{"Retry-After", "later"}, 0},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, answers(row.status, "busy", row.header...)).Fetch(context.Background(), "x", 100)
			var busy *source.RetryError
			if !errors.As(err, &busy) || busy.After != row.want || busy.Status != row.status {
				t.Errorf("error %v (%+v), want %s", err, busy, row.want)
			}
		})
	}
}
