package docker

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestParseLayers(t *testing.T) {
	const others = "36 35 0:3 / /proc rw - proc proc rw\n37 35 0:9 / /data rw - overlay overlay rw,upperdir=/other,workdir=/w\n"
	for table, want := range map[string]layers{
		"35 1 0:50 / / rw,relatime - overlay overlay rw,lowerdir=l/A:l/B,upperdir=/snapshots/7/fs,workdir=/snapshots/7/work,index=off\n" + others: {upper: "/snapshots/7/fs"},
		"35 1 0:50 / / rw - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/s/fs,workdir=/s/work\n":                                               {upper: "/s/fs", lower: []string{"/l/A", "/l/B"}},
		others: {}, "35 1 8:1 / / rw - ext4 /dev/sda1 rw,upperdir=/x\n": {}, "35 1 0:50 / / ro - overlay overlay ro,lowerdir=a:b\n": {}, "odd": {},
	} {
		if got := parseLayers(strings.NewReader(table), mountinfo.SingleEntryFilter("/")); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q", table, got)
		}
	}
}

func TestInRoot(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "var"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/run", filepath.Join(root, "var/run")); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{"/var/run/x": "/run/x", "/etc/../etc/hosts": "/etc/hosts", "/data/": "/data"} {
		if got := inRoot(root, in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
