package criu

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Each process that is started has its own socket, or none, and nobody else's:
// the end that another holds would hide that the one who should hold it is gone.
func TestNoProcessInheritsTheSocketOfAnother(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "criu")
	script := "#!/bin/sh\nfor f in /proc/$$/fd/*; do readlink $f; done | grep -c socket: >" + dir + "/sockets.$$\nexit 1\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	d := &Dumper{Path: path}
	for range 20 {
		all.Add(2)
		go func() {
			defer all.Done()
			_, _ = d.askVersion()
		}()
	}
	for range 20 {
		go func() {
			defer all.Done()
			if w, err := d.start(context.Background()); err != nil {
				t.Error(err)
			} else {
				_ = w.Cleanup()
			}
		}()
	}
	all.Wait()
	found, _ := filepath.Glob(filepath.Join(dir, "sockets.*"))
	for _, f := range found {
		if data, err := os.ReadFile(f); err != nil || strings.TrimSpace(string(data)) != "1" {
			t.Errorf("%s sockets, %v", strings.TrimSpace(string(data)), err)
		}
	}
	if len(found) != 40 {
		t.Errorf("%d processes", len(found))
	}
}
