//go:build system

package systemtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// suite is the Debian that the service is tried on.
const suite = "bookworm"

// debian is a minimal Debian with systemd in the cache folder, made by
// debootstrap the first time.
func debian(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("FRESHET_SYSTEM_CACHE")
	if cache == "" {
		cache = "/var/cache/freshet-system"
	}
	done := filepath.Join(cache, suite)
	if _, err := os.Stat(done); err == nil {
		return done
	}
	debootstrap := needsProgram(t, "debootstrap", "debootstrap")
	mirror := debianMirror()
	if mirror == "" {
		missing(t, "a Debian mirror: none is named in /etc/apt/sources.list*")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	part := done + ".part"
	if err := os.RemoveAll(part); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(debootstrap, "--variant=minbase", "--include=systemd,systemd-sysv,dbus", suite, part, mirror)
	c.Env = append(os.Environ(), aptProxy()...)
	if out, err := c.CombinedOutput(); err != nil {
		missing(t, "a Debian system: debootstrap: %v\n%s", err, tail(string(out)))
	}
	if err := os.Rename(part, done); err != nil {
		t.Fatal(err)
	}
	return done
}

// debianWith is the same with packages installed, kept beside it.
func debianWith(t *testing.T, name string, packages ...string) string {
	t.Helper()
	base := debian(t)
	done := base + "-" + name
	if _, err := os.Stat(done); err == nil {
		return done
	}
	part := done + ".part"
	if err := os.RemoveAll(part); err != nil {
		t.Fatal(err)
	}
	sh(t, "cp", "-a", "--reflink=auto", base, part)
	// A service that its package starts would run on the host.
	write(t, filepath.Join(part, "usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n")
	sh(t, "chmod", "755", filepath.Join(part, "usr/sbin/policy-rc.d"))
	get := []string{part, "apt-get", "-q", "-y", "--no-install-recommends"}
	for _, proxy := range aptProxy() {
		get = append(get, "-o", "Acquire::http::Proxy="+strings.TrimPrefix(proxy, "http_proxy="))
	}
	for _, args := range [][]string{{"update"}, append([]string{"install"}, packages...)} {
		c := exec.Command("chroot", append(get, args...)...)
		c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
		if out, err := c.CombinedOutput(); err != nil {
			missing(t, "packages for a Debian system: apt-get: %v\n%s", err, tail(string(out)))
		}
	}
	if err := os.Remove(filepath.Join(part, "usr/sbin/policy-rc.d")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, done); err != nil {
		t.Fatal(err)
	}
	return done
}

// debianMirror is the first mirror of Debian itself that apt uses here.
func debianMirror() string {
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*")
	for _, file := range append([]string{"/etc/apt/sources.list"}, files...) {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) == 0 || f[0] != "deb" && f[0] != "URIs:" {
				continue
			}
			for _, word := range f[1:] {
				if strings.HasSuffix(strings.TrimSuffix(word, "/"), "/debian") {
					return word
				}
			}
		}
	}
	return ""
}

// aptProxy is apt's proxy as debootstrap takes it.
func aptProxy() []string {
	out, err := exec.Command("apt-config", "shell", "P", "Acquire::http::Proxy").Output()
	if err != nil {
		return nil
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	if value = strings.Trim(value, "'"); value == "" || value == "DIRECT" {
		return nil
	}
	return []string{"http_proxy=" + value}
}
