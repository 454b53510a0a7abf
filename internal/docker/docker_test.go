package docker

import (
	"os"
	"path/filepath"
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
