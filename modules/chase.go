package modules

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may lead through: path_resolution(7).
const maxLinks = 40

// chase opens a folder by its absolute path, step by step. It goes through
// symbolic links, but refuses to be led by what one user put there to what is
// another's: whoever owns a folder on the way could have the agent write
// wherever root may.
func chase(path string) (*os.File, error) {
	c := &chaser{path: path, fd: -1}
	defer func() { c.leave() }()
	if err := c.root(); err != nil {
		return nil, c.err(err)
	}
	parts := strings.Split(filepath.Clean(path), "/")
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		if part == "" || part == "." {
			continue
		}
		target, err := c.step(part)
		if err != nil {
			return nil, c.err(err)
		}
		if target == "" {
			continue
		}
		if links++; links > maxLinks {
			return nil, c.err(unix.ELOOP)
		}
		if strings.HasPrefix(target, "/") {
			if err := c.root(); err != nil {
				return nil, c.err(err)
			}
		}
		parts = append(strings.Split(target, "/"), parts...)
	}
	fd, err := unix.Openat(c.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, c.err(err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

type chaser struct {
	path  string
	fd    int    // the folder come to; -1 at first
	owner uint32 // of the folder or link come through last
}

// step goes on to what stands at name in the folder. For a link it stays, and
// gives the target.
func (c *chaser) step(name string) (target string, err error) {
	fd, err := unix.Openat(c.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		err = c.pass(st.Uid)
	}
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		c.leave()
		c.fd = fd
		return "", nil
	}
	defer unix.Close(fd)
	if err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", unix.ENOTDIR
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err == nil && n == 0 {
		err = unix.ENOENT
	}
	return string(buf[:max(0, n)]), err
}

// pass notes that the way goes on to what belongs to owner.
func (c *chaser) pass(owner uint32) error {
	from := c.owner
	if c.fd >= 0 && from != 0 && from != uint32(os.Geteuid()) && from != owner {
		return fmt.Errorf("what user %d put there leads to what belongs to user %d, where it must not lead the agent", from, owner)
	}
	c.owner = owner
	return nil
}

// root begins anew at the top.
func (c *chaser) root() error {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		err = c.pass(st.Uid)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	c.leave()
	c.fd = fd
	return nil
}

func (c *chaser) leave() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd = -1
}

func (c *chaser) err(err error) error { return &os.PathError{Op: "open", Path: c.path, Err: err} }
