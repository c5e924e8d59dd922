package modules

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// procText is what the kernel says in a small file; "" if it says nothing.
func procText(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	return string(data)
}

// kibOf finds "NAME:  N kB" and gives bytes.
func kibOf(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == name+":" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err == nil
		}
	}
	return 0, false
}

// memAvailable is what the machine can give to a new program, in bytes.
func memAvailable() int64 {
	n, ok := kibOf(procText("/proc/meminfo"), "MemAvailable")
	if !ok {
		return math.MaxInt64
	}
	return n
}

// residentOf is the memory of a process in bytes; 0 if there is none.
func residentOf(pid int) int64 {
	if pid <= 0 {
		return 0
	}
	n, _ := kibOf(procText("/proc/"+strconv.Itoa(pid)+"/status"), "VmRSS")
	return n
}

// cgroupLeft is what the control groups of a process leave to it in bytes, by
// cgroup version 2: cgroups(7). Cache that can be dropped is not counted.
func cgroupLeft(pid int) int64 {
	left := int64(math.MaxInt64)
	for line := range strings.Lines(procText("/proc/" + strconv.Itoa(pid) + "/cgroup")) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for dir := filepath.Clean(group); ; dir = filepath.Dir(dir) {
			left = min(left, groupLeft("/sys/fs/cgroup"+dir))
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	return left
}

func groupLeft(dir string) int64 {
	most, err := strconv.ParseInt(strings.TrimSpace(procText(dir+"/memory.max")), 10, 64)
	if err != nil { // "max", or the root
		return math.MaxInt64
	}
	used, _ := strconv.ParseInt(strings.TrimSpace(procText(dir+"/memory.current")), 10, 64)
	for line := range strings.Lines(procText(dir + "/memory.stat")) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "inactive_file" {
			cache, _ := strconv.ParseInt(f[1], 10, 64)
			used -= cache
		}
	}
	return most - used
}

// clamdProcess is the clamd of this machine, the largest if there are several;
// 0 if there is none.
func clamdProcess() int {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	best, size := 0, int64(-1)
	for _, name := range names {
		if strings.TrimSpace(procText(name)) != "clamd" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if n := residentOf(pid); err == nil && n > size && n > 0 {
			best, size = pid, n
		}
	}
	return best
}

// clamdRuns says whether it is worth to connect to clamd's socket. Where
// systemd listens on it, connecting would start clamd; and while the machine
// boots, clamd waits for the agent.
func clamdRuns() bool {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return true
	}
	return clamdProcess() > 0
}
