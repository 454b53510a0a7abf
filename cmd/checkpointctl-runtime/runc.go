package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// runc is a `runc restore` under way.
type runc struct {
	control  runtime.Control
	terminal *terminal  // nil for a container without one
	ended    chan error // gets how it ended, once
	tasks    runtime.Tasks
}

// startRunc starts `runc restore` with the global options that the shim gave to
// `runc create`. It does not inherit the shim's log: the error would be there
// before anybody looks.
func startRunc(c call, control runtime.Control, req runtime.Request, groups cgroups) (*runc, error) {
	path, err := findRunc()
	if err != nil {
		return nil, err
	}
	r := &runc{control: control, ended: make(chan error, 1)}
	line := []string{"runc"}
	line = append(line, without(without(without(c.globals, "--log"), "--log-format"), "--criu")...)
	line = append(line, "--log", control.Path(runtime.RuncLog), "--log-format", "json", "restore", "--detach", "--no-subreaper",
		"--bundle", linux.Option(c.rest, "--bundle"), "--image-path", req.ImageDir, "--work-path", req.WorkDir,
		"--manage-cgroups-mode", req.ManageCgroupsMode)
	for flag, given := range map[string]bool{
		"--tcp-established": req.TCPEstablished, "--file-locks": req.FileLocks, "--ext-unix-sk": req.ExtUnixSk,
		"--no-pivot": slices.Contains(c.rest, "--no-pivot"), "--lazy-pages": req.LazyPages != nil,
	} {
		if given {
			line = append(line, flag)
		}
	}
	if console := linux.Option(c.rest, "--console-socket"); console != "" {
		own := control.Path("console.sock")
		if r.terminal, err = newTerminal(console, own); err != nil {
			return nil, err
		}
		line = append(line, "--console-socket", own)
	}
	bin := control.Path("bin")
	if err := findPrograms(bin, req.CRIU); err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: path, Args: append(line, c.id), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Env: append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")),
	}
	err = isolated(func() error {
		if err := groups.bind(control.Path(runtime.CgroupYard)); err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		// CRIU leaves tasks that had 0 with what it has itself (prepare_proc_misc in
		// criu/cr-restore.c, 4.2): the shim's, which systemd's units make -998, so that the
		// kernel would end nearly anything else first. runc takes a while to start CRIU.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid), []byte("0"), 0)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.tasks.Runc = runtime.FindTask(cmd.Process.Pid)
	if err := control.Note(r.tasks); err != nil {
		r.kill()
		return nil, err
	}
	closeStdio()
	go func() { r.ended <- cmd.Wait() }()
	return r, nil
}

// findPrograms makes a directory for the start of runc's PATH: runc looks criu up in it,
// and CRIU the stand-in for tar, which lies beside this program.
func findPrograms(dir, criu string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for name, program := range map[string]string{"criu": criu, "tar": filepath.Join(filepath.Dir(self), "tar")} {
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// closeStdio lets go of the container's stdio, which is runc's now.
func closeStdio() {
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			_ = unix.Dup3(int(null.Fd()), fd, 0)
		}
		_ = null.Close()
	}
}

// isolated starts runc in a mount namespace of its own: for a restore runc mounts
// the container's root filesystem below its state directory, and `runc delete` of a
// container without a state removes that directory with all that is in it. The
// host's unmounts must still arrive, and so must mounts that appear.
func isolated(start func() error) error {
	started := make(chan error)
	go func() {
		// What this thread starts has its namespace. It ends with the goroutine, which
		// does not unlock it.
		goruntime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			started <- fmt.Errorf("making a mount namespace: %w", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
			started <- fmt.Errorf("making the mounts slaves: %w", err)
			return
		}
		started <- start()
	}()
	return <-started
}

// blocked is called when CRIU waits for the last hook. It notes all processes of
// the restore, and returns what is closed when CRIU and the init end.
func (r *runc) blocked(init runtime.Task) (criuEnded, initEnded <-chan struct{}, err error) {
	r.tasks.Init = init
	for _, pid := range runtime.Children(r.tasks.Runc.PID) {
		// The others are the init, CRIU's sibling, and the hook.
		if pid != init.PID && !isSelf(pid) {
			r.tasks.CRIU = runtime.FindTask(pid)
		}
	}
	if criuEnded, err = awaitEnd(r.tasks.CRIU.PID); err != nil {
		return nil, nil, fmt.Errorf("runc's CRIU: %w", err)
	}
	if initEnded, err = awaitEnd(init.PID); err != nil {
		return nil, nil, fmt.Errorf("the init: %w", err)
	}
	return criuEnded, initEnded, r.control.Note(r.tasks)
}

// awaitEnd returns what is closed when a process ends, whosever child it is.
func awaitEnd(pid int) (<-chan struct{}, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer unix.Close(fd)
		for err := error(unix.EINTR); errors.Is(err, unix.EINTR); {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		}
		close(ended)
	}()
	return ended, nil
}

// lost returns the child of runc's, but for the init, that was killed and that runc has
// not waited for; the zero Task if there is none.
func (r *runc) lost() runtime.Task {
	for _, pid := range runtime.Children(r.tasks.Runc.PID) {
		if t := runtime.FindTask(pid); t != r.tasks.Init && t.Killed() {
			return t
		}
	}
	return runtime.Task{}
}

// isSelf says whether a process runs this program.
func isSelf(pid int) bool {
	self, err := os.Stat("/proc/self/exe")
	other, otherErr := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && otherErr == nil && os.SameFile(self, other)
}

// kill ends runc with its children: CRIU, the init and a hook.
func (r *runc) kill() {
	for _, pid := range append(runtime.Children(r.tasks.Runc.PID), r.tasks.Runc.PID) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// awaitTasks waits until nothing is left of a restore that failed. A CRIU that
// was killed leaves its root task waiting for it for ever.
func (r *runc) awaitTasks() {
	for _, t := range [...]runtime.Task{r.tasks.Runc, r.tasks.CRIU, r.tasks.Init} {
		for !t.Await(2 * time.Second) {
			t.Kill()
		}
	}
}

// explain returns the last error that runc logged.
func (r *runc) explain(err error) error {
	f, openErr := os.Open(r.control.Path(runtime.RuncLog))
	if openErr != nil {
		return fmt.Errorf("runc restore: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var line struct{ Level, Msg string }
		if json.Unmarshal(s.Bytes(), &line) == nil && (line.Level == "error" || line.Level == "fatal") {
			err = fmt.Errorf("runc restore: %s", line.Msg)
		}
	}
	return err
}
