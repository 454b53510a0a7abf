//go:build e2e

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dockerd is a daemon of the test's own, with its own containerd.
type dockerd struct {
	t         *testing.T
	dir, exec string
	args      []string
	path      string // of the daemon; this process's if empty
	before    string // of sh, what comes before the daemon in its network namespace
	cmd       *exec.Cmd
}

// ownDockerd starts one, and lets every docker and checkpointctl of this test
// talk to it.
func ownDockerd(t *testing.T, args ...string) *dockerd {
	t.Helper()
	d := newDockerd(t, args...)
	d.up()
	return d
}

// newDockerd is one that has not been started.
func newDockerd(t *testing.T, args ...string) *dockerd {
	t.Helper()
	dir, err := os.MkdirTemp("", "ckpt-d-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("/run", "docker-ckpt-") // where repair looks
	if err != nil {
		t.Fatal(err)
	}
	d := &dockerd{t: t, dir: dir, exec: run, args: append([]string{
		"-H", "unix://" + dir + "/sock", "--data-root", dir + "/data", "--exec-root", run, "--pidfile", dir + "/pid",
		"--config-file", dir + "/config.json", "--bridge", "none", "--iptables=false", "--ip6tables=false",
	}, args...)}
	t.Cleanup(d.end)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// up starts it for the first time, with an image.
func (d *dockerd) up() {
	d.t.Helper()
	image := filepath.Join(d.dir, "image.tar")
	docker(d.t, "save", "-o", image, baseImage)
	d.start()
	d.t.Setenv("DOCKER_HOST", "unix://"+d.dir+"/sock")
	docker(d.t, "load", "-i", image)
}

func (d *dockerd) start() {
	d.t.Helper()
	// The pid that a killed containerd leaves behind is taken for one that runs
	// while it is a zombie, or another's.
	_ = os.Remove(filepath.Join(d.dir, "pid"))
	_ = os.Remove(filepath.Join(d.exec, "containerd", "containerd.pid"))
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	// CRIU tries sockets on lo.
	d.cmd = exec.Command("sh", append([]string{"-c", `ip link set lo up; ` + d.before + ` exec dockerd "$@"`, "dockerd"}, d.args...)...)
	if d.path != "" {
		d.cmd.Env = append(os.Environ(), "PATH="+d.path)
	}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	// Without a bridge of its own it would remove docker0, the host's.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < 300*slow && alive(d.cmd.Process.Pid); i++ {
		if exec.Command("docker", "-H", "unix://"+d.dir+"/sock", "version").Run() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	d.t.Fatalf("dockerd does not answer: %s", text[max(0, len(text)-2000):])
}

// kill ends the daemon by SIGKILL; the kernel ends its containerd with it.
func (d *dockerd) kill() {
	d.t.Helper()
	containerd := child(d.cmd.Process.Pid, "containerd")
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	for range 100 * slow {
		if containerd == 0 || !alive(containerd) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	kill(containerd)
}

// end leaves no process and no mount of the daemon's behind.
func (d *dockerd) end() {
	if d.cmd != nil {
		d.kill()
	}
	// Shims and what they run are in no tree of ours: they name the socket or
	// the bundle in their command line or working directory.
	for range 50 {
		found := false
		procs, _ := filepath.Glob("/proc/[0-9]*")
		for _, p := range procs {
			line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
			cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
			mounts, _ := os.ReadFile(filepath.Join(p, "mountinfo"))
			root := strings.Contains(string(mounts), d.dir+"/data/overlay2") && !strings.Contains(string(mounts), " "+d.dir)
			if p != "/proc/self" && (strings.Contains(string(line), d.dir) || strings.HasPrefix(cwd, d.exec) || root) {
				found = true
				if pid := pidOf(p); pid != os.Getpid() {
					kill(pid)
				}
			}
		}
		if !found {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 4 && (strings.HasPrefix(f[4], d.dir) || strings.HasPrefix(f[4], d.exec)) {
			_ = unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
	if err := errors.Join(os.RemoveAll(d.dir), os.RemoveAll(d.exec)); err != nil {
		d.t.Error(err)
	}
}

// dockerd is killed in the middle of a dump, and started again. It keeps its containers with live-restore, and ends them without.
func TestKillOfDockerd(t *testing.T) {
	for _, live := range []string{"--live-restore=true", "--live-restore=false"} {
		t.Run(live, func(t *testing.T) {
			d := ownDockerd(t, live)
			b := start(t, "--network", "none", baseImage, "/workload", "dirty", "16", "1")
			b.await(8)
			init := b.pid()
			g := b.dumpTo(at("pages"))
			d.kill()
			code, stderr := g.open()
			if code != 0 {
				t.Errorf("exit %d: %s", code, stderr)
			}
			d.start()
			b.must(0, "verify", b.name)
			if live == "--live-restore=true" {
				if now := b.pid(); now != init {
					t.Errorf("pid was %s, is %s", init, now)
				}
				b.memoryIsRight()
				b.clean()
				b.checkpoint("--name", "gated2")
				b.kill()
			}
			b.restore("gated")
			b.memoryIsRight()
		})
	}
}

func pidOf(proc string) int {
	n, _ := strconv.Atoi(filepath.Base(proc))
	return n
}
