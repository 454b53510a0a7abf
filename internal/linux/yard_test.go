package linux

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestYard(t *testing.T) {
	v2 := &mountinfo.Info{FSType: "cgroup2", Root: "/", Mountpoint: "/sys/fs/cgroup", VFSOptions: "rw,nsdelegate"}
	unified := &mountinfo.Info{FSType: "cgroup2", Root: "/", Mountpoint: "/sys/fs/cgroup/unified", VFSOptions: "rw"}
	part := &mountinfo.Info{FSType: "cgroup2", Root: "/docker/1", Mountpoint: "/sys/fs/cgroup", VFSOptions: "rw"}
	cpu := &mountinfo.Info{FSType: "cgroup", Root: "/", Mountpoint: "/sys/fs/cgroup/cpu,cpuacct", VFSOptions: "rw,cpu,cpuacct"}
	systemd := &mountinfo.Info{FSType: "cgroup", Root: "/", Mountpoint: "/sys/fs/cgroup/systemd", VFSOptions: "rw,xattr,name=systemd"}
	hybrid := "3:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/c\n"
	for _, test := range []struct {
		name, own string
		mounts    []*mountinfo.Info
		want      map[string]string
	}{
		{"v2", "0::/user.slice\n", []*mountinfo.Info{v2}, map[string]string{"unified": v2.Mountpoint}},
		{"hybrid", hybrid, []*mountinfo.Info{systemd, unified, cpu}, map[string]string{
			"unified": unified.Mountpoint, "cpu,cpuacct": cpu.Mountpoint, "systemd": systemd.Mountpoint,
		}},
		{"one not mounted", hybrid, []*mountinfo.Info{systemd, cpu}, nil},
		{"another controller beside it", "3:cpu,cpuset:/a\n", []*mountinfo.Info{cpu}, nil},
		{"a part", "0::/\n", []*mountinfo.Info{part}, nil},
	} {
		if got := parseCgroups(test.own).yard(test.mounts); !maps.Equal(got, test.want) || (got == nil) != (test.want == nil) {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "unified")
	for _, target := range []string{"/old", "/new", "/new"} {
		if err := link(path, target); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(path); got != target || err != nil {
			t.Errorf("%s, %v", got, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
