//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stage is a moment of a dump, by the line that CRIU logs then.
type stage struct {
	name, line string
	repair     bool // sockets are in repair mode
}

var stages = []stage{
	{"before the freeze", "Running pre-dump scripts", false},
	{"in the freeze", "Seized task", false},
	{"network locked", "Dumping task (pid", false},
	{"in the parasite", "switched to daemon mode", false},
	{"pages", "Transferring pages", false},
	{"socket in repair", "Turning repair on", true},
	{"images complete", "Running post-dump scripts", true},
	{"thawed", "Dumping finished", false},
}

// at is the stage of this name.
func at(name string) stage {
	return stages[slices.IndexFunc(stages, func(s stage) bool { return s.name == name })]
}

// gate is a run of checkpointctl checkpoint whose CRIU stands still at a stage:
// its log is a pipe of one page, in which it gets no further than a few dozen
// lines once nobody reads.
type gate struct {
	b      *box
	cmd    *exec.Cmd
	worker int // CRIU
	stderr bytes.Buffer
	pipe   *os.File
	log    bytes.Buffer
	draft  string
}

// dumpTo begins a checkpoint called gated and returns when CRIU is at the stage.
func (b *box) dumpTo(s stage, args ...string) *gate {
	b.t.Helper()
	g := &gate{b: b, draft: filepath.Join(b.store, b.name, ".new-gated")}
	log, ready := filepath.Join(g.draft, "dump.log"), filepath.Join(b.t.TempDir(), "ready")
	criu := filepath.Join(filepath.Dir(ready), "criu")
	// The first worker, before there is a draft, is asked for its version.
	script := fmt.Sprintf("#!/bin/sh\nif [ -d %[1]s ]; then mkfifo %[1]s/dump.log; while [ ! -e %[2]s ]; do sleep 0.01; done; fi\nexec criu \"$@\"\n", g.draft, ready)
	if err := os.WriteFile(criu, []byte(script), 0o755); err != nil {
		b.t.Fatal(err)
	}
	g.cmd = exec.Command(binary, append([]string{"--dir", b.store, "--criu", criu, "checkpoint", b.name, "--name", "gated", "--network-lock", "iptables"}, args...)...)
	g.cmd.Stderr = &g.stderr
	if err := g.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(g.end)
	for range 400 * slow {
		info, err := os.Stat(log)
		if err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	var err error
	if g.pipe, err = os.OpenFile(log, os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
		b.t.Fatalf("%v: %s", err, g.stderr.String())
	}
	raw, err := g.pipe.SyscallConn()
	if err != nil {
		b.t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { _, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 4096) })
	if err == nil {
		err = os.WriteFile(ready, nil, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	// CRIU has the pipe open when it has said something. Whoever reads the log
	// after that finds a file: at the last stage CRIU, which has nothing more to
	// say, does not wait until there is one.
	g.read("\n")
	file := filepath.Join(g.draft, "log")
	if err := os.WriteFile(file, g.log.Bytes(), 0o600); err == nil {
		_ = os.Rename(file, log)
	}
	g.read(s.line)
	g.worker = child(g.cmd.Process.Pid, "swrk")
	return g
}

// read reads the log up to the line.
func (g *gate) read(line string) {
	g.b.t.Helper()
	buf := make([]byte, 4096)
	_ = g.pipe.SetReadDeadline(time.Now().Add(time.Duration(30*slow) * time.Second))
	for !strings.Contains(g.log.String(), line) {
		n, err := g.pipe.Read(buf)
		if err != nil {
			g.b.t.Fatalf("CRIU does not get to %q: %v: %s", line, err, g.stderr.String())
		}
		g.log.Write(buf[:n])
	}
}

// open lets CRIU go on, if it is alive, and waits until it and checkpointctl
// have ended.
func (g *gate) open() (code int, stderr string) {
	g.b.t.Helper()
	go func() {
		buf := make([]byte, 1<<16)
		_ = g.pipe.SetReadDeadline(time.Time{})
		for {
			if _, err := g.pipe.Read(buf); err != nil {
				return // closed
			}
		}
	}()
	_ = g.cmd.Wait()
	for range 400 * slow {
		if g.worker == 0 || !alive(g.worker) {
			return g.cmd.ProcessState.ExitCode(), g.stderr.String()
		}
		time.Sleep(10 * time.Millisecond)
	}
	g.b.t.Fatal("CRIU does not end")
	return 0, ""
}

// end is for a test that has failed.
func (g *gate) end() {
	if alive(g.worker) {
		kill(g.worker)
	}
	_ = g.cmd.Process.Kill()
	_ = g.pipe.Close()
	_ = g.cmd.Wait()
}

// alive says whether the process is there and no zombie.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

// kill ends a process that was found: 0 would be all of this process's group.
func kill(pid int) {
	if pid > 1 {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// child returns the child of a process whose command line has the word, or 0.
func child(pid int, word string) int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		data, _ := os.ReadFile(file)
		for _, c := range strings.Fields(string(data)) {
			line, _ := os.ReadFile(filepath.Join("/proc", c, "cmdline"))
			if n, err := strconv.Atoi(c); err == nil && bytes.Contains(line, []byte(word)) {
				return n
			}
		}
	}
	return 0
}
