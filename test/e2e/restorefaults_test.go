//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// precious is a container with files of its own and in a volume, from which a
// checkpoint was taken when it was stopped.
type precious struct {
	*box
	id, volume, files string
	at                int
}

func newPrecious(t *testing.T, args ...string) *precious {
	t.Helper()
	p := &precious{volume: t.TempDir()}
	if err := os.WriteFile(filepath.Join(p.volume, "file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.box = start(t, append(args, "-v", p.volume+":/data", baseImage, "sh", "-c", "mkdir -p /own/dir; echo precious >/own/dir/file; "+counting)...)
	p.at = p.await(8)
	p.checkpoint("--leave-running=false")
	p.at, p.id, p.files = p.count(), p.inspect().ID, p.contents()
	return p
}

// contents sums up all files of the stopped container and of its volume.
func (p *precious) contents() string {
	p.t.Helper()
	sum := sha256.New()
	p.daemon(func(ctx context.Context, c *client.Client) error {
		r, err := c.ContainerExport(ctx, p.name)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(sum, r)
		return err
	})
	data, err := os.ReadFile(filepath.Join(p.volume, "file"))
	if err != nil {
		p.t.Errorf("the volume: %v", err)
	}
	sum.Write(data)
	return hex.EncodeToString(sum.Sum(nil))
}

// held is a restore that stands still.
type held struct {
	p       *precious
	cmd     *exec.Cmd
	stderr  strings.Builder
	gate    string
	ended   chan struct{}
	control runtime.Control
}

// restoreHeld begins a restore and returns when the stand-in for runc is asked to
// start, which it does not do until open: the tasks wait in CRIU, and Docker has
// connected the network.
func (p *precious) restoreHeld() *held {
	p.t.Helper()
	dir := p.t.TempDir()
	h := &held{p: p, gate: filepath.Join(dir, "gate"), ended: make(chan struct{}), control: runtime.ControlOf(p.id)}
	reached := filepath.Join(dir, "reached")
	if err := os.WriteFile(h.gate, nil, 0o600); err != nil {
		p.t.Fatal(err)
	}
	own := filepath.Join(dir, "runc") // on the PATH, so that it goes on from there
	if err := os.Symlink(builtStandIn(), own); err != nil {
		p.t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nPATH=$PATH:%s:/usr/sbin:/usr/bin\ncase \" $* \" in *' start '*%s*) echo >%s; while [ -e %s ]; do sleep 0.01; done ;; esac\nexec %s \"$@\"\n",
		dir, p.id, reached, h.gate, own)
	standIn := filepath.Join(dir, "checkpointctl-runtime")
	if err := os.WriteFile(standIn, []byte(script), 0o755); err != nil {
		p.t.Fatal(err)
	}
	h.cmd = exec.Command(binary, "--dir", p.store, "restore", p.name)
	h.cmd.Env = append(os.Environ(), "CHECKPOINTCTL_RESTORE_RUNTIME="+standIn)
	h.cmd.Stderr = &h.stderr
	if err := h.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		_ = h.cmd.Wait()
		close(h.ended)
	}()
	p.t.Cleanup(func() {
		h.open()
		_ = h.cmd.Process.Kill()
		<-h.ended
	})
	if !until(20*time.Second, func() bool { return exists(reached) }) {
		p.t.Fatalf("the restore does not come to its start: %s", h.stderr.String())
	}
	return h
}

// builtStandIn is the stand-in for runc that belongs to the program under test.
func builtStandIn() string {
	return filepath.Join(filepath.Dir(binary), "../libexec/checkpointctl/checkpointctl-runtime")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// open lets the restore go on.
func (h *held) open() { _ = os.Remove(h.gate) }

// end waits for checkpointctl, and gives up where Docker would hang.
func (h *held) end() int {
	h.p.t.Helper()
	select {
	case <-h.ended:
	case <-time.After(time.Duration(40*slow) * time.Second):
		h.p.t.Fatalf("the restore does not end: %s", h.stderr.String())
	}
	return h.cmd.ProcessState.ExitCode()
}

// tasks are the processes of the restore.
func (h *held) tasks() runtime.Tasks {
	h.p.t.Helper()
	tasks, err := h.control.Noted()
	if err != nil {
		h.p.t.Fatal(err)
	}
	return tasks
}

// agent is the process that holds the restore's lock.
func (h *held) agent() int {
	h.p.t.Helper()
	return withArgument("restore-agent", h.p.id)
}

// shim is the container's.
func (h *held) shim() int {
	h.p.t.Helper()
	return withArgument("containerd-shim", h.p.id)
}

// withArgument finds a process by words of its command line.
func withArgument(words ...string) int {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		line, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		found := true
		for _, word := range words {
			found = found && strings.Contains(string(line), word)
		}
		if pid := pidOf(proc); found && pid != os.Getpid() {
			return pid
		}
	}
	return 0
}

// recovers is comesBack, after which the container can be started afresh.
func (p *precious) recovers() {
	p.t.Helper()
	p.comesBack()
	docker(p.t, "start", p.name)
	docker(p.t, "kill", p.name)
}

// comesBack is what holds whatever was killed: Docker answers, nothing is left
// behind after a repair, no file has changed, and the container can be restored.
func (p *precious) comesBack() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(20*slow)*time.Second)
	defer cancel()
	p.daemon(func(_ context.Context, c *client.Client) error {
		_, err := c.ContainerInspect(ctx, p.name)
		return err
	})
	if p.state() == "running" {
		p.goesOn(p.at)
		p.kill()
	}
	if !until(10*time.Second, func() bool { return p.state() == "exited" || p.state() == "created" }) {
		p.t.Fatalf("it is %s", p.state())
	}
	p.must(0, "repair")
	for _, path := range []string{"/usr/local/sbin/runc", runtime.ControlOf(p.id).Dir} {
		if exists(path) {
			p.t.Errorf("%s is left over", path)
		}
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), "criu-root") {
		p.t.Errorf("a mount is left over: %s", mounts)
	}
	if now := p.contents(); now != p.files {
		p.t.Error("files have changed")
	}
	p.restore()
	p.goesOn(p.at)
	p.kill()
}

// Something is killed while the restored tasks wait for the network.
func TestKillInARestore(t *testing.T) {
	for name, victim := range map[string]func(*held) int{
		"checkpointctl": func(h *held) int { return h.cmd.Process.Pid },
		"stand-in":      func(h *held) int { return withArgument("/runc\x00", "\x00start\x00", h.p.id) },
		"agent":         (*held).agent,
		"runc":          func(h *held) int { return h.tasks().Runc.PID },
		"CRIU":          func(h *held) int { return h.tasks().CRIU.PID },
		"init":          func(h *held) int { return h.tasks().Init.PID },
		"shim":          (*held).shim,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPrecious(t)
			h := p.restoreHeld()
			pid := victim(h)
			if pid < 2 {
				t.Fatal("not found")
			}
			kill(pid)
			time.Sleep(100 * time.Millisecond) // for what notices by itself
			h.open()
			code := h.end()
			if name != "checkpointctl" && code != 23 {
				t.Errorf("exit %d: %s", code, h.stderr.String())
			}
			p.recovers()
		})
	}
}

// CRIU is killed when its last hook has let it go on, and before it has let the tasks go.
func TestKillOfCRIUThatGoesOnInARestore(t *testing.T) {
	p := newPrecious(t)
	h := p.restoreHeld()
	tasks := h.tasks()
	if err := unix.Kill(tasks.CRIU.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	hooked := func() bool { return withArgument("restore-hook", p.id) > 0 }
	if !hooked() {
		t.Error("no hook")
	}
	h.open()
	if !until(20*time.Second, func() bool { return !hooked() }) {
		t.Error("the hook does not end")
	}
	kill(tasks.CRIU.PID)
	if code := h.end(); code != 23 || !strings.Contains(h.stderr.String(), "CRIU was killed") {
		t.Errorf("exit %d: %s", code, h.stderr.String())
	}
	p.recovers()
}

// Docker is asked to end the container while its restored tasks wait.
func TestDockerEndsAContainerInARestore(t *testing.T) {
	for name, end := range map[string]func(context.Context, *client.Client, string) error{
		"kill": func(ctx context.Context, c *client.Client, name string) error {
			return c.ContainerKill(ctx, name, "KILL")
		},
		"stop": func(ctx context.Context, c *client.Client, name string) error {
			now := 0
			return c.ContainerStop(ctx, name, container.StopOptions{Timeout: &now})
		},
		"remove": func(ctx context.Context, c *client.Client, name string) error {
			return c.ContainerRemove(ctx, name, container.RemoveOptions{Force: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPrecious(t)
			h := p.restoreHeld()
			asked := make(chan error, 1)
			p.daemon(func(context.Context, *client.Client) error { return nil })
			go func() {
				c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
				if err == nil {
					err = end(context.Background(), c, p.name)
				}
				asked <- err
			}()
			time.Sleep(300 * time.Millisecond) // Docker lets it wait for the start
			h.open()
			h.end()
			select {
			case err := <-asked:
				t.Logf("docker %s: %v", name, err)
			case <-time.After(time.Duration(40*slow) * time.Second):
				t.Fatal("Docker hangs")
			}
			if name == "remove" {
				if data, err := os.ReadFile(filepath.Join(p.volume, "file")); err != nil || string(data) != "precious" {
					t.Errorf("the volume: %q, %v", data, err)
				}
				p.must(0, "repair")
				return
			}
			p.recovers()
		})
	}
}

// A host port that is taken ends a start after the tasks have been restored.
func TestTakenPortInARestore(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	p := newPrecious(t, "-p", fmt.Sprintf("%d:80", port))
	if l, err = net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", port)); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := p.must(23, "restore", p.name)
	if !strings.Contains(r.stderr, "already") || !strings.Contains(r.stderr, "the container is stopped") {
		t.Errorf("stderr: %s", r.stderr)
	}
	_ = l.Close()
	if len(p.inspect().NetworkSettings.Networks) == 0 { // Docker 29 forgets them
		t.Error("the container has no network any more")
	}
	p.recovers()
}

// dockerd and containerd are killed while the restored tasks wait, and started
// again.
func TestKillOfDockerdInARestore(t *testing.T) {
	d := ownDockerd(t)
	for _, victim := range []string{"dockerd", "containerd"} {
		t.Run(victim, func(t *testing.T) {
			p := newPrecious(t, "--network", "none")
			h := p.restoreHeld()
			if victim == "dockerd" {
				d.kill()
			} else {
				kill(child(d.cmd.Process.Pid, "containerd"))
				// dockerd starts another one, and connects to it again in its own time.
				if !until(60*time.Second, func() bool {
					return exec.Command("docker", "run", "--rm", "--network", "none", baseImage, "true").Run() == nil
				}) {
					t.Fatal("dockerd starts no containerd again")
				}
			}
			h.open()
			code := h.end()
			if code != 23 {
				t.Errorf("exit %d: %s", code, h.stderr.String())
			}
			if victim == "dockerd" {
				d.start()
			}
			p.must(0, "repair")
			p.recovers()
		})
	}
}

// The start that a killed checkpointctl had asked for does not run the container afresh.
func TestStartThatAKilledRestoreAskedFor(t *testing.T) {
	t.Parallel()
	p := newPrecious(t)
	var plans []struct{ Link string }
	if err := json.Unmarshal([]byte(p.must(0, "restore", p.name, "--dry-run", "--json").stdout), &plans); err != nil {
		t.Fatal(err)
	}
	pending, err := runtime.Prepare(t.Context(), p.id, runtime.Request{}, plans[0].Link, builtStandIn())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pending.Close() }()
	// The kernel lets go of the lock when a process is killed.
	if err := os.Remove(pending.Path("owner.lock")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("docker", "start", p.name).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "checkpointctl was killed while it restored this container") {
		t.Errorf("docker start: %v, %s", err, out)
	}
	if state := p.state(); state != "exited" || p.contents() != p.files {
		t.Errorf("it is %s, or has other files", state)
	}
	if err := pending.Close(); err != nil {
		t.Error(err)
	}
	p.restore()
	p.goesOn(p.at)
}
