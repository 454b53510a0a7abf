package docker

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseCgroup(t *testing.T) {
	for name, test := range map[string]struct {
		text, mode, path string
	}{
		"v1":     {"4:freezer:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n", "v1", "/docker/x"},
		"hybrid": {"4:cpu,freezer:/docker/x\n0::/system.slice\n", "hybrid", "/docker/x"},
		"v2":     {"0::/system.slice/docker-x.scope\n", "v2", "/system.slice/docker-x.scope"},
		"colon":  {"0::/a:b\n", "v2", "/a:b"},
		"none":   {"", "v1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			list, mode := parseCgroup(test.text)
			c := Container{Cgroups: list, CgroupMode: mode}
			if mode != test.mode || c.CgroupPath() != test.path {
				t.Errorf("mode %q path %q, want %q %q", mode, c.CgroupPath(), test.mode, test.path)
			}
		})
	}
}

func TestParseUpperDir(t *testing.T) {
	const others = "36 35 0:3 / /proc rw - proc proc rw\n37 35 0:9 / /data rw - overlay overlay rw,upperdir=/other,workdir=/w\n"
	for table, want := range map[string]string{
		"35 1 0:50 / / rw,relatime - overlay overlay rw,lowerdir=l/A:l/B,upperdir=/snapshots/7/fs,workdir=/snapshots/7/work,index=off\n" + others: "/snapshots/7/fs",
		others: "", "35 1 8:1 / / rw - ext4 /dev/sda1 rw,upperdir=/x\n": "", "35 1 0:50 / / ro - overlay overlay ro,lowerdir=a:b\n": "", "odd": "",
	} {
		if got := parseUpperDir(strings.NewReader(table)); got != want {
			t.Errorf("%q: got %q", table, got)
		}
	}
}

func TestHasPeers(t *testing.T) {
	const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	line := func(state string) string {
		return "   0: 0100007F:0CEA 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000     0        0 20 1\n"
	}
	for table, want := range map[string]bool{
		"": false, header: false, header + line("0A"): false, header + line("0A") + line("06") + line("07"): false,
		header + line("0A") + line("01"): true, header + line("08"): true, header + line("02"): true, header + "odd\n": true,
	} {
		if got := hasPeers(table); got != want {
			t.Errorf("%q: got %v", table, got)
		}
	}
}

func TestStripBlock(t *testing.T) {
	block := confBegin + "tcp-established\n" + confEnd
	for name, test := range map[string]struct{ in, want string }{
		"nothing":       {"", ""},
		"the user's":    {"log-level 4\n", "log-level 4\n"},
		"ours":          {block, ""},
		"between":       {"a\n" + block + "b\n", "a\nb\n"},
		"torn, no end":  {"a\n" + confBegin + "tcp-est", "a\n"},
		"no last break": {"a", "a"},
	} {
		if got := stripBlock(test.in); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestLinkClimbsPastTheRoot(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "pages-1.img")
	if err := os.WriteFile(src, []byte("pages"), 0o600); err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(dir, "a/b/c")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(deep, "pages-1.img")
	if err := link(src, dst); err != nil {
		t.Fatal(err)
	}
	if to, _ := os.Readlink(dst); filepath.IsAbs(to) {
		t.Errorf("absolute link %s", to)
	}
	if data, err := os.ReadFile(dst); err != nil || string(data) != "pages" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestStage(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	for _, name := range []string{"core-1.img", "pages-1.img", "descriptors.json", "container.json", "dump.log", "stats-dump"} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := stage(RestoreRequest{ImageDir: src, Within: src}, dst, link); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{} // name: is a link
	entries, _ := os.ReadDir(dst)
	for _, e := range entries {
		got[e.Name()] = e.Type()&os.ModeSymlink != 0
	}
	want := map[string]bool{"core-1.img": false, "pages-1.img": true, "descriptors.json": false}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
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

func TestRestoreBroken(t *testing.T) {
	for version, want := range map[string]bool{"20.10.24+dfsg1": false, "26.0.0": true, "26.1.5": false, "27.5.1": false, "28.0.0": true, "29.1.0": true, "dev": false} {
		if got := RestoreBroken(version); got != want {
			t.Errorf("%s: got %v", version, got)
		}
	}
}
