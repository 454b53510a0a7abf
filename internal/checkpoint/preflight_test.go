package checkpoint

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/preflight"
)

func TestRefusedByPreflight(t *testing.T) {
	dump := &fickleDumper{}
	m := &Creator{Dumper: dump, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	m.Facts = func(c docker.Container, _ mounts.Plan) (preflight.Facts, error) {
		return preflight.Facts{Tasks: []tasks.Task{{PID: c.PID, Files: []tasks.File{{FD: 3, Target: "/dev/fuse"}}}}}, nil
	}
	var refused *preflight.RefusedError
	_, err := m.Create(context.Background(), Request{Container: running(), Options: criu.Options{LeaveRunning: true}})
	if !errors.As(err, &refused) || refused.Container != "web" || refused.Refusals[0].PID != os.Getpid() || dump.tries != 0 {
		t.Errorf("%d dumps, %v", dump.tries, err)
	}
	m.Facts = func(docker.Container, mounts.Plan) (preflight.Facts, error) {
		return preflight.Facts{}, os.ErrPermission
	}
	if _, err := m.Create(context.Background(), Request{Container: running()}); !errors.Is(err, os.ErrPermission) || dump.tries != 0 {
		t.Errorf("%d dumps, %v", dump.tries, err)
	}
}

func TestChecksHealth(t *testing.T) {
	child := exec.Command("sh", "-c", "sleep 60; true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	// Start returns during execve, before the kernel has set the new arguments.
	for end := time.Now().Add(10 * time.Second); linux.Arguments(child.Process.Pid)[0] != "sh"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the shell did not start: %q", linux.Arguments(child.Process.Pid))
		}
	}
	for _, test := range []struct {
		check []string
		want  bool
	}{
		{[]string{"CMD-SHELL", "sleep 60; true"}, true},
		{[]string{"CMD", "sh", "-c", "sleep 60; true"}, true},
		{[]string{"CMD-SHELL", "sleep 6"}, false},
		{[]string{"NONE"}, false},
		{nil, false},
	} {
		if got := checksHealth(docker.Container{HealthCheck: test.check}, child.Process.Pid); got != test.want {
			t.Errorf("%q: %v", test.check, got)
		}
	}
}

// It is part of every checkpoint: 10 ms are the limit for a small container.
func BenchmarkFacts(b *testing.B) {
	for range b.N {
		if _, err := Facts(docker.Container{PID: os.Getpid()}, mounts.Plan{}); err != nil {
			b.Fatal(err)
		}
	}
}

// And 100 ms for one of 200 processes with 10,000 descriptors, nearly half of them
// sockets and pipes.
func BenchmarkFactsOfMany(b *testing.B) {
	tree := exec.Command("python3", "-c", `
import os, socket, sys, time
for _ in range(199):
    if os.fork() == 0: break
files = [os.open("/dev/null", 0) for _ in range(26)]
pipes = [os.pipe() for _ in range(5)]
pairs = [socket.socketpair() for _ in range(6)]
print("ready", flush=True)
time.sleep(600)`)
	tree.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := tree.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := tree.Start(); err != nil {
		b.Skip("no python3 here:", err)
	}
	b.Cleanup(func() { _ = syscall.Kill(-tree.Process.Pid, syscall.SIGKILL); _ = tree.Wait() })
	started := bufio.NewScanner(out)
	for n := 0; n < 200; n++ {
		if !started.Scan() {
			b.Fatal("its processes do not start")
		}
	}
	b.ResetTimer()
	for range b.N {
		f, err := Facts(docker.Container{PID: tree.Process.Pid}, mounts.Plan{})
		if err != nil || len(f.Tasks) != 200 {
			b.Fatalf("%d tasks, %v", len(f.Tasks), err)
		}
		preflight.Check(f, preflight.Options{})
	}
}
