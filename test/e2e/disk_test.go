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

// disk is a loop device of 128 MiB with a filesystem.
type disk struct {
	t      *testing.T
	device string
}

// newDisk makes one of a file in dir, which takes space as it is written to.
func newDisk(t *testing.T, dir, features string) *disk {
	t.Helper()
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 128<<20); err != nil {
		t.Fatal(err)
	}
	run("mke2fs", "-q", "-F", "-t", "ext4", "-O", features, image)
	d := &disk{t, run("losetup", "-f", "--show", image)}
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", d.device).Run() })
	return d
}

func (d *disk) mount(dir string) {
	d.t.Helper()
	// Without errors=continue the filesystem would turn read-only first.
	if err := unix.Mount(d.device, dir, "ext4", 0, "errors=continue"); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := os.Chmod(dir, 0o700); err != nil {
		d.t.Fatal(err)
	}
}

// shutdown lets every use of the filesystem at dir fail by EIO, as that of a
// disk which is gone does.
func shutdown(t *testing.T, dir string) {
	t.Helper()
	const ext4Shutdown, withoutLogFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, withoutLogFlush); err != nil {
		t.Fatal(err)
	}
}

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
// that, and with --leave-running=false before the container is killed, also with
// --sync=none, which otherwise does not see it.
func TestDiskThatFailsLate(t *testing.T) {
	b := start(t, baseImage, "/workload", "memory", "32")
	b.await(8)
	below := t.TempDir()
	if err := unix.Mount("tmpfs", below, "tmpfs", 0, "size=12m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(below, unix.MNT_DETACH) })
	newDisk(t, below, "^has_journal").mount(b.store)
	for _, flags := range [][]string{{"--leave-running"}, {"--leave-running=false"}, {"--leave-running=false", "--sync=none"}} {
		pid, at := b.pid(), b.count()
		r := b.ctl(append([]string{"checkpoint", b.name}, flags...)...)
		if r.code == 0 || !strings.Contains(r.stderr, "sync ") {
			t.Errorf("%q: exit %d: %s", flags, r.code, r.stderr)
		}
		if now := b.pid(); now != pid {
			t.Errorf("pid was %s, is %s", pid, now)
		}
		b.await(at + 25) // past a check of its own
		if list := b.list(); len(list) != 0 {
			t.Errorf("%q: listed: %+v", flags, list)
		}
	}
	b.must(0, "checkpoint", b.name, "--sync=none")
}

// The disk of the store goes away in a dump: at each of these stages all that
// CRIU and checkpointctl read or write there fails by EIO. It comes back as it
// was when the filesystem was last committed.
func TestDiskThatIsGone(t *testing.T) {
	p := startLive(t)
	d := newDisk(t, t.TempDir(), "has_journal")
	for _, s := range []string{"in the freeze", "pages", "socket in repair", "thawed"} {
		t.Run(s, func(t *testing.T) {
			p.on(t)
			d.t = t
			d.mount(p.store)
			p.checkpoint("--name", "old")
			unix.Sync()
			g := p.dumpTo(at(s))
			shutdown(t, p.store)
			code, stderr := g.open()
			if code == 0 || !strings.Contains(stderr, "input/output error") {
				t.Errorf("exit %d: %s", code, stderr)
			}
			p.survived()
			if r := p.ctl("verify", p.name); r.code == 0 {
				t.Errorf("verify: %s", r.stdout)
			}
			_ = g.pipe.Close()
			if err := unix.Unmount(p.store, 0); err != nil {
				t.Fatal(err)
			}
			d.mount(p.store)
			p.must(0, "verify", p.name, "old")
			p.recovered(1)
		})
	}
}
