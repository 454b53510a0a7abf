//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

// inItsCgroup fails unless the first process is in the container's own cgroup, which
// Docker stops, counts and limits it by.
func (b *box) inItsCgroup() {
	b.t.Helper()
	c := b.inspect()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.State.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, line := range strings.Fields(string(data)) {
		if strings.Contains(line, "docker") && !strings.Contains(line, c.ID) {
			b.t.Errorf("the first process of %s is in %s", c.ID, line)
		}
	}
	if !strings.Contains(string(data), c.ID) {
		b.t.Errorf("the first process of %s is in %s", c.ID, data)
	}
	if top := docker(b.t, "top", b.name, "-o", "pid"); !slices.Contains(strings.Fields(top), strconv.Itoa(c.State.Pid)) {
		b.t.Errorf("docker top knows %s, and not %d", top, c.State.Pid)
	}
}

// cgroup2 is the host's mount of the unified hierarchy.
func cgroup2(t *testing.T) *mountinfo.Info {
	t.Helper()
	list, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no cgroup2 is mounted: %v", err)
	}
	return list[0]
}

// CRIU mounts cgroup2 by itself unless it is told where it is, and all mounts of it
// have their options in common. Not in parallel: others' runc mounts it, too.
func TestCgroup2KeepsItsOptions(t *testing.T) {
	was := cgroup2(t)
	remount := func(options string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,"+options, was.Mountpoint).CombinedOutput(); err != nil {
			t.Fatalf("mount: %s", out)
		}
	}
	t.Cleanup(func() { remount(was.VFSOptions) })
	const options = "nsdelegate,memory_recursiveprot"
	b := start(t, baseImage, "sh", "-c", counting)
	at := b.await(8)
	for _, do := range []func(){func() { b.checkpoint() }, func() { b.checkpoint("--leave-running=false") }, func() { b.restore() }} {
		remount("rw," + options)
		if now := cgroup2(t).VFSOptions; !strings.Contains(now, options) {
			t.Skipf("%s has the options %s: only the host's cgroup namespace can set others", was.Mountpoint, now)
		}
		do()
		if now := cgroup2(t).VFSOptions; !strings.Contains(now, options) {
			t.Errorf("%s has the options %s afterwards", was.Mountpoint, now)
		}
	}
	b.goesOn(at)
	b.inItsCgroup()
}
