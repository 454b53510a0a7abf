package checkpoint

import (
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

type host struct {
	kernel, architecture string
	cpuFeatures          []string
}

func thisHost() host {
	h := host{architecture: runtime.GOARCH}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.kernel = unix.ByteSliceToString(u.Release[:])
	}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		h.cpuFeatures = cpuFeatures(string(data))
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
