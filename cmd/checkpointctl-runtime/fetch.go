package main

import (
	"fmt"
	"log/syslog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// fetch is a `criu lazy-pages` under way: it brings the memory of a container
// that runs already.
type fetch struct {
	runtime.Fetch
	watcher *runtime.Watcher
	ended   chan struct{} // closed when the daemon has ended
	err     error         // how, after that
}

// startFetch starts the daemon and returns when it waits for CRIU.
func startFetch(req runtime.Request) (*fetch, error) {
	f := &fetch{Fetch: *req.LazyPages, ended: make(chan struct{})}
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
	_ = f.watcher.End()
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
	if f.err == nil || !f.Init.Alive() {
		_ = f.watcher.End()
		return
	}
	f.Init.Kill()
	f.Error = fmt.Sprintf("the fetch ended after about %d %% of %d bytes: %s", runtime.Percent(fetched, f.TotalBytes), f.TotalBytes, f.err)
	_ = f.watcher.Note(f.Fetch)
	f.watcher.Leave()
	if log, err := syslog.New(syslog.LOG_ERR|syslog.LOG_DAEMON, filepath.Base(os.Args[0])); err == nil {
		_ = log.Err(fmt.Sprintf("container %s was killed, since its memory from %s was not whole: %s", f.Container, f.Checkpoint, f.Error))
		_ = log.Close()
	}
}
