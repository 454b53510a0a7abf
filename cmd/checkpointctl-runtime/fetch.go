package main

import (
	"fmt"
	"log/syslog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// fetch is a `criu lazy-pages` under way: it brings the memory of a container
// that runs already.
type fetch struct {
	runtime.Fetch
	watcher *runtime.Watcher
	ended   chan struct{} // closed when the daemon has ended
	err     error         // how, after that
	settled chan struct{} // closed when the tasks may have what is held
}

// startFetch starts the daemon and returns when it waits for CRIU.
func startFetch(req runtime.Request) (*fetch, error) {
	f := &fetch{Fetch: *req.LazyPages, ended: make(chan struct{}), settled: make(chan struct{})}
	var err error
	if f.watcher, err = runtime.Watch(f.ID); err != nil {
		return nil, err
	}
	if err := f.start(req); err != nil {
		_ = f.watcher.End()
		return nil, err
	}
	return f, nil
}

func (f *fetch) start(req runtime.Request) error {
	if err := os.MkdirAll(req.WorkDir, 0o700); err != nil {
		return err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer from.Close()
	// CRIU looks for the daemon's socket in the work directory.
	cmd := exec.Command(req.CRIU, "lazy-pages", "--images-dir", req.ImageDir, "--work-dir", req.WorkDir,
		"--log-file", runtime.FetchPath(f.ID, runtime.LazyPagesLog), "-v2", "--status-fd", "3")
	cmd.ExtraFiles = []*os.File{to}
	err = cmd.Start()
	_ = to.Close()
	if err != nil {
		return err
	}
	go func() {
		if err := cmd.Wait(); err != nil {
			f.err = fmt.Errorf("criu lazy-pages: %w", err)
			if line := f.watcher.Log(); line != "" {
				f.err = fmt.Errorf("%w: %s", f.err, line)
			}
		}
		close(f.ended)
	}()
	_ = from.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := from.Read(make([]byte, 1)); err != nil {
		_ = cmd.Process.Kill()
		<-f.ended
		return fmt.Errorf("criu lazy-pages is not ready: %w", f.err)
	}
	// Without it the container's memory is lost.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid), []byte("-1000"), 0)
	f.Daemon = runtime.FindTask(cmd.Process.Pid)
	go f.hold()
	return f.watcher.Note(f.Fetch)
}

// restored is called when the tasks run.
func (f *fetch) restored(init runtime.Task) error {
	f.Init = init
	return f.watcher.Note(f.Fetch)
}

// stop ends the daemon of a restore that failed.
func (f *fetch) stop() {
	f.Daemon.Kill()
	<-f.ended
	close(f.settled)
	_ = f.watcher.End()
}

// hold keeps a copy of the daemon's userfaultfd. While one is open, tasks that
// touch a page that is not there wait, also when the daemon is gone; else they get
// zeros. It is kept for a container of one process only: the daemon closes the
// descriptor of a process whose memory is whole, and would not come to know what
// that process does after it (CRIU 4.2.1 crashes then).
func (f *fetch) hold() {
	daemon, err := unix.PidfdOpen(f.Daemon.PID, 0)
	if err != nil {
		return
	}
	defer unix.Close(daemon)
	held := -1
	defer func() { _ = unix.Close(held) }()
	for {
		select {
		case <-f.ended:
			<-f.settled
			return
		case <-time.After(10 * time.Millisecond):
		}
		next := -1
		if open := userfaultfds(f.Daemon.PID); len(open) == 1 {
			if next, err = unix.PidfdGetfd(daemon, open[0], 0); err != nil {
				next = -1
			}
		}
		if held >= 0 {
			_ = unix.Close(held)
		}
		held = next
	}
}

func userfaultfds(pid int) []int {
	var open []int
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == "anon_inode:[userfaultfd]" {
			if n, err := strconv.Atoi(filepath.Base(link)); err == nil {
				open = append(open, n)
			}
		}
	}
	return open
}

// watch returns when all memory is there. If the daemon ends before, the
// container is killed at once: the pages that it lacks read as zeros.
func (f *fetch) watch() {
	var fetched int64
	for over := false; !over; {
		select {
		case <-f.ended:
			over = true
		case <-time.After(100 * time.Millisecond):
			fetched = max(fetched, f.FetchedBytes())
		}
	}
	defer close(f.settled)
	if f.err == nil || !f.Init.Alive() {
		_ = f.watcher.End()
		return
	}
	f.Init.Kill()
	f.Error = fmt.Sprintf("the fetch ended after about %d %% of %d bytes: %s", runtime.Percent(fetched, f.TotalBytes), f.TotalBytes, f.err)
	_ = f.watcher.Note(f.Fetch) // before Docker sees the end
	f.Init.Await(time.Second)
	f.watcher.Leave()
	if log, err := syslog.New(syslog.LOG_ERR|syslog.LOG_DAEMON, filepath.Base(os.Args[0])); err == nil {
		_ = log.Err(fmt.Sprintf("container %s was killed, since its memory from %s was not whole: %s", f.Container, f.Checkpoint, f.Error))
		_ = log.Close()
	}
}
