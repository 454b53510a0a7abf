package criu

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A version is asked for again when the binary or the file's age says so.
func TestVersionIsRemembered(t *testing.T) {
	dir := t.TempDir()
	d := Dumper{Path: filepath.Join(dir, "criu"), Memory: filepath.Join(dir, "memory")}
	binary := func(text string) {
		if err := os.WriteFile(d.Path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary("one")
	first := identity(d.Path)
	if v := d.recall(first); v != 0 {
		t.Errorf("before anything was remembered: %s", v)
	}
	d.remember(first, 40201)
	if v := d.recall(first); v != 40201 {
		t.Errorf("remembered %s", v)
	}
	if v, err := d.Version(); v != 40201 || err != nil { // the binary cannot run
		t.Errorf("got %s, %v", v, err)
	}

	old := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(d.Memory, old, old); err != nil {
		t.Fatal(err)
	}
	if v := d.recall(first); v != 0 {
		t.Errorf("a day later: %s", v)
	}

	d.remember(first, 40201)
	time.Sleep(20 * time.Millisecond) // the kernel's clock of files ticks more slowly
	binary("two")
	if v := d.recall(identity(d.Path)); v != 0 {
		t.Errorf("another binary: %s", v)
	}
	if v := d.recall(identity(filepath.Join(dir, "none"))); v != 0 {
		t.Errorf("no binary: %s", v)
	}
	if err := os.WriteFile(d.Memory, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v := d.recall(first); v != 0 {
		t.Errorf("a torn file: %s", v)
	}
}
