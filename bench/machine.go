package main

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func (l *lab) machine() Machine {
	m := Machine{
		Date: time.Now().UTC().Format(time.DateOnly), CPUs: runtime.NumCPU(), CPU: field("/proc/cpuinfo", "model name"),
		Filesystem: said("findmnt", "-n", "-o", "FSTYPE", "-T", l.dir), Versions: map[string]string{},
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMiB = int(info.Totalram * uint64(info.Unit) >> 20)
	}
	for name, text := range map[string]string{
		"checkpointctl": said(l.binary, "--version"), "CRIU": said("criu", "--version"), "runc": said("runc", "--version"),
		"Docker": said("docker", "version", "-f", "{{.Server.Version}}"), "Podman": said("podman", "--version"),
	} {
		line, _, _ := strings.Cut(text, "\n")
		if words := strings.Fields(line); len(words) > 0 {
			m.Versions[name] = words[len(words)-1]
		}
	}
	return m
}

// said is what a command prints; nothing when it fails.
func said(args ...string) string {
	out, _ := exec.Command(args[0], args[1:]...).Output()
	return strings.TrimSpace(string(out))
}

// field is the first value of a key in a file of KEY: VALUE lines.
func field(file, key string) string {
	data, _ := os.ReadFile(file)
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
