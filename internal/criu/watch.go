package criu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHung is a CRIU that was ended because it got no further.
var ErrHung = errors.New("CRIU got no further")

// watchdog ends a worker whose image directory, where the log is too, has not
// changed for so long. go-criu would wait for ever.
type watchdog struct {
	pid    int
	limit  time.Duration
	paused atomic.Bool // while we, and not CRIU, are to do something
	ended  atomic.Bool
}

// watch runs until the function that it returns is called.
func (w *watchdog) watch(dir string) (stop func()) {
	if w.limit <= 0 || w.pid == 0 {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		last, since := "", time.Now()
		for {
			select {
			case <-done:
				return
			case <-time.After(w.limit / 20):
			}
			if now := fingerprint(dir); now != last || w.paused.Load() {
				last, since = now, time.Now()
			} else if time.Since(since) >= w.limit {
				w.ended.Store(true)
				_ = unix.Kill(w.pid, unix.SIGKILL)
				return
			}
		}
	}()
	return func() { close(done) }
}

// err is why the worker was ended, or nil.
func (w *watchdog) err() error {
	if !w.ended.Load() {
		return nil
	}
	return fmt.Errorf("%w for %s and was ended", ErrHung, w.limit)
}

// fingerprint changes with every file that grows or shrinks.
func fingerprint(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return b.String()
}

// newChild returns what lists the child that this thread has started since:
// go-criu does not tell its worker's pid. Zero where the kernel lists none
// (CONFIG_PROC_CHILDREN).
func newChild() func() int {
	list := func() []string {
		data, _ := os.ReadFile("/proc/thread-self/children")
		return strings.Fields(string(data))
	}
	before := list()
	return func() int {
		for _, pid := range list() {
			if !slices.Contains(before, pid) {
				n, _ := strconv.Atoi(pid)
				return n
			}
		}
		return 0
	}
}
