package criu

import "testing"

func TestLostEvents(t *testing.T) {
	dir := write(t, map[string][]byte{LogFile: []byte("(00.1) fsnotify: id 1\n(00.2) Warn  (criu/fsnotify.c:330): fsnotify: The 0x00000a inotify events will be dropped\n" +
		"(00.3) Warn  (criu/fsnotify.c:540): fsnotify: The 0x00000b fanotify events will be dropped\n")})
	if n := LostEvents(dir); n != 2 {
		t.Error(n)
	}
	if n := LostEvents(t.TempDir()); n != 0 {
		t.Error(n)
	}
}
