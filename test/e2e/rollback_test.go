//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tree lists all of a directory in the container that must come back: types, modes,
// owners, sizes, times in ns, links, attributes and sums.
func (b *box) tree(dirs ...string) string {
	b.t.Helper()
	// The image has Python, and the host's tools need not know the container's paths.
	const list = `
import hashlib, os, stat, sys
first = {}
for top in sys.argv[1:]:
    names = [top]
    for d, dirs, files in os.walk(top):
        names += [os.path.join(d, n) for n in dirs + files]
    for n in sorted(set(names)):
        s = os.lstat(n)
        line = [n, oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, s.st_mtime_ns, s.st_rdev]
        if not stat.S_ISDIR(s.st_mode):
            line += [s.st_size, first.setdefault(s.st_ino, n)]
        if stat.S_ISLNK(s.st_mode):
            line.append(os.readlink(n))
        if stat.S_ISREG(s.st_mode):
            line += [hashlib.sha256(open(n, "rb").read()).hexdigest(), s.st_blocks * 512 < s.st_size]
        for x in sorted(os.listxattr(n, follow_symlinks=False)):
            line += [x, os.getxattr(n, x, follow_symlinks=False)]
        print(*line)
`
	return docker(b.t, append([]string{"exec", b.name, "python3", "-c", list}, dirs...)...)
}

func sameTree(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, b := "", ""
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Errorf("%d and %d lines:\ngot  %s\nwant %s", len(g), len(w), a, b)
			return
		}
	}
}

// everything makes files of every kind, in new directories and over the image's.
const everything = `
mkdir -p /f/sub /f/replaced /srv/d; cd /f
echo one >plain; echo two >sub/two; ln plain hard; ln -s ../plain sub/link; mkfifo pipe
mknod null c 1 3; : >empty; printf 'a\tb' >"name with
newline"; chmod 4755 plain; chmod 1777 sub; chown 12:34 sub/two pipe
dd if=/dev/urandom of=big bs=1M count=3 2>/dev/null; truncate -s 20M holes; echo x >>holes
setfattr -n user.note -v remember plain 2>/dev/null || python3 -c 'import os; os.setxattr("plain", "user.note", b"remember")'
python3 -c 'import os; os.setxattr("big", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))'
python3 -c 'import os; os.utime("sub/two", ns=(1, 1234567890123456789))'
rm -r /usr/share/doc; mkdir /usr/share/doc; echo mine >/usr/share/doc/mine
rm /etc/shells 2>/dev/null; echo more >>/etc/passwd; chmod 700 /etc/apt 2>/dev/null; rm -rf /usr/share/man; true
`

// spoil changes, removes and replaces what everything made.
const spoil = `
cd /f; echo changed >>plain; rm sub/two hard; rm -r sub; mkdir sub; echo new >sub/new; chmod 600 big; : >big
rm pipe; echo file >pipe; rm null; truncate -s 1 holes; rm -r replaced; echo f >replaced; chown 1:1 empty
rm "name with
newline"; rm -r /usr/share/doc; echo back >/etc/shells; rm /etc/passwd; mkdir -p /usr/share/man/x; rm -rf /srv; rm -rf /var/log
`

// Whatever became of the files, they are then what they were, and the memory goes
// with them.
func TestRollback(t *testing.T) {
	t.Parallel()
	b := start(t, append([]string{"--cap-add", "SETFCAP"}, appsImage, "sh", "-c", `exec 3>>/var/log/app; i=0; while :; do i=$((i+1)); echo $i >&3; echo $i; sleep 0.1; done`)...)
	at := b.await(8)
	docker(t, "exec", b.name, "sh", "-c", everything)
	places := []string{"/f", "/etc/apt", "/etc/passwd", "/usr/share/doc", "/srv", "/root"}
	want := b.tree(places...)
	b.checkpoint()
	docker(t, "exec", b.name, "sh", "-c", spoil)
	b.await(b.count() + 2)
	b.kill()
	if text := b.refused(); !strings.Contains(text, "--files=rollback with those of the checkpoint") && !strings.Contains(text, "--files=rollback restores") {
		t.Errorf("stderr: %s", text)
	}
	if r := b.must(0, "restore", b.name, "--files=rollback", "--dry-run"); !strings.Contains(r.stdout, "those of the checkpoint in /") {
		t.Error(r.stdout)
	}
	kept := filepath.Join(t.TempDir(), "kept")
	b.must(0, "restore", b.name, "--files=rollback", "--keep-changed", kept)
	b.goesOn(at)
	sameTree(t, b.tree(places...), want)
	if docker(t, "exec", b.name, "sh", "-c", "ls /usr/share/man 2>/dev/null || echo none") != "none" {
		t.Error("a directory of the image that was deleted is back")
	}
	if out, err := exec.Command("tar", "xOf", filepath.Join(kept, "rootfs.tar"), "f/sub/new").Output(); err != nil || string(out) != "new\n" {
		t.Errorf("kept: %q, %v", out, err)
	}
	b.leavesNothing()
	// Again, and again from what the rollback made.
	b.kill()
	b.must(0, "restore", b.name, "--files=rollback")
	b.goesOn(at)
	sameTree(t, b.tree(places...), want)
}

// leavesNothing fails if a rollback left something beside the container's files.
func (b *box) leavesNothing() {
	b.t.Helper()
	found, err := filepath.Glob(docker(b.t, "inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", b.name) + ".*")
	if note, statErr := os.Lstat(filepath.Join(b.store, b.name, ".rollback")); found != nil || err != nil || statErr == nil {
		b.t.Errorf("left over: %q, %v", found, note)
	}
}

// quietly writes one line when it is told, and holds a file open.
const quietly = `exec 3>>/var/log/app; echo begun >&3; trap 'echo told >&3' USR1; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done`

// After a rollback nothing has changed until the container writes again.
func TestRestoreAgainAfterRollback(t *testing.T) {
	t.Parallel()
	b := start(t, "-v", namedVolume(t, "rolled")+":/data", baseImage, "sh", "-c", quietly)
	docker(t, "exec", b.name, "sh", "-c", "echo one >/data/file")
	at := b.await(8)
	b.checkpoint("--volumes")
	docker(t, "exec", b.name, "sh", "-c", "echo two >>/data/file; echo x >/new")
	b.kill()
	b.refused()
	b.must(0, "restore", b.name, "--files=rollback")
	b.goesOn(at)
	for range 2 {
		b.kill()
		if r := b.must(0, "restore", b.name); r.stderr != "" {
			t.Errorf("stderr: %s", r.stderr)
		}
		b.goesOn(at)
	}
	if got := docker(t, "exec", b.name, "sh", "-c", "cat /data/file; ls /new 2>/dev/null; cat /var/log/app"); got != "one\nbegun" {
		t.Errorf("files: %q", got)
	}
	b.signal("USR1")
	if !until(10*time.Second, func() bool { return strings.Contains(docker(t, "exec", b.name, "cat", "/var/log/app"), "told") }) {
		t.Error("it does not write any more")
	}
	b.kill()
	if text := b.refused(); !strings.Contains(text, "1 file, /var/log/app (changed)") {
		t.Errorf("stderr: %s", text)
	}
	// Another checkpoint of the container has other files.
	b.must(0, "restore", b.name, "--files=rollback")
	b.checkpoint("--name", "second", "--leave-running=false")
	b.restore("second")
}

// Volumes that others mount stay as they are; what runs beside is not taken.
func TestVolumesOfOthers(t *testing.T) {
	t.Parallel()
	volume := namedVolume(t, "ours")
	b := start(t, "-v", volume+":/data", baseImage, "sh", "-c", counting)
	other := start(t, "-v", volume+":/there", baseImage, "sh", "-c", counting)
	b.await(5)
	other.await(5)
	r := b.must(11, "checkpoint", b.name, "--volumes")
	if !strings.Contains(r.stderr, "volume "+volume+" is mounted by "+other.name+", too, which runs") || !strings.Contains(r.stderr, "--volume "+volume+"=skip") {
		t.Errorf("stderr: %s", r.stderr)
	}
	b.must(11, "checkpoint", b.name, "--volumes=nosuch")
	b.checkpoint("--volumes", "--volume", volume+"=skip", "--name", "skipped")
	b.must(0, "checkpoint", b.name, other.name, "--consistent", "--volumes", "--name", "both")
	for _, c := range []*box{b, other} {
		if _, err := os.Stat(filepath.Join(b.store, c.name, "both", "volume-"+volume+".tar")); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(b.store, b.name, "skipped", "volume-"+volume+".tar")); err == nil {
		t.Error("skipped, and taken")
	}
}

// Files of an encrypted checkpoint are encrypted, too, and come back.
func TestEncryptedFiles(t *testing.T) {
	t.Parallel()
	needs(t, "ssh-keygen")
	keys := t.TempDir()
	identity := filepath.Join(keys, "id")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", identity).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := start(t, "--ipc=shareable", baseImage, "sh", "-c", "echo a-secret-word >/etc/secret; echo a-secret-word >/dev/shm/s; "+counting)
	at := b.await(8)
	for _, how := range []string{"--leave-running", "--leave-running=false"} {
		b.checkpoint("--encrypt-to", "@"+identity+".pub", how)
		if out, _ := exec.Command("grep", "-rl", "a-secret-word", b.store).Output(); len(out) > 0 {
			t.Errorf("plain: %s", out)
		}
	}
	b.must(0, "verify", b.name, "--identity", identity)
	b.must(0, "restore", b.name, "checkpoint2", "--identity", identity)
	docker(t, "exec", b.name, "sh", "-c", "rm /etc/secret; echo x >/dev/shm/s")
	b.kill()
	b.must(16, "restore", b.name, "checkpoint1", "--identity", identity)
	b.must(0, "restore", b.name, "checkpoint1", "--identity", identity, "--files=rollback")
	b.goesOn(at)
	if got := docker(t, "exec", b.name, "cat", "/etc/secret", "/dev/shm/s"); got != "a-secret-word\na-secret-word" {
		t.Errorf("%q", got)
	}
}

// Docker empties /dev/shm of a container that shares it when it stops.
func TestSharedMemoryComesBack(t *testing.T) {
	t.Parallel()
	python := `
import mmap, os, time
os.umask(0)
f = os.open("/dev/shm/PostgreSQL.1", os.O_RDWR | os.O_CREAT, 0o640)
os.ftruncate(f, 1 << 20); os.fchown(f, 70, 71)
m = mmap.mmap(f, 1 << 20)
os.mkdir("/dev/shm/d", 0o750); os.symlink("PostgreSQL.1", "/dev/shm/d/link")
n = 0
while True:
    n += 1
    m[0:8] = n.to_bytes(8, "big")
    if m[0:8] != os.pread(f, 8, 0): print("torn", flush=True)
    print(n, flush=True)
    time.sleep(0.05)
`
	b := start(t, "--ipc=shareable", "--shm-size", "32m", appsImage, "python3", "-c", python)
	at := b.await(8)
	const look = "ls -lnR /dev/shm | grep -v total | awk '{print $1, $3, $4, $5, $9, $10, $11}'; df -k /dev/shm | tail -1 | awk '{print $2}'"
	want := docker(t, "exec", b.name, "sh", "-c", look)
	if !strings.Contains(want, " 70 71 1048576 PostgreSQL.1") || !strings.HasSuffix(want, "32768") {
		t.Fatalf("before: %s", want)
	}
	for _, args := range [][]string{{"--leave-running"}, {"--leave-running=false"}, {"--leave-running=false", "--rootfs=false"}} {
		b.checkpoint(args...)
		if args[0] == "--leave-running" {
			b.kill()
		}
		b.restore()
		at = b.await(at)
		if got := docker(t, "exec", b.name, "sh", "-c", look); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if strings.Contains(b.logs("all"), "torn") {
			t.Error("memory and file do not go together")
		}
	}
}

// A newer container gets the files of the old one's checkpoint.
func TestFilesIntoANewContainer(t *testing.T) {
	t.Parallel()
	b := start(t, baseImage, "sh", "-c", "echo mine >/etc/mine; rm /etc/group; "+counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	docker(t, "rm", b.name)
	docker(t, "create", "--name", b.name, baseImage, "sh", "-c", "echo mine >/etc/mine; rm /etc/group; "+counting)
	r := b.must(0, "restore", b.name)
	if !strings.Contains(r.stderr, b.name+" gets the files of "+b.name+"/checkpoint1 in /") {
		t.Errorf("stderr: %s", r.stderr)
	}
	b.goesOn(at)
	if got := docker(t, "exec", b.name, "sh", "-c", "cat /etc/mine; ls /etc/group 2>/dev/null || echo gone"); got != "mine\ngone" {
		t.Errorf("%q", got)
	}
	b.kill()
	b.restore()
}
