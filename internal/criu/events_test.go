package criu

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLostEvents(t *testing.T) {
	dir := t.TempDir()
	log := "(00.1) fsnotify: id 1\n(00.2) Warn  (criu/fsnotify.c:330): fsnotify: The 0x00000a inotify events will be dropped\n" +
		"(00.3) Warn  (criu/fsnotify.c:540): fsnotify: The 0x00000b fanotify events will be dropped\n"
	if err := os.WriteFile(filepath.Join(dir, LogFile), []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := LostEvents(dir); n != 2 {
		t.Error(n)
	}
	if n := LostEvents(t.TempDir()); n != 0 {
		t.Error(n)
	}
}
