//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A store that cannot be written: nothing is touched, and what is there can be
// read and restored.
func TestReadOnlyStore(t *testing.T) {
	b := counter(t)
	if err := unix.Mount("tmpfs", b.store, "tmpfs", 0, "mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(b.store, unix.MNT_DETACH) })
	at := b.count()
	b.checkpoint("--name", "old")
	if err := unix.Mount("", b.store, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	pid := b.pid()
	if r := b.must(1, "checkpoint", b.name); !strings.Contains(r.stderr, "read-only file system") {
		t.Errorf("stderr: %s", r.stderr)
	}
	if now := b.pid(); now != pid {
		t.Errorf("pid was %s, is %s", pid, now)
	}
	b.must(0, "verify", b.name)
	b.kill()
	b.restore("old")
	b.goesOn(at)
}

// A disk that takes data and fails when that is synced: a loop device that
// promises more than the filesystem below it has. Every checkpoint must see
// that, and with --leave-running=false before the container is killed.
func TestDiskThatFailsLate(t *testing.T) {
	b := start(t, baseImage, "/workload", "memory", "32")
	b.await(8)
	below := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := unix.Mount("tmpfs", below, "tmpfs", 0, "size=12m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(below, unix.MNT_DETACH) })
	image := filepath.Join(below, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 128<<20); err != nil {
		t.Fatal(err)
	}
	run("mke2fs", "-q", "-F", "-O", "^has_journal", image)
	device := run("losetup", "-f", "--show", image)
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", device).Run() })
	// Without errors=continue the filesystem would turn read-only first.
	if err := unix.Mount(device, b.store, "ext4", 0, "errors=continue"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(b.store, unix.MNT_DETACH) })
	if err := os.Chmod(b.store, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, leave := range []string{"true", "false"} {
		pid, at := b.pid(), b.count()
		r := b.ctl("checkpoint", b.name, "--leave-running="+leave)
		if r.code == 0 || !strings.Contains(r.stderr, "sync ") {
			t.Errorf("leave-running=%s: exit %d: %s", leave, r.code, r.stderr)
		}
		if now := b.pid(); now != pid {
			t.Errorf("pid was %s, is %s", pid, now)
		}
		b.await(at + 25) // past a check of its own
		if list := b.list(); len(list) != 0 {
			t.Errorf("listed: %+v", list)
		}
	}
}
