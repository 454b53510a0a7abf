//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// seen is what the first process is told of itself and of what is around it, by names. A
// restore brings all of it back.
func (b *box) seen() map[string]string {
	b.t.Helper()
	pid := b.inspect().State.Pid
	read := func(file string) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			b.t.Fatal(err)
		}
		return string(data)
	}
	seen := map[string]string{}
	for _, file := range []string{"cgroup", "limits", "oom_score_adj", "environ", "cmdline"} {
		seen[file] = read(file)
	}
	for line := range strings.Lines(read("status")) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Cpus_allowed_list":
			seen[name] = strings.TrimSpace(value)
		}
	}
	list, err := mountinfo.GetMountsFromReader(strings.NewReader(read("mountinfo")), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range list {
		if m.Root != "/null" { // the host's or the container's own
			seen["mount "+m.Mountpoint] = m.Root + " " + m.Options
		}
	}
	return seen
}

// sees fails for what the first process is told otherwise than before.
func (b *box) sees(before map[string]string) {
	b.t.Helper()
	now := b.seen()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if now[name] != before[name] {
			b.t.Errorf("%s was %q and is %q", name, before[name], now[name])
		}
	}
	for name := range now {
		if _, was := before[name]; !was {
			b.t.Errorf("%s is new: %q", name, now[name])
		}
	}
}
