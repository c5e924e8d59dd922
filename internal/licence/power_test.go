package licence_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/internal/licence"
)

// kept are 16 licences, as many as a store holds, and one more.
type kept struct {
	ids  []string
	data [][]byte
}

func newKept(t *testing.T) kept {
	t.Helper()
	var k kept
	for i := range 17 {
		l := grant(t, func(l *licence.Licence) { l.Until = day0.Add(time.Duration(i+1) * time.Hour) })
		k.ids, k.data = append(k.ids, l.ID), append(k.data, sign(t, 1, l))
	}
	return k
}

func (k kept) begin(dir string) error {
	s := licence.Store{Dir: dir}
	for i := range 16 {
		if err := s.Add(k.ids[i], k.data[i]); err != nil {
			return err
		}
	}
	spent, err := licence.Mark{Format: 1}.Spend(3, day0)
	if err != nil {
		return err
	}
	_, err = s.MakeAgentID()
	return errors.Join(err, s.SaveMark(repo, spent))
}

// have asserts that all licences from the first on are there, and no other.
func (k kept) have(s licence.Store, first, last int) error {
	docs, errs := s.Licences()
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	there := map[string]bool{}
	for _, d := range docs {
		there[d.Signed.ID] = true
	}
	for i := first; i <= last; i++ {
		if !there[k.ids[i]] {
			return fmt.Errorf("licence %d of %d is gone", i, len(k.ids))
		}
	}
	if len(docs) > 17 {
		return fmt.Errorf("%d licences", len(docs))
	}
	return nil
}

// TestLicencesAndMarksSurviveAnyEnd stops, fails and cuts what changes the
// store at each disk step.
func TestLicencesAndMarksSurviveAnyEnd(t *testing.T) {
	k := newKept(t)
	store := func(dir string, disk *durable.Disk) licence.Store {
		return licence.Store{Dir: dir, Disk: disk}
	}
	damaged := func(dir string) error {
		return errors.Join(k.begin(dir),
			os.WriteFile(filepath.Join(dir, "licence", k.ids[0]+".json"), []byte("{"), 0o644),
			os.WriteFile(filepath.Join(dir, "licence/marks", repo+".json"), []byte("{"), 0o644))
	}
	rows := map[string]crashtest.Sweep{
		"an agent's ID is made": {
			Work: func(dir string, disk *durable.Disk) error { _, err := store(dir, disk).MakeAgentID(); return err },
			Check: func(dir string, done bool) error {
				_, err := store(dir, nil).AgentID()
				if errors.Is(err, fs.ErrNotExist) && !done {
					return nil
				}
				return err
			},
		},
		"a licence is added, and the one that ends first goes": {
			Begin: k.begin,
			Work: func(dir string, disk *durable.Disk) error {
				s := store(dir, disk)
				return errors.Join(s.Settle(0, day0), s.Add(k.ids[16], k.data[16]))
			},
			Check: func(dir string, done bool) error {
				if !done {
					return k.have(store(dir, nil), 1, 15)
				}
				left, _ := filepath.Glob(filepath.Join(dir, "licence", "*"))
				if len(left) != 17 { // 16 and the marks
					return fmt.Errorf("%d files: %v", len(left), left)
				}
				return k.have(store(dir, nil), 1, 16)
			},
		},
		"the one update is counted": {
			Begin: k.begin, // it is pending
			Work:  func(dir string, disk *durable.Disk) error { return store(dir, disk).Settle(3, day0) },
			Check: func(dir string, done bool) error {
				m, err := store(dir, nil).Mark(repo)
				if err == nil && m.Used != 3 && (done || m.Pending != 3) {
					err = fmt.Errorf("%+v", m)
				}
				return err
			},
		},
		"damage is put aside": {
			Begin: damaged,
			Work: func(dir string, disk *durable.Disk) error {
				for _, err := range store(dir, disk).Mend() {
					if !strings.Contains(err.Error(), " is damaged: ") {
						return err
					}
				}
				return nil
			},
			Check: func(dir string, done bool) error {
				s := store(dir, nil)
				if m, err := s.Mark(repo); m.Used == 0 || done && err != nil {
					return fmt.Errorf("the mark is free: %+v, %w", m, err)
				}
				if done {
					return k.have(s, 1, 15)
				}
				for i := 1; i < 16; i++ {
					data, err := os.ReadFile(filepath.Join(dir, "licence", k.ids[i]+".json"))
					if err != nil || !bytes.Equal(data, k.data[i]) {
						return fmt.Errorf("licence %d: %w", i, err)
					}
				}
				return nil
			},
		},
	}
	for name, s := range rows {
		t.Run(name, func(t *testing.T) {
			tmp, err := os.MkdirTemp("/dev/shm", "freshet-power-") // syncing costs nothing there
			if err != nil {
				tmp = t.TempDir()
			}
			defer os.RemoveAll(tmp)
			swept, err := s.Run(tmp, crashtest.Random(t))
			if err != nil {
				t.Fatal(err)
			}
			if t.Logf("%+v", swept); swept.Steps < 4 || swept.Clones < 30 {
				t.Errorf("only %+v", swept)
			}
		})
	}
}
