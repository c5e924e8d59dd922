package licence_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/licence"
	"github.com/freshet/freshet/rollback"
)

func TestAMarkIsUsedOnceItsGenerationIsGoodAndFreeOtherwise(t *testing.T) {
	ok := func(s rollback.State, err error) rollback.State {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	start := rollback.State{Format: 1, Current: 4, Good: 4, Previous: 3, Last: 5}
	trial := ok(start.Switch(5))
	undone := trial.Confirm()
	undone.Last++
	undone = ok(undone.Switch(6)).Confirm() // an operator's rollback is a generation of its own
	for _, row := range []struct {
		name  string
		state rollback.State
		used  bool
	}{
		{"killed before the switch", start, false},
		{"killed on trial", trial, false},
		{"killed on trial, and started again", trial.BadEnd().Suspend(), false},
		{"reverted", trial.Revert(rollback.Withdrawn{Base: "b", Version: 2}), false},
		{"confirmed", trial.Confirm(), true},
		{"confirmed, and rolled back by hand before it was settled", undone, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, err := licence.Mark{Format: 1}.Spend(5, day0)
			if err != nil {
				t.Fatal(err)
			}
			m = m.Settle(row.state.Good)
			if (m.Used > 0) != row.used || m.Pending != 0 {
				t.Errorf("%+v", m)
			}
			again := m.Settle(row.state.Good).Settle(0).Settle(99)
			if again != m {
				t.Errorf("once settled it changed to %+v", again)
			}
			if _, err := m.Spend(7, day0); (err != nil) != row.used {
				t.Errorf("spending again: %v", err)
			}
		})
	}
}

func TestAMarkThatIsStoppedAnywhereIsTheOldOrTheNew(t *testing.T) {
	spent, _ := licence.Mark{Format: 1}.Spend(3, day0)
	for n := 1; ; n++ {
		steps := 0
		s := licence.Store{Dir: t.TempDir(), Disk: &durable.Disk{Step: func(op, path string) error {
			if steps++; steps >= n {
				return errors.New("stopped")
			}
			return nil
		}}}
		err := s.SaveMark(repo, spent)
		s.Disk = nil
		m, rerr := s.Mark(repo)
		if rerr != nil || m.Pending != 0 && m.Pending != 3 {
			t.Fatalf("step %d: %+v, %v", n, m, rerr)
		}
		if err == nil {
			if m != spent {
				t.Fatalf("saved, and read as %+v", m)
			}
			return
		}
	}
}

func TestMarksOfAllRepositoriesAreSettled(t *testing.T) {
	s := licence.Store{Dir: t.TempDir()}
	other := strings.Repeat("f", 16)
	for r, n := range map[string]int{repo: 3, other: 5} {
		m, _ := licence.Mark{Format: 1}.Spend(n, day0)
		if err := s.SaveMark(r, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Settle(4, day0); err != nil {
		t.Fatal(err)
	}
	for r, want := range map[string]int{repo: 3, other: 0} {
		if m, err := s.Mark(r); err != nil || m.Used != want || m.Pending != 0 {
			t.Errorf("%s: %+v, %v", r, m, err)
		}
	}
}

func TestADamagedMarkCountsAsUsed(t *testing.T) {
	used := licence.Store{Dir: t.TempDir()}
	if err := used.SaveMark(repo, licence.Mark{Format: 1, Used: 1}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(used.Dir, "licence/marks", repo+".json"))
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"", "{", `{"format":2}`, `{"format":1,"used":-1}`, strings.Repeat(" ", licence.MaxSize+1)}
	for i := range len(whole) - 1 {
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 1 << bit
			texts = append(texts, string(flipped))
		}
	}
	for _, text := range texts {
		s := used
		path := filepath.Join(s.Dir, "licence/marks", repo+".json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := s.Mark(repo)
		if m.Used == 0 {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
		if err := s.Settle(9, day0); err != nil {
			t.Error(err)
		}
	}
}

func TestLicencesAreKeptAndTheOldestGoFirst(t *testing.T) {
	s := licence.Store{Dir: t.TempDir()}
	for i := range 20 {
		l := grant(t, func(l *licence.Licence) { l.Until = day0.Add(time.Duration(i+1) * time.Hour) })
		if err := s.Add(l.ID, sign(t, 1, l)); err != nil {
			t.Fatal(err)
		}
	}
	docs, errs := s.Licences()
	if len(docs) != 16 || len(errs) != 0 {
		t.Errorf("%d kept, %v", len(docs), errs)
	}
	for _, d := range docs {
		if d.Signed.Until.Before(day0.Add(5 * time.Hour)) {
			t.Errorf("kept the one until %s", d.Signed.Until)
		}
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "licence", strings.Repeat("0", 32)+".json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if docs, errs = s.Licences(); len(docs) != 16 || len(errs) != 1 {
		t.Errorf("beside a damaged one: %d, %v", len(docs), errs)
	}
}

func TestAnAgentIDIsMadeOnce(t *testing.T) {
	s := licence.Store{Dir: t.TempDir()}
	if _, err := s.AgentID(); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("before: %v", err)
	}
	given := func() string {
		t.Helper()
		if _, err := s.MakeAgentID(); err != nil {
			t.Fatal(err)
		}
		id, err := s.AgentID()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	id := given()
	if given() != id {
		t.Error("it was made again")
	}
	path := filepath.Join(s.Dir, "agent-id")
	if err := os.WriteFile(path, bytes.Repeat([]byte{0}, 33), 0o644); err != nil {
		t.Fatal(err)
	}
	if damaged, err := s.MakeAgentID(); damaged == nil || err != nil {
		t.Errorf("over a damaged one: %v, %v", damaged, err)
	}
	if now, err := s.AgentID(); err != nil || now == id {
		t.Errorf("%q, %v", now, err)
	}
	os.Remove(path)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if damaged, err := s.MakeAgentID(); damaged == nil || err != nil {
		t.Errorf("over a folder in its place: %v, %v", damaged, err)
	}
	given()
}

func TestAMarkOfANewerFormatIsUsedAndLeftAsItIs(t *testing.T) {
	s := licence.Store{Dir: t.TempDir()}
	path := filepath.Join(s.Dir, "licence/marks", repo+".json")
	mark := `{"format":2,"min_version":"3.1.0","left":1}`
	data := []byte(fmt.Sprintf(`{"sha256":"%x","mark":%s}`, sha256.Sum256([]byte(mark)), mark))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	m, err := s.Mark(repo)
	if !errors.As(err, new(*durable.NewerError)) || m.Used == 0 || !strings.Contains(err.Error(), "3.1.0") {
		t.Errorf("%+v, %v", m, err)
	}
	s.Mend()
	if err := s.SaveMark(repo, licence.Mark{Format: 1}); !errors.As(err, new(*durable.NewerError)) {
		t.Errorf("saving over it: %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, data) {
		t.Errorf("it was changed to %s, %v", now, err)
	}
}
