// Package linux reads what the kernel says of this host and of its processes.
package linux

import (
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is what a checkpoint depends on.
type Host struct {
	Kernel, Architecture string
	CPUFeatures          []string // instructions that programs may have chosen
	CgroupMode           string   // v1, hybrid or v2
}

// ThisHost returns what is known of this host; empty is what cannot be read.
func ThisHost() Host {
	h := Host{Architecture: runtime.GOARCH}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		h.CPUFeatures = cpuFeatures(string(data))
	}
	if c, err := ReadCgroups(os.Getpid()); err == nil {
		h.CgroupMode = c.Mode
	}
	return h
}

// instructions are the prefixes of those x86 flags that a program can see and
// may have chosen code by. The others are the kernel's and change with it.
var instructions = [...]string{
	"abm", "adx", "aes", "amx", "avx", "bmi", "clflushopt", "clwb", "cx16", "erms", "f16c", "fma", "fsgsbase", "fsrm",
	"gfni", "lahf_lm", "lzcnt", "movbe", "movdir", "pclmul", "pku", "popcnt", "rdpid", "rdrand", "rdseed", "rtm", "serialize",
	"sha", "sse", "ssse", "vaes", "vpclmul", "waitpkg", "xsave",
}

// cpuFeatures reads the flags of the first processor of /proc/cpuinfo (arm64
// calls them Features, and all of them are instructions).
func cpuFeatures(cpuinfo string) []string {
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "Features":
			return strings.Fields(value)
		case "flags":
			var out []string
			for _, f := range strings.Fields(value) {
				if slices.ContainsFunc(instructions[:], func(p string) bool { return strings.HasPrefix(f, p) }) {
					out = append(out, f)
				}
			}
			return out
		}
	}
	return nil
}
