package restore

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func TestHostGives(t *testing.T) {
	ring := func(requests int, bytes int64) criuimg.HostNeeds {
		return criuimg.HostNeeds{Rings: []criuimg.Ring{{Requests: requests, Bytes: bytes}}}
	}
	pages := func(n int64) criuimg.HostNeeds { return criuimg.HostNeeds{HugePages: map[int64]int64{2 << 20: n}} }
	for name, test := range map[string]struct {
		needs criuimg.HostNeeds
		cpus  int
		why   string // empty for nothing
	}{
		"nothing":         {criuimg.HostNeeds{}, 2, ""},
		"ring":            {ring(62, 4096), 2, ""},
		"ring, more CPUs": {ring(62, 4096), 32, "a kernel for 32 CPUs, as this one is, makes one of 12KiB"},
		"large ring":      {ring(190, 16384), 32, "a ring for asynchronous I/O (io_setup) of 16KiB"},
		"huge pages":      {pages(4), 2, ""},
		"too few of them": {pages(5), 2, "needs 5 huge pages of 2MiB, and 4 are free here"},
		"of another size": {criuimg.HostNeeds{HugePages: map[int64]int64{1 << 30: 1}}, 2, "needs 1 huge pages of 1GiB, and 0 are free"},
	} {
		why := hostGives(test.needs, test.cpus, func(size int64) int64 {
			if size == 2<<20 {
				return 4
			}
			return 0
		})
		if (why == "") != (test.why == "") || !strings.Contains(why, test.why) {
			t.Errorf("%s: %q, want %q", name, why, test.why)
		}
	}
}

func TestPrivateHere(t *testing.T) {
	mounts := []metadata.Mount{{Path: "/sys/fs/cgroup/cpu,cpuacct", FSType: "cgroup"}, {Path: "/sys/fs/cgroup/systemd", FSType: "cgroup"}, {Path: "/data", FSType: "ext4"}}
	cpu := &mountinfo.Info{FSType: "cgroup", Mountpoint: "/c/cpu", VFSOptions: "rw,cpu,cpuacct"}
	systemd := &mountinfo.Info{FSType: "cgroup", Mountpoint: "/c/systemd", VFSOptions: "rw,xattr,name=systemd", Optional: "shared:7"}
	for name, test := range map[string]struct {
		slave string
		mount *mountinfo.Info
		why   string
	}{
		"private":            {"/sys/fs/cgroup/cpu,cpuacct", cpu, "mount --make-rshared /c)"},
		"shared":             {"/sys/fs/cgroup/systemd", systemd, ""},
		"of another mount":   {"/data", cpu, ""},
		"not mounted at all": {"/sys/fs/cgroup/systemd", cpu, ""},
	} {
		got := privateHere(mounts, map[string]bool{test.slave: true}, []*mountinfo.Info{test.mount})
		if (got == "") != (test.why == "") || !strings.Contains(got, test.why) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// The size is what the kernel here makes.
func TestRingSize(t *testing.T) {
	cpus, err := linux.PossibleCPUs()
	if err != nil {
		t.Fatal(err)
	}
	for _, requests := range []int{1, 62, 63, 128, 1000} {
		var ring uintptr
		if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, uintptr(requests), uintptr(unsafe.Pointer(&ring)), 0); errno != 0 {
			t.Skip("no asynchronous I/O here:", errno)
		}
		got := sizeAt(t, ring)
		_, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, ring, 0, 0)
		if want := ringSize(requests, cpus); got != want {
			t.Errorf("%d requests: the kernel makes %d bytes, want %d", requests, got, want)
		}
	}
}

// sizeAt is the size of the mapping that begins at an address.
func sizeAt(t *testing.T, start uintptr) int64 {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err == nil && from == start {
			return int64(to - from)
		}
	}
	t.Fatalf("nothing is mapped at %x", start)
	return 0
}
