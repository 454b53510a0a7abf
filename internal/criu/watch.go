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
// changed for so long. go-criu would wait for ever, also for a worker that is
// dead while a child of its holds the socket: CRIU stops one to try the
// hardware breakpoints (kerndat_has_breakpoints).
type watchdog struct {
	pid    int
	socket string // as /proc/PID/fd shows it
	limit  time.Duration
	before func()      // the end, may be nil
	paused atomic.Bool // while we, and not CRIU, are to do something
	ended  atomic.Bool
}

// watch runs until the function that it returns is called.
func (w *watchdog) watch(dir string) (stop func()) {
	if w.pid == 0 {
		return func() {}
	}
	tick := time.Second
	if w.limit > 0 {
		tick = min(tick, w.limit/20)
	}
	done := make(chan struct{})
	go func() {
		last, since := "", time.Now()
		for {
			select {
			case <-done:
				return
			case <-time.After(tick):
			}
			if dead(w.pid) {
				w.end()
			} else if w.limit == 0 {
				continue
			} else if now := fingerprint(dir); now != last || w.paused.Load() {
				last, since = now, time.Now()
			} else if time.Since(since) >= w.limit && !w.ended.Swap(true) {
				if w.before != nil {
					w.before()
				}
				w.end()
			}
		}
	}()
	return func() { close(done) }
}

// end kills the worker and its children, whosever they are now.
func (w *watchdog) end() {
	_ = unix.Kill(w.pid, unix.SIGKILL)
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || to != w.socket {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// dead says whether the process is gone or a zombie.
func dead(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(data), ") Z ")
}

// worker notes who the worker is.
func (w *watchdog) worker(pid int) {
	w.pid = pid
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:") {
			w.socket = to
		}
	}
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
