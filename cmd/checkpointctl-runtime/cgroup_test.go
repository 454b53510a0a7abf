package main

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestCgroupPath(t *testing.T) {
	for _, test := range []struct {
		path    string
		systemd bool
		want    string
	}{
		{"/docker/1", false, "/docker/1"},
		{"/parent/child/1", false, "/parent/child/1"},
		{"docker/1", false, ""},
		{"system.slice:docker:1", true, "/system.slice/docker-1.scope"},
		{":docker:1", true, "/system.slice/docker-1.scope"},
		{"a-b-c.slice:docker:1", true, "/a.slice/a-b.slice/a-b-c.slice/docker-1.scope"},
		{"-.slice:docker:1", true, "/docker-1.scope"},
		{"system.slice::1", true, "/system.slice/1.scope"},
		{"user.slice:docker:mine.slice", true, "/user.slice/mine.slice"},
		{"/docker/1", true, ""},
		{"system.slice:docker:", true, ""},
	} {
		got, err := cgroupPath(test.path, test.systemd)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %q, %v", test.path, got, err)
		}
	}
}

func TestShownCgroups(t *testing.T) {
	var s cgroupSpec
	if err := json.Unmarshal([]byte(`{"mounts": [
		{"destination": "/proc", "type": "proc"}, {"destination": "/sys/fs/cgroup", "type": "cgroup"}], "linux": {"cgroupsPath": "/docker/1"}}`), &s); err != nil {
		t.Fatal(err)
	}
	got := s.shown([]*mountinfo.Info{
		{Root: "/", Mountpoint: "/sys/fs/cgroup/cpu,cpuacct", VFSOptions: "rw,cpu,cpuacct"},
		{Root: "/", Mountpoint: "/sys/fs/cgroup/systemd", VFSOptions: "rw,xattr,name=systemd"},
		{Root: "/", Mountpoint: "/sys/fs/cgroup/other", VFSOptions: "rw,name=other"},      // runc makes nothing there
		{Root: "/docker/2", Mountpoint: "/mnt/sys/fs/cgroup/pids", VFSOptions: "rw,pids"}, // of some container
	}, s.Linux.CgroupsPath)
	want := map[string]string{
		"/sys/fs/cgroup/cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct/docker/1",
		"/sys/fs/cgroup/systemd":     "/sys/fs/cgroup/systemd/docker/1",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := (cgroupSpec{}).shown([]*mountinfo.Info{{Root: "/", Mountpoint: "/sys/fs/cgroup/pids", VFSOptions: "rw,pids"}}, "/docker/1"); len(got) != 0 {
		t.Errorf("a container without cgroups mounted is shown %v", got)
	}
}
