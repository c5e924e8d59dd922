// Command demo shows Freshet at work: a publisher, a web server and an agent,
// in a temporary folder and without root, through the commands that a user
// gives. `make demo` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	bin := flag.String("bin", "bin", "folder with freshet and freshet-publish")
	keep := flag.Bool("keep", false, "keep the folder, to look around")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := demo(ctx, *bin, *keep); err != nil {
		fmt.Fprintf(os.Stderr, "demo: error: %v\n", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, bin string, keep bool) (err error) {
	s, err := newStage(ctx, bin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(keep)) }()
	for _, act := range []func() error{
		s.makeRepository, s.startAgent, s.firstUpdate, s.secondVersion, s.thirdVersion, s.hostileMirror, s.rollBack,
	} {
		if err := act(); err != nil {
			return err
		}
	}
	s.say("That was Freshet. Next: README.md says how to install, operate and publish.")
	return nil
}

func (s *stage) makeRepository() error {
	s.say("1. A publisher makes a signed repository, which is empty so far.")
	return s.publisher("init", s.repo, "--keys", filepath.Join(s.dir, "keys"))
}

func (s *stage) startAgent() error {
	s.say("2. Any web server serves the folder, and an agent is pointed at it.")
	url, err := s.serve(s.repo)
	if err != nil {
		return err
	}
	s.url = url
	if err := s.settings(url); err != nil {
		return err
	}
	return errors.Join(s.agent(), s.freshet("status"))
}

func (s *stage) firstUpdate() error {
	s.say("3. A list of %d records is published, as of eight days ago. The first update fetches it whole; it is old, and the agent says so.", records)
	s.list = newList(records)
	return errors.Join(s.publish(8*24*time.Hour), s.freshet("update"), s.freshet("status"))
}

func (s *stage) secondVersion() error {
	s.say("4. A second version appears, four days ago: 40 records left, 60 came. The agent fetches the difference.")
	s.list = s.list.change(40, 60)
	return errors.Join(s.publish(4*24*time.Hour), s.freshet("update", "--dry-run"), s.freshet("update"))
}

func (s *stage) thirdVersion() error {
	s.say("5. The third version is of this minute: up to date.")
	s.list = s.list.change(30, 50)
	return errors.Join(s.publish(0), s.freshet("update"), s.freshet("status"))
}

func (s *stage) hostileMirror() error {
	s.say("6. An attacker sets up a mirror with a version 4 of his own, and the agent is made to ask that first.")
	evil := filepath.Join(s.dir, "evil")
	if err := s.quietly("init", evil, "--keys", filepath.Join(s.dir, "evil-keys")); err != nil {
		return err
	}
	for range 4 {
		s.list = s.list.change(30, 50)
		if err := s.publishTo(evil); err != nil {
			return err
		}
	}
	url, err := s.serve(evil)
	if err != nil {
		return err
	}
	if err := s.reload(url, s.url); err != nil {
		return err
	}
	since := time.Now().UTC().Format(time.RFC3339)
	s.say("   It is refused by its signatures; the other source is asked, and the installed list stays in use.")
	if err := errors.Join(s.freshet("update"), s.freshet("events", "--since", since), s.freshet("bases", "verify")); err != nil {
		return err
	}
	s.say("   The operator takes it out of the settings again.")
	return s.reload(s.url)
}

func (s *stage) rollBack() error {
	s.say("7. An operator does not like version 3 and goes back: offline, at once, and kept there until a newer one comes.")
	return errors.Join(
		s.freshet("bases", "rollback", base), s.freshet("update"), s.freshet("bases", "list"),
		s.freshet("bases", "release", base), s.freshet("update"), s.freshet("status"),
	)
}
