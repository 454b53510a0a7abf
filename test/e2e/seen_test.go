//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
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
	for _, file := range []string{"cgroup", "limits", "oom_score_adj", "coredump_filter", "timerslack_ns", "environ", "cmdline"} {
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

// CRIU restores none of these.
func TestTuningComesBack(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "sh", "-c", counting)
	at, pid := b.await(8), b.inspect().State.Pid
	var cpu unix.CPUSet
	cpu.Set(1)
	if err := unix.SchedSetaffinity(pid, &cpu); err != nil {
		t.Fatal(err)
	}
	for file, value := range map[string]string{"timerslack_ns": "123456", "coredump_filter": "0x7f", "oom_score_adj": "300"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, file), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	seen := b.seen()
	if seen["Cpus_allowed_list"] != "1" {
		t.Fatalf("bound to %s", seen["Cpus_allowed_list"])
	}
	b.checkpoint("--leave-running=false")
	b.restore()
	b.goesOn(at)
	b.sees(seen)
	// Without that processor it runs where it may, and that is said.
	b.checkpoint("--leave-running=false")
	docker(t, "update", "--cpuset-cpus", "0", b.name)
	if r := b.must(0, "restore", b.name); !strings.Contains(r.stderr, `thread 1 does not get back its CPUs "1"`) {
		t.Errorf("stderr: %s", r.stderr)
	}
	if now := b.seen()["Cpus_allowed_list"]; now != "0" {
		t.Errorf("it may run on %s", now)
	}
}
