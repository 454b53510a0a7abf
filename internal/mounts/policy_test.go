package mounts

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the goldens anew")

func set(paths ...string) map[string]bool {
	m := map[string]bool{}
	for _, p := range paths {
		m[p] = true
	}
	return m
}

var managed = []string{"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}

// Each testdata/NAME.mountinfo was read from a container; NAME.plan is what is
// decided on it.
func TestPlanOfRealContainers(t *testing.T) {
	for name, facts := range map[string]Facts{
		"v1": {
			Binds: set(append(managed, "/data", "/data/sub")...),
			Own:   set("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm", "/tmp"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan := Policy{}.Plan(load(t, name), facts)
			var b strings.Builder
			for _, i := range plan.Items {
				fmt.Fprintf(&b, "%s %s %s", i.Action, i.Mount.FSType, i.Mount.Path)
				if i.Action == External {
					fmt.Fprintf(&b, " [%s]:%s", i.Key, i.Value)
				}
				fmt.Fprintf(&b, " (%s)\n", i.Reason)
			}
			golden := filepath.Join("testdata", name+".plan")
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
			}
		})
	}
}

func load(t *testing.T, name string) []Mount {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".mountinfo"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestDecide(t *testing.T) {
	facts := Facts{
		Binds: set("/data", "/dev/kmsg", "/run/null"),
		Own:   set("/proc", "/data/scratch"),
	}
	for name, test := range map[string]struct {
		m    Mount
		want Action
		key  string
		val  string
	}{
		"root":                  {Mount{Path: "/", FSType: "overlay"}, Dump, "", ""},
		"bind":                  {Mount{Path: "/data", FSType: "ext4", Root: "/srv"}, External, "/data", "/data"},
		"bind of a tmpfs":       {Mount{Path: "/data", FSType: "tmpfs", Root: "/"}, External, "/data", "/data"},
		"masked by devtmpfs":    {Mount{Path: "/proc/keys", FSType: "devtmpfs", Root: "/null"}, External, "/proc/keys", "/dev/null"},
		"masked by tmpfs":       {Mount{Path: "/proc/keys", FSType: "tmpfs", Root: "/null"}, External, "/proc/keys", "/dev/null"},
		"bind of /dev/null":     {Mount{Path: "/run/null", FSType: "devtmpfs", Root: "/null"}, External, "/run/null", "/run/null"},
		"device node":           {Mount{Path: "/dev/extra", FSType: "devtmpfs", Root: "/sda"}, External, "/dev/extra", "/dev/extra"},
		"cgroup v1":             {Mount{Path: "/sys/fs/cgroup/cpu", FSType: "cgroup", Root: "/docker/x"}, External, "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu"},
		"cgroup v2":             {Mount{Path: "/sys/fs/cgroup", FSType: "cgroup2", Root: "/"}, Dump, "", ""},
		"host's below a bind":   {Mount{Path: "/data/below", FSType: "tmpfs", Root: "/"}, Refuse, "", ""},
		"runtime's below one":   {Mount{Path: "/data/scratch", FSType: "tmpfs", Root: "/"}, Dump, "", ""},
		"mounted in it":         {Mount{Path: "/mnt", FSType: "ext4", Root: "/"}, Refuse, "", ""},
		"fuse":                  {Mount{Path: "/mnt", FSType: "fuse.sshfs", Root: "/"}, Refuse, "", ""},
		"name like a bind's":    {Mount{Path: "/database", FSType: "tmpfs", Root: "/"}, Dump, "", ""},
		"subdirectory of tmpfs": {Mount{Path: "/opt", FSType: "tmpfs", Root: "/sub"}, Dump, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Policy{}.Plan([]Mount{test.m}, facts).Items[0]
			if got.Action != test.want || got.Key != test.key || got.Value != test.val || got.Reason == "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRules(t *testing.T) {
	p := Policy{Rules: []Rule{
		{Path: "/mnt/*", Type: "fuse.sshfs", Action: External},
		{Path: "/mnt/*", Action: Dump},
		{Type: "tmpfs", Action: Refuse},
		{Action: Dump}, // matches nothing
	}}
	for _, test := range []struct {
		m    Mount
		want Action
	}{
		{Mount{Path: "/mnt/a", FSType: "fuse.sshfs"}, External},
		{Mount{Path: "/mnt/a", FSType: "ext4"}, Dump},
		{Mount{Path: "/mnt/a/b", FSType: "ext4"}, Refuse}, // * is one element
		{Mount{Path: "/tmp", FSType: "tmpfs"}, Refuse},
		{Mount{Path: "/x", FSType: "xfs"}, Refuse},
	} {
		plan := p.Plan([]Mount{test.m}, Facts{})
		if got := plan.Items[0]; got.Action != test.want {
			t.Errorf("%s %s: got %s (%s)", test.m.Path, test.m.FSType, got.Action, got.Reason)
		}
	}
}

func TestRefusedIsShort(t *testing.T) {
	list := []Mount{{Path: "/", FSType: "overlay"}}
	for i := range 80 {
		list = append(list, Mount{Path: fmt.Sprint("/data", i), FSType: "xfs"})
	}
	err := Policy{}.Plan(list, Facts{}).Refused()
	var refused *RefusedError
	if !errors.As(err, &refused) || len(refused.Items) != 80 {
		t.Fatalf("got %v", err)
	}
	text := err.Error()
	if !strings.Contains(text, "/data2 (xfs)") || strings.Contains(text, "/data3 ") || !strings.HasSuffix(text, "; and 77 more, see checkpointctl inspect") {
		t.Error(text)
	}
}

func TestRefusedNamesEveryMount(t *testing.T) {
	list := []Mount{{Path: "/", FSType: "overlay"}, {Path: "/a", FSType: "xfs"}, {Path: "/b", FSType: "nfs4"}}
	err := Policy{}.Plan(list, Facts{}).Refused()
	var refused *RefusedError
	if !errors.As(err, &refused) || len(refused.Items) != 2 {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"/a (xfs)", "/b (nfs4)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %s", want, err)
		}
	}
	if err := (Policy{}).Plan(list[:1], Facts{}).Refused(); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	list, err := Parse(strings.NewReader("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"))
	want := []Mount{{ID: 36, Parent: 35, Root: "/mnt1", Path: "/mnt 2", FSType: "ext3", Source: "/dev/root", Options: "rw,noatime", Master: 1}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v, %v", list, err)
	}
	for _, bad := range []string{"x\n", "36 35 98:0 /mnt1 /mnt2 rw,noatime\n"} {
		if _, err := Parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// Whatever the table says: one decision a mount, in order, each with a
// reason; a key just for external ones; and nothing vanishes from CRIU's map.
func FuzzPlan(f *testing.F) {
	for _, name := range []string{"v1"} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".mountinfo"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "/data\n/etc/hosts")
	}
	f.Add("36 35 98:0 / /a\\040b rw - tmpfs tmpfs rw\n", "/")
	f.Fuzz(func(t *testing.T, table, binds string) {
		list, err := Parse(strings.NewReader(table))
		if err != nil {
			return
		}
		plan := Policy{}.Plan(list, Facts{Binds: set(strings.Split(binds, "\n")...)})
		if len(plan.Items) != len(list) {
			t.Fatalf("%d decisions on %d mounts", len(plan.Items), len(list))
		}
		external := plan.External()
		for n, i := range plan.Items {
			if i.Mount != list[n] || i.Reason == "" || !slices.Contains([]Action{Dump, External, Refuse}, i.Action) {
				t.Errorf("decision %+v on %+v", i, list[n])
			}
			if (i.Action == External) != (i.Key != "") {
				t.Errorf("key %q of %+v", i.Key, i)
			}
			if i.Action == External && external[i.Mount.Path] == "" {
				t.Errorf("%s is external, but CRIU is not told", i.Mount.Path)
			}
		}
	})
}
