package docker

import (
	"os"
	"path/filepath"
	"testing"
)

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
