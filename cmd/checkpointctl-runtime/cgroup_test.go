package main

import "testing"

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
