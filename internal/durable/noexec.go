package durable

import "golang.org/x/sys/unix"

// NoExec says whether path is on a file system that is mounted noexec: no
// program is started from there, whatever its mode. What cannot be found out is
// not said.
func NoExec(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.ST_NOEXEC != 0
}
