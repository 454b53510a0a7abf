package tasks

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFind(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "find") // not deep, and mostly of the root's filesystem
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var st, root unix.Stat_t
	if unix.Stat(file, &st) != nil || unix.Stat("/", &root) != nil {
		t.Fatal("no stat")
	}
	if st.Dev != root.Dev {
		t.Skip("/var/tmp is another filesystem here")
	}
	w := Watch{st.Dev, st.Ino}
	found, complete := Find(t.Context(), os.Getpid(), []Watch{w})
	if found[w] != file || !complete {
		t.Errorf("%v, %v", found, complete)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, complete := Find(ctx, os.Getpid(), []Watch{w}); len(found) != 0 || complete {
		t.Errorf("%v, %v", found, complete)
	}
}
