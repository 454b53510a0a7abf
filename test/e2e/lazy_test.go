//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lazyMiB is enough memory to find criu lazy-pages at work.
const lazyMiB = "256"

// lazyFetch is what is noted of a lazy restore under way.
type lazyFetch struct {
	TotalBytes int64             `json:"total_bytes"`
	Daemon     struct{ PID int } `json:"daemon"`
	Init       struct{ PID int } `json:"init"`
}

// lazyBox runs a program that knows its memory.
func lazyBox(t *testing.T) *box {
	t.Helper()
	b := start(t, baseImage, "/workload", "dirty", lazyMiB, "1")
	if !until(time.Minute, func() bool { return b.count() > 2 }) {
		t.Fatalf("%s does not count: %s", b.name, b.logs("5"))
	}
	return b
}

func (b *box) fetchDir() string {
	return filepath.Join("/run/checkpointctl/lazy", docker(b.t, "inspect", "-f", "{{.Id}}", b.name))
}

// restoreLazily restores, and stops the daemon in the middle. It returns what is
// noted.
func (b *box) restoreLazily(args ...string) lazyFetch {
	b.t.Helper()
	file := filepath.Join(b.fetchDir(), "fetch.json")
	stopped := make(chan error, 1)
	go func() { stopped <- stopMidway(file) }()
	b.restore(append([]string{"--lazy-pages"}, args...)...)
	if err := <-stopped; err != nil {
		b.t.Fatal(err)
	}
	var f lazyFetch
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil || f.Init.PID == 0 {
		b.t.Fatalf("%v: %s", err, data)
	}
	return f
}

// stopMidway lets the daemon read some pages and stops it.
func stopMidway(file string) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var f lazyFetch
		data, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(data, &f) != nil {
			continue
		}
		io, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", f.Daemon.PID))
		first, _, _ := strings.Cut(string(io), "\n")
		if n, _ := strconv.Atoi(strings.TrimPrefix(first, "rchar: ")); n > 8<<20 {
			return syscall.Kill(f.Daemon.PID, syscall.SIGSTOP)
		}
	}
	return fmt.Errorf("no daemon in the middle of a fetch: %s", file)
}

// The container runs before its memory is there; until that is whole the
// checkpoint stays and another one waits.
func TestLazyRestore(t *testing.T) {
	b := lazyBox(t)
	b.checkpoint("--name", "whole", "--leave-running=false")
	judge(t, func() (got, want time.Duration) {
		eager := timed(func() { b.restore("--no-verify") })
		b.memoryIsRight()
		b.kill()
		lazy := timed(func() { b.restore("--no-verify", "--lazy-pages") })
		b.kill()
		t.Logf("eager %v, lazy %v", eager, lazy)
		return lazy, eager
	})
	f := b.restoreLazily("--no-verify")
	if want := int64(256 << 20); f.TotalBytes < want || f.TotalBytes > want*11/10 {
		t.Errorf("%d bytes to fetch", f.TotalBytes)
	}
	if r := b.must(13, "rm", b.name, "whole"); !strings.Contains(r.stderr, b.name+"/whole is being fetched by container "+b.name) {
		t.Errorf("stderr: %s", r.stderr)
	}
	for _, args := range [][]string{{"list"}, {"inspect", b.name}, {"inspect", b.name, "whole"}} {
		if out := b.must(0, args...).stdout; !strings.Contains(out, "restoring ") || strings.Contains(out, "restoring 100 %") {
			t.Errorf("%v: %s", args, out)
		}
	}

	next := exec.Command(binary, "--dir", b.store, "checkpoint", b.name, "--name", "next")
	var said strings.Builder
	next.Stderr = &said
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if _, err := os.Stat(filepath.Join(b.store, b.name, "next")); err == nil {
		t.Error("a checkpoint did not wait for the memory")
	}
	if err := syscall.Kill(f.Daemon.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := next.Wait(); err != nil || !strings.Contains(said.String(), "waiting until it is complete") {
		t.Errorf("%v: %s", err, said.String())
	}
	b.memoryIsRight()
	if _, err := os.Stat(b.fetchDir()); err == nil {
		t.Errorf("%s is still there", b.fetchDir())
	}
	b.kill()
	f = b.restoreLazily("whole", "--no-verify")
	if out := b.must(0, "prune", "--keep-last", "1").stdout; !strings.Contains(out, "being fetched by container "+b.name) {
		t.Errorf("prune: %s", out)
	}
	if err := syscall.Kill(f.Daemon.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.memoryIsRight()
	if !until(30*time.Second, func() bool { _, err := os.Stat(b.fetchDir()); return os.IsNotExist(err) }) {
		t.Fatalf("%s is still there", b.fetchDir())
	}
	b.must(0, "rm", b.name, "whole")
	b.kill()
	b.restore("next")
	b.memoryIsRight()
}

// When the daemon is killed the container is, too: it never sees memory that is
// not its own.
func TestLazyRestoreLosesItsDaemon(t *testing.T) {
	b := lazyBox(t)
	b.checkpoint("--name", "whole", "--leave-running=false")
	f := b.restoreLazily("--no-verify")
	// It reads all its memory, and waits for the first page that is not there.
	docker(t, "kill", "-s", "USR2", b.name)
	time.Sleep(200 * time.Millisecond)
	if err := syscall.Kill(f.Daemon.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !until(10*time.Second, func() bool { return b.state() == "exited" }) {
		t.Fatalf("container is %s", b.state())
	}
	if logs := b.logs("all"); strings.Contains(logs, "memory wrong") {
		t.Error("the container saw memory that was not its own")
	}
	for _, args := range [][]string{{"inspect", b.name}, {"inspect", b.name, "whole"}} {
		if out := b.must(0, args...).stdout; !strings.Contains(out, "killed, since its memory was not whole") {
			t.Errorf("%v: %.300s", args, out)
		}
	}
	if out := b.must(0, "repair", "--dry-run").stdout; !strings.Contains(out, "lazy restore that ended early") {
		t.Errorf("repair: %s", out)
	}
	b.restore("whole")
	b.memoryIsRight()
	if _, err := os.Stat(b.fetchDir()); err == nil {
		t.Errorf("%s is still there", b.fetchDir())
	}
	b.must(0, "rm", b.name, "whole")
}

// A container that ends in the middle leaves nothing, and can be restored again.
func TestLazyRestoreIsKilled(t *testing.T) {
	b := lazyBox(t)
	b.checkpoint("--name", "whole", "--leave-running=false")
	f := b.restoreLazily("--no-verify")
	b.kill()
	if err := syscall.Kill(f.Daemon.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.restore("--lazy-pages", "--no-verify")
	if !until(30*time.Second, func() bool { _, err := os.Stat(b.fetchDir()); return os.IsNotExist(err) }) {
		t.Fatalf("%s is still there", b.fetchDir())
	}
	b.memoryIsRight()
}
