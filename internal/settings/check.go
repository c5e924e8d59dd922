package settings

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Levels are the log levels, the most talkative first.
func Levels() []string { return []string{"debug", "info", "warning", "error"} }

// Signals are the signals that may tell an engine to reload.
func Signals() []string { return []string{"HUP", "USR1", "USR2", "TERM"} }

// Placeholders are what a command's arguments may hold, in braces.
func Placeholders() []string { return []string{"dir", "base", "version", "previous_dir"} }

func absolute(s string) error {
	if !filepath.IsAbs(s) || strings.ContainsRune(s, 0) {
		return fmt.Errorf("%s is no absolute path", quote(s))
	}
	return nil
}

// secretFile is absolute, and does not quote what may be the secret itself.
func secretFile(s string) error {
	if absolute(s) != nil {
		return errors.New("wanted the absolute path of a file of mode 0600 that holds it")
	}
	return nil
}

func deliverTo(s string) error {
	if err := absolute(s); err != nil {
		return err
	}
	if filepath.Clean(s) == "/" {
		return errors.New("files are not delivered into /")
	}
	return nil
}

func sourceURL(s string) error {
	if filepath.IsAbs(s) {
		return absolute(s)
	}
	wanted := "is no http or https URL, and no absolute path of a folder"
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("this " + wanted) // s may hold a password
	}
	shown := quote(u.Redacted())
	switch u.Scheme {
	case "http", "https":
		if u.Hostname() == "" {
			return fmt.Errorf("%s names no host", shown)
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) {
			return fmt.Errorf("%s is no file:///folder", shown)
		}
	default:
		return fmt.Errorf("%s %s", shown, wanted)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s has a query or a fragment, which cannot be extended by a path", shown)
	}
	return nil
}

func proxy(s string) error {
	if s == "system" || s == "none" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("wanted system, none or a URL as http://host:port")
	}
	if u.User != nil {
		return errors.New("credentials go into a file of mode 0600, named by proxy_credentials")
	}
	return nil
}

func baseName(s string) error {
	if !regexp.MustCompile(`^[a-z0-9-]{1,64}$`).MatchString(s) {
		return fmt.Errorf("%s is no name of a base: 1 to 64 of a-z, 0-9 and -", quote(s))
	}
	return nil
}

func account(s string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?$`).MatchString(s) {
		return fmt.Errorf("%s is no name or number of an account", quote(s))
	}
	return nil
}

func logTo(s string) error {
	if s == "journal" || s == "stderr" || absolute(s) == nil {
		return nil
	}
	return fmt.Errorf("%s is not journal, stderr or an absolute path", quote(s))
}

func supportText(s string) error {
	if len(s) > maxSupport {
		return fmt.Errorf("more than %d bytes", maxSupport)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }) {
		return errors.New("control characters are not shown")
	}
	return nil
}

func oneOf(allowed []string) func(string) error {
	return func(s string) error {
		for _, a := range allowed {
			if s == a {
				return nil
			}
		}
		return fmt.Errorf("%s is not one of %s", quote(s), strings.Join(allowed, ", "))
	}
}

// command sets to by a list of arguments. The first is the program, by its
// absolute path: there is no shell and no search.
func (d *decoder) command(to *[]string, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		args := []string{}
		d.list(n, what, func(i int, n *yaml.Node) {
			arg, ok := d.text(n, what)
			if !ok {
				return
			}
			if err := argument(i, arg); err != nil {
				d.problem(n.Line, "%s: %v", what, err)
			}
			args = append(args, arg)
		})
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.problem(n.Line, "%s: wanted a program and its arguments", what)
		}
		*to = args
	}
}

func argument(i int, arg string) error {
	if strings.ContainsRune(arg, 0) {
		return errors.New("an argument holds a zero byte")
	}
	if i == 0 {
		return absolute(arg)
	}
	known := map[string]bool{}
	for _, p := range Placeholders() {
		known[p] = true
	}
	for _, m := range regexp.MustCompile(`\{([a-z_]+)\}`).FindAllStringSubmatch(arg, -1) {
		// Braces may mean something to the program: only what looks like a
		// slip is refused.
		if word := nearest(m[1], known); !known[m[1]] && strings.HasSuffix(word, "meant?") {
			return fmt.Errorf("unknown placeholder {%s}%s", m[1], word)
		}
	}
	return nil
}

// size sets to by a size from least to most.
func (d *decoder) size(to *Bytes, what string, least, most Bytes) func(*yaml.Node) {
	return func(n *yaml.Node) {
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		v, err := ParseBytes(s)
		if err == nil && (v < least || v > most) {
			err = fmt.Errorf("%s is not from %s to %s", quote(s), least, most)
		}
		if err != nil {
			d.problem(n.Line, "%s: %v", what, err)
			return
		}
		*to = v
	}
}
