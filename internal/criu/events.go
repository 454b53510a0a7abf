package criu

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
)

// LostEvents returns how many inotify and fanotify descriptors had events that
// nobody had read: CRIU leaves them out, and says so in its log only
// (dump_one_inotify and dump_one_fanotify in criu/fsnotify.c). A log that cannot be
// read, or of a level below 2, has none.
func LostEvents(dir string) (n int) {
	f, err := os.Open(filepath.Join(dir, LogFile))
	if err != nil {
		return 0
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if bytes.Contains(sc.Bytes(), []byte("notify events will be dropped")) {
			n++
		}
	}
	return n
}
