//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func counter(t *testing.T) *box {
	t.Helper()
	b := start(t, baseImage, "sh", "-c", counting)
	b.await(8)
	return b
}

func TestRefusalsLeaveTheContainerAlone(t *testing.T) {
	t.Parallel()
	b := counter(t)
	old := filepath.Join(t.TempDir(), "criu")
	if err := os.WriteFile(old, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		code   int
		stderr string
		args   []string
	}{
		"no such container": {10, "no such container: " + prefix + "none", []string{"checkpoint", prefix + "none"}},
		"bad name":          {2, "bad name", []string{"checkpoint", b.name, "--name", "../x"}},
		"no criu":           {21, "criu is not usable", []string{"checkpoint", b.name, "--criu", "/nonexistent/criu"}},
		"criu that fails":   {21, "criu is not usable", []string{"checkpoint", b.name, "--criu", old}},
		"docker down":       {20, "docker is not reachable", []string{"checkpoint", b.name, "--docker-host", "unix:///nonexistent.sock"}},
		"no such flag":      {2, "unknown flag", []string{"checkpoint", b.name, "--fast"}},
		"restore running":   {12, "no such checkpoint", []string{"restore", b.name}},
	} {
		t.Run(name, func(t *testing.T) {
			b.untouched(func() {
				r := b.must(test.code, test.args...)
				if !strings.Contains(r.stderr, test.stderr) || r.stdout != "" {
					t.Errorf("stdout %q stderr %q, want %q", r.stdout, r.stderr, test.stderr)
				}
			})
		})
	}
	t.Run("as json", func(t *testing.T) {
		r := b.must(10, "checkpoint", prefix+"none", "--json")
		var e struct {
			Error string `json:"error"`
			Code  int    `json:"code"`
			Hint  string `json:"hint"`
		}
		if err := json.Unmarshal([]byte(r.stderr), &e); err != nil || e.Code != 10 || e.Error == "" || e.Hint == "" {
			t.Errorf("%v: %s", err, r.stderr)
		}
	})
}

func TestRestoreOfARunningContainer(t *testing.T) {
	t.Parallel()
	b := counter(t)
	b.checkpoint()
	pid := b.pid()
	if r := b.must(11, "restore", b.name); !strings.Contains(r.stderr, "docker stop "+b.name) {
		t.Errorf("stderr: %s", r.stderr)
	}
	if b.pid() != pid {
		t.Error("the container was touched")
	}
}

func TestNameTaken(t *testing.T) {
	t.Parallel()
	b := counter(t)
	b.checkpoint("--name", "one")
	at := b.count()
	if r := b.must(13, "checkpoint", b.name, "--name", "one"); !strings.Contains(r.stderr, b.name+"/one") {
		t.Errorf("stderr: %s", r.stderr)
	}
	b.await(at)
	if list := b.list(); len(list) != 1 {
		t.Errorf("list: %+v", list)
	}
}

func TestStoppedAndPaused(t *testing.T) {
	t.Parallel()
	b := counter(t)
	docker(t, "pause", b.name)
	if r := b.must(11, "checkpoint", b.name); !strings.Contains(r.stderr, "docker unpause "+b.name) {
		t.Errorf("stderr: %s", r.stderr)
	}
	if state := b.state(); state != "paused" {
		t.Errorf("was paused, is %s", state)
	}
	docker(t, "unpause", b.name)
	b.await(b.count())
	b.kill()
	if r := b.must(11, "checkpoint", b.name); !strings.Contains(r.stderr, "docker start "+b.name) {
		t.Errorf("stderr: %s", r.stderr)
	}
}

func TestHostPIDNamespace(t *testing.T) {
	t.Parallel()
	b := start(t, "--pid", "host", baseImage, "sh", "-c", counting)
	b.await(8)
	b.untouched(func() { b.must(11, "checkpoint", b.name) })
}

// A mount of the host that came with a bind would not come back with it.
func TestMountBelowABind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, below, "size=1m")
	b := start(t, "-v", dir+":/data", baseImage, "sh", "-c", counting)
	b.await(8)
	b.untouched(func() {
		if r := b.must(14, "checkpoint", b.name); !strings.Contains(r.stderr, "mount /data/below (tmpfs)") {
			t.Errorf("stderr: %s", r.stderr)
		}
	})
}

func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	b := counter(t)
	b.untouched(func() {
		cmd := exec.Command(binary, "checkpoint", b.name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if r := execute(t, cmd); r.code != 21 || !strings.Contains(r.stderr, "needs root") {
			t.Errorf("exit %d: %s", r.code, r.stderr)
		}
	})
	b.checkpoint()
	for _, args := range [][]string{
		{"list"}, {"logs", b.name}, {"inspect", b.name, "checkpoint1"}, {"verify"}, {"rm", b.name, "checkpoint1"}, {"prune", "--keep-last", "1"},
	} {
		cmd := exec.Command(binary, append([]string{"--dir", b.store}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if r := execute(t, cmd); r.code != 21 || !strings.Contains(r.stderr, "no access to the store") || !strings.Contains(r.stderr, "sudo") {
			t.Errorf("%v: exit %d: %s", args, r.code, r.stderr)
		}
	}
}

// Who owns the store, a directory above it, or a link to it, could put any
// images there for root to restore.
func TestStoreOfAnotherUser(t *testing.T) {
	t.Parallel()
	b := counter(t)
	base := filepath.Join(t.TempDir(), "base")
	if err := os.MkdirAll(filepath.Join(base, "store"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(base), "link")
	if err := os.Symlink(base, link); err != nil {
		t.Fatal(err)
	}
	for path, dir := range map[string]string{base: filepath.Join(base, "store"), filepath.Join(base, "store"): filepath.Join(base, "store"), link: filepath.Join(link, "store")} {
		if err := os.Lchown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"checkpoint", b.name}, {"restore", b.name}, {"list"}} {
			r := ctl(t, append([]string{"--dir", dir}, args...)...)
			if r.code != 2 || !strings.Contains(r.stderr, path+" belongs to user 65534") {
				t.Errorf("%v: exit %d: %s", args, r.code, r.stderr)
			}
		}
		if err := os.Lchown(path, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "/workload", "memory", "32")
	b.await(8)
	mountTmpfs(t, b.store, "size=8m,mode=0700")
	b.untouched(func() {
		for _, leave := range []string{"true", "false"} {
			if r := b.must(22, "checkpoint", b.name, "--leave-running="+leave); !strings.Contains(r.stderr, "filesystem is full") {
				t.Errorf("stderr: %s", r.stderr)
			}
		}
	})
}

func TestDamagedCheckpoint(t *testing.T) {
	t.Parallel()
	b := counter(t)
	b.checkpoint()
	b.kill()
	pages := filepath.Join(b.store, b.name, "checkpoint1", "pages-1.img")
	info, err := os.Stat(pages)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(pages, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	b.must(24, "verify", b.name)
	if r := b.must(24, "restore", b.name); !strings.Contains(r.stderr, "pages-1.img") {
		t.Errorf("stderr: %s", r.stderr)
	}
	if state := b.state(); state != "exited" {
		t.Errorf("was exited, is %s", state)
	}
}

// The file that the shell reads changes its size: refused before Docker is asked,
// and of a checkpoint that does not know its moment by CRIU, with the reason.
func TestFileChangedSinceTheCheckpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := start(t, "-v", dir+":/data", baseImage, "sh", "-c", "exec 3</data/file; "+counting)
	b.await(8)
	b.checkpoint("--leave-running=false")
	if err := os.WriteFile(file, []byte("longer than before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, files := range []string{"refuse", "keep"} {
		r := b.must(16, "restore", b.name, "--files="+files)
		if !strings.Contains(r.stderr, "1 file, /data/file (changed)") || !strings.Contains(r.stderr, "put back /data/file") {
			t.Errorf("%s: %s", files, r.stderr)
		}
	}
	path := filepath.Join(b.store, b.name, "checkpoint1", "container.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`"frozen_at": .*\n`).ReplaceAll(text, nil)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := b.must(23, "restore", b.name); !strings.Contains(r.stderr, "hint: a file changed since the checkpoint") || !strings.Contains(r.stderr, "is of an older version") {
		t.Errorf("stderr: %s", r.stderr)
	}
	if r := b.must(0, "logs", b.name, "--restore", "--errors"); !strings.Contains(r.stdout, "bad size") {
		t.Errorf("logs --restore: %s", r.stdout)
	}
	if state := b.state(); state != "exited" {
		t.Errorf("is %s", state)
	}
}

// The whole process group gets Ctrl-C; the container must not notice.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "/workload", "memory", "256")
	b.await(8)
	b.untouched(func() {
		cmd := exec.Command(binary, "--dir", b.store, "checkpoint", b.name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		log := filepath.Join(b.store, b.name, ".new-checkpoint1", "dump.log")
		for range 1000 * slow {
			if _, err := os.Stat(log); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("exit %d, want 130", code)
		}
	})
	b.checkpoint()
	b.await(b.count() + 45)
}

// A container that Docker would remove when its checkpoint stops it.
func TestStopThatDockerWouldUndo(t *testing.T) {
	t.Parallel()
	b := start(t, "--rm", baseImage, "sh", "-c", counting)
	b.await(8)
	b.untouched(func() { b.must(11, "checkpoint", b.name, "--leave-running=false") })
	b.checkpoint()
}

// unknownDevice is one that CRIU cannot dump: which there are depends on the kernel.
func unknownDevice(t *testing.T) string {
	t.Helper()
	for _, d := range []string{"/dev/loop-control", "/dev/cpu_dma_latency"} {
		if _, err := os.Stat(d); err == nil {
			return d
		}
	}
	t.Fatal("no device here that CRIU does not know")
	return ""
}

// What CRIU refuses of a process is explained.
func TestExplainedFailures(t *testing.T) {
	t.Parallel()
	python := func(text string) []string {
		return []string{appsImage, "python3", "-c", "import ctypes, os, socket, time\n" + text + "\nfor n in range(10 ** 6): print(n, flush=True); time.sleep(0.1)"}
	}
	device := unknownDevice(t)
	for name, test := range map[string]struct {
		hint string
		run  []string
	}{
		"netlink": {"a packet waits in a netlink socket", python(`s = socket.socket(16, socket.SOCK_RAW, 0); s.bind((0, 0)); s.send(b"\x11\0\0\0\x12\0\x01\x03\0\0\0\0\0\0\0\0\0\0\0\0")`)},
		"device":  {"of a kind that CRIU cannot dump", []string{"--device", device, baseImage, "sh", "-c", "exec 3<>" + device + "; " + counting}},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, test.run...)
			b.await(3)
			b.untouched(func() {
				if r := b.must(22, "checkpoint", b.name); !strings.Contains(r.stderr, "hint: ") || !strings.Contains(r.stderr, test.hint) {
					t.Errorf("stderr: %s", r.stderr)
				}
			})
			if r := b.must(0, "logs", b.name, "--errors"); !strings.Contains(r.stdout, "Error (") || !strings.Contains(r.stderr, test.hint) {
				t.Errorf("logs --errors: %s%s", r.stdout, r.stderr)
			}
		})
	}
}
