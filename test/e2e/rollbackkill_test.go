//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// layerFiles lists a container's writable layer as it lies on the host. /tmp has a
// time of its own: CRIU makes a directory there, and removes it.
func layerFiles(t *testing.T, upper string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `cd "$1" && find . -mindepth 1 ! -path ./tmp -printf '%P %y %m %U:%G %s %T@\n' | sort && find . -type f | sort | xargs sha256sum`, "sh", upper).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// Wherever checkpointctl is killed in a rollback, the files are those that were
// there or those of the checkpoint, all of them, and the next run can go on.
func TestRollbackKilled(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "sh", "-c", `mkdir /f; for i in $(seq 400); do echo $i >/f/$i; done; dd if=/dev/zero bs=1M count=20 2>/dev/null | tr '\0' x >/f/big; `+counting)
	at := b.await(8)
	b.checkpoint()
	upper := docker(t, "inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", b.name)
	id := b.inspect().ID
	want := layerFiles(t, upper)
	docker(t, "exec", b.name, "sh", "-c", "rm /f/1; echo changed >/f/2; echo new >/f/new; : >/f/big")
	b.kill()
	old := layerFiles(t, upper)
	if old == want {
		t.Fatal("nothing has changed")
	}
	note := filepath.Join(b.store, b.name, ".rollback")
	control := filepath.Join("/run/checkpointctl/restore", id)
	inode := func() uint64 {
		info, err := os.Stat(upper)
		if err != nil {
			return 0
		}
		return inodeOf(info)
	}
	says := func(text string) func(uint64) bool {
		return func(uint64) bool {
			data, err := os.ReadFile(note)
			return err == nil && bytes.Contains(data, []byte(text))
		}
	}
	file := func(name string) func(uint64) bool { return func(uint64) bool { return exists(name) } }
	steps := []struct {
		name string
		is   func(before uint64) bool
	}{
		{"noted", says(`"swapping":false`)},
		{"being made", file(upper + ".checkpointctl/f/399")},
		{"about to be swapped", says(`"swapping":true`)},
		{"swapped", func(before uint64) bool { return inode() != before }},
		{"about to start", file(filepath.Join(control, "owner.lock"))},
		{"starting", file(filepath.Join(control, "claim.json"))},
		{"restored", file(filepath.Join(control, "result.json"))},
		{"done", says(`"done":true`)},
	}
	for _, step := range steps {
		before := inode()
		cmd := exec.Command(binary, "--dir", b.store, "restore", b.name, "--files=rollback")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		reached := false
	watch:
		for !reached {
			select {
			case <-ended:
				break watch
			default:
				reached = step.is(before)
			}
		}
		_ = cmd.Process.Kill()
		<-ended
		if !until(60*time.Second, func() bool {
			r := b.ctl("repair")
			return r.code == 0 && strings.Contains(r.stderr, "nothing to repair")
		}) {
			t.Fatalf("%s: never repaired: %+v", step.name, b.ctl("repair"))
		}
		b.leavesNothing()
		got, state := layerFiles(t, upper), b.state()
		t.Logf("%s: reached %v, the container is %s, files of the checkpoint: %v", step.name, reached, state, got == want)
		if got != old && got != want {
			sameTree(t, got, want)
			t.Fatalf("%s: neither the old files nor the checkpoint's", step.name)
		}
		if state == "running" {
			if got != want {
				t.Errorf("%s: it runs with the old files", step.name)
			}
			b.goesOn(at)
			docker(t, "exec", b.name, "sh", "-c", "rm -f /f/1; echo changed >/f/2; echo new >/f/new; : >/f/big")
			b.kill()
			old = layerFiles(t, upper)
		} else if got == want {
			t.Errorf("%s: the checkpoint's files without its memory", step.name)
		}
	}
	b.must(0, "restore", b.name, "--files=rollback")
	b.goesOn(at)
	if got := layerFiles(t, upper); got != want {
		sameTree(t, got, want)
	}
}

// A restore that fails gives the container back as it was.
func TestRollbackOfAFailedRestore(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "sh", "-c", "echo then >/own; "+counting)
	b.await(8)
	b.checkpoint()
	upper := docker(t, "inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", b.name)
	docker(t, "exec", b.name, "sh", "-c", "echo now >/own")
	b.kill()
	old := layerFiles(t, upper)
	broken := filepath.Join(t.TempDir(), "criu")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--dir", b.store, "restore", b.name, "--files=rollback", "--no-verify")
	cmd.Env = append(os.Environ(), "CHECKPOINTCTL_CRIU_PATH="+broken)
	if r := execute(t, cmd); r.code != 23 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	sameTree(t, layerFiles(t, upper), old)
	b.leavesNothing()
	// A tar that is cut short is found before anything is put in its place.
	tar := filepath.Join(b.store, b.name, "checkpoint1", "rootfs.tar")
	info, err := os.Stat(tar)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(tar, info.Size()-1500); err != nil {
		t.Fatal(err)
	}
	b.must(24, "restore", b.name, "--files=rollback")
	sameTree(t, layerFiles(t, upper), old)
	b.leavesNothing()
}
