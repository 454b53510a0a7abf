//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// restoreLog is where CRIU's log of a restore appears, below Docker's exec-root.
func restoreLog(execRoot, id string) string {
	return filepath.Join(execRoot, "containerd/daemon/io.containerd.runtime.v2.task/moby", id, "work", "restore.log")
}

// restoreTo begins a restore and returns when the file is there.
func (b *box) restoreTo(file string) (*exec.Cmd, *strings.Builder) {
	b.t.Helper()
	cmd, stderr := exec.Command(binary, "--dir", b.store, "restore", b.name), &strings.Builder{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	awaitFile(b.t, file)
	return cmd, stderr
}

// A restore is killed when its images are staged, or when CRIU has begun.
// Docker goes on with it. The container holds a file lock, for which
// /etc/criu/runc.conf is changed.
func TestKillOfARestore(t *testing.T) {
	b := start(t, baseImage, "/workload", "lock", "/tmp/lock")
	at := b.await(8)
	b.checkpoint()
	id := b.inspect().ID
	staged := filepath.Join(docker(t, "info", "-f", "{{.DockerRootDir}}"), "containers", id, "checkpoints", "checkpointctl-*")
	for name, moment := range map[string]string{
		"staged": filepath.Join(staged, "core-1.img"),
		"criu":   restoreLog("/run/docker", id),
	} {
		b.kill()
		cmd, _ := b.restoreTo(moment)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// Docker answers when the start is over.
		state := b.state()
		if found, _ := filepath.Glob(staged); found == nil {
			t.Errorf("%s: nothing was left to repair", name)
		}
		if r := b.must(0, "repair"); !strings.Contains(r.stdout, "images staged for Docker") {
			t.Errorf("%s: repair: %s", name, r.stdout)
		}
		if found, _ := filepath.Glob(staged); found != nil {
			t.Errorf("%s: %v is left over", name, found)
		}
		if _, err := os.Stat(runcConf); err == nil {
			t.Errorf("%s: %s is left over", name, runcConf)
		}
		if state != "running" {
			b.restore()
		}
		b.goesOn(at)
		b.clean()
	}
	b.checkpoint()
}

// dockerd is killed in a restore, and started again. What becomes of the
// container is then known, and it can be had back.
func TestKillOfDockerdInARestore(t *testing.T) {
	d := ownDockerd(t)
	b := start(t, "--network", "none", baseImage, "/workload", "lock", "/tmp/lock")
	at := b.await(8)
	b.checkpoint()
	id := b.inspect().ID
	staged := filepath.Join(d.dir, "data", "containers", id, "checkpoints", "checkpointctl-*")
	for name, moment := range map[string]string{
		"staged": filepath.Join(staged, "core-1.img"),
		"criu":   restoreLog(d.exec, id),
	} {
		b.kill()
		cmd, stderr := b.restoreTo(moment)
		d.kill()
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 23 || !strings.Contains(stderr.String(), "may be running") {
			t.Errorf("%s: exit %d: %s", name, code, stderr.String())
		}
		if found, _ := filepath.Glob(staged); found != nil {
			t.Errorf("%s: %v is left over", name, found)
		}
		if _, err := os.Stat(runcConf); err == nil {
			t.Errorf("%s: %s is left over", name, runcConf)
		}
		d.start()
		// A runc that died with Docker leaves what no start gets past.
		if stale, _ := filepath.Glob(filepath.Join(d.exec, "runtime-runc/moby", id, "criu-root")); stale != nil {
			if r := b.must(0, "repair"); !strings.Contains(r.stdout, "runc's directory") {
				t.Errorf("%s: repair: %s", name, r.stdout)
			}
		}
		if state := b.state(); state != "running" {
			b.restore()
		}
		b.goesOn(at)
		b.clean()
	}
	b.checkpoint()
}

// runc's CRIU is killed in a restore: the container is stopped, as before.
func TestKillOfTheRestoringCRIU(t *testing.T) {
	b := dirty(t, "64", "1")
	b.checkpoint("--leave-running=false")
	id := b.inspect().ID
	for range 10 {
		cmd, stderr := b.restoreTo(restoreLog("/run/docker", id))
		if pid := restoring(id); pid != 0 {
			kill(pid)
		}
		_ = cmd.Wait()
		if cmd.ProcessState.ExitCode() == 0 { // too late
			b.kill()
			continue
		}
		if code := cmd.ProcessState.ExitCode(); code != 23 || !strings.Contains(stderr.String(), "the container is stopped") {
			t.Errorf("exit %d: %s", code, stderr.String())
		}
		if state := b.state(); state != "exited" {
			t.Errorf("is %s", state)
		}
		b.restore()
		b.memoryIsRight()
		b.clean()
		return
	}
	t.Error("CRIU was never caught")
}

// restoring is the pid of the CRIU that runc runs for the container, or 0.
func restoring(id string) int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if line, _ := os.ReadFile(file); !strings.Contains(string(line), id) || !strings.Contains(string(line), "restore") {
			continue
		}
		var runc int
		_, _ = fmt.Sscanf(file, "/proc/%d/cmdline", &runc)
		if pid := child(runc, "swrk"); pid != 0 {
			return pid
		}
	}
	return 0
}
