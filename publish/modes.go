package publish

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// tellClosed warns of files and folders that a web server of another user cannot
// read. What is made today is open whatever the umask; what an older version
// made under umask 077, and a folder that somebody else made so, stay as they
// are: to open them is the owner's to decide.
func (r *Repository) tellClosed() {
	closed, first := 0, ""
	note := func(path string, st fs.FileInfo) {
		if st.Mode().Type() == fs.ModeSymlink || !shut(st) {
			return
		}
		if closed++; first == "" {
			first = fmt.Sprintf("%s, mode %04o", path, st.Mode().Perm())
		}
	}
	for _, dir := range []string{".", "metadata", "targets", "targets/bases", "targets/modules", "blobs"} {
		if st, err := os.Stat(r.path(dir)); err == nil {
			note(r.path(dir), st)
		}
		entries, _ := os.ReadDir(r.path(dir)) // one that cannot be read fails where it is needed
		for _, e := range entries {
			st, err := e.Info()
			if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				note(filepath.Join(r.path(dir), e.Name()), st)
			}
		}
	}
	if closed > 0 {
		r.warn("%d files and folders of the repository are closed to a web server (%s): they were made under a umask that shuts out others; "+
			"open them: chmod -R a+rX %s", closed, first, r.Dir)
	}
}

// shut says whether others may not read st. Where the group may, it is one that
// somebody chose for the server, unless it is the publisher's own.
func shut(st fs.FileInfo) bool {
	others, group := fs.FileMode(0o004), fs.FileMode(0o040)
	if st.IsDir() {
		others, group = 0o005, 0o050
	}
	mode, own := st.Mode().Perm(), true
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		own = int(sys.Gid) == os.Getegid()
	}
	return mode&others != others && (own || mode&group != group)
}
