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

// logging appends a number ten times a second to a file that it holds open.
func logging(file string) []string {
	return []string{baseImage, "sh", "-c", `exec 3>>` + file + `; i=0; while :; do i=$((i+1)); echo $i >&3; echo $i; sleep 0.1; done`}
}

// refused wants a restore to be refused for changes of files, with the container
// left stopped, and returns what was said.
func (b *box) refused(args ...string) string {
	b.t.Helper()
	r := b.must(16, append([]string{"restore", b.name}, args...)...)
	if state := b.state(); state != "exited" {
		b.t.Errorf("refused, and the container is %s", state)
	}
	if !strings.Contains(r.stderr, "hint: --files=") {
		b.t.Errorf("no way on: %s", r.stderr)
	}
	return r.stderr
}

func namedVolume(t *testing.T, name string) string {
	t.Helper()
	docker(t, "volume", "create", prefix+name)
	t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "-f", prefix+name).Run() })
	return prefix + name
}

// The container runs on after its checkpoint and writes into its own layer.
func TestLogThatMovedOn(t *testing.T) {
	t.Parallel()
	b := start(t, logging("/var/log/app")...)
	at := b.await(8)
	b.checkpoint()
	b.await(b.count() + 2)
	b.kill()
	if text := b.refused(); !strings.Contains(text, "since "+b.name+"/checkpoint1: 1 file, /var/log/app (changed)") {
		t.Errorf("stderr: %s", text)
	}
	if r := b.must(0, "restore", b.name, "--files=keep"); !strings.Contains(r.stderr, "warning: files stay as they are now") {
		t.Errorf("stderr: %s", r.stderr)
	}
	b.goesOn(at)
	// What it writes after a restore counts as well.
	b.kill()
	b.refused()
}

func TestVolumeThatMovedOn(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{
		"named":     {"-v", namedVolume(t, "own") + ":/data"},
		"anonymous": {"-v", "/data"},
	} {
		b := start(t, append(options, logging("/data/log")...)...)
		b.await(8)
		b.checkpoint()
		b.await(b.count() + 2)
		b.kill()
		if text := b.refused(); !strings.Contains(text, "1 file, /data/log (changed)") {
			t.Errorf("%s: %s", name, text)
		}
		docker(t, "rm", "-v", b.name)
	}
}

// Docker sets the attributes of an empty volume when it makes another container with it.
func TestVolumeOfANewerContainer(t *testing.T) {
	t.Parallel()
	volume := namedVolume(t, "empty")
	b := start(t, "-v", volume+":/data", baseImage, "sh", "-c", counting)
	b.await(8)
	b.checkpoint()
	docker(t, "run", "--rm", "-v", volume+":/data", baseImage, "true")
	at := b.count()
	b.kill()
	b.restore()
	b.await(at)
}

// In what others may write to, only files in use stop a restore.
func TestSharedFilesThatMovedOn(t *testing.T) {
	t.Parallel()
	host, volume := t.TempDir(), namedVolume(t, "shared")
	for _, where := range []string{volume, host} {
		b := start(t, append([]string{"-v", where + ":/data"}, logging("/data/log")...)...)
		idle := start(t, "-v", where+":/data", baseImage, "sh", "-c", counting)
		b.await(8)
		at := idle.await(8)
		idle.checkpoint()
		b.checkpoint()
		b.await(b.count() + 2)
		b.kill()
		idle.kill()
		if text := b.refused(); !strings.Contains(text, "1 file, /data/log (changed)") {
			t.Errorf("stderr: %s", text)
		}
		r := idle.must(0, "restore", idle.name)
		if !strings.Contains(r.stderr, "warning: changes since "+idle.name+"/checkpoint1 where others may make them, too: 1 file, /data/log (changed)") {
			t.Errorf("stderr: %s", r.stderr)
		}
		idle.goesOn(at)
	}
}

// Stopped by its checkpoint a container can come back, and back again from the
// same checkpoint as long as it has written nothing. Neither Docker nor CRIU
// changes a file by it that would count.
func TestStopAndComeBack(t *testing.T) {
	t.Parallel()
	// A deleted file that is open, a unix socket, mounts of every kind, a file
	// that is mapped shared and writable, in a directory that is written before.
	python := `
import mmap, os, socket, time
os.makedirs("/var/state")
ghost = open("/var/state/ghost", "w+"); ghost.write("x"); ghost.flush(); os.unlink("/var/state/ghost")
s = socket.socket(socket.AF_UNIX); s.bind("/var/state/sock"); s.listen()
m = open("/data/mapped", "w+b"); m.truncate(4096); m = mmap.mmap(m.fileno(), 4096)
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.05)
`
	b := start(t, "-v", "/data", "-v", t.TempDir()+":/data/sub", "--tmpfs", "/run", "--init", appsImage, "python3", "-c", python)
	b.await(8)
	docker(t, "exec", b.name, "sh", "-c", "echo before >/var/log/before")
	quiet := func(checkpoint string) {
		t.Helper()
		if r := b.must(0, "restore", b.name, checkpoint); r.stderr != "" {
			t.Errorf("%s: %s", checkpoint, r.stderr)
		}
	}
	b.checkpoint("--leave-running=false", "--name", "one")
	at := b.count()
	quiet("one")
	b.goesOn(at)
	// A later checkpoint changes nothing for the earlier one.
	b.checkpoint("--leave-running=false", "--name", "two")
	for _, name := range []string{"one", "two", "one"} {
		quiet(name)
		b.await(b.count())
		b.kill()
	}
	// Its memory could have gone on in the mapped file without a trace.
	quiet("two")
	b.checkpoint("--name", "ran-on")
	b.kill()
	if text := b.refused("ran-on"); !strings.Contains(text, "/data/mapped (mapped and writable)") {
		t.Errorf("stderr: %s", text)
	}
}

// New, deleted, renamed and changed files, in the layer, where files of the
// image get a copy or a mark, and on the host, where it is only told.
func TestKindsOfChanges(t *testing.T) {
	t.Parallel()
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "gone"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, "-v", host+":/host", baseImage, "sh", "-c", "echo x >/etc/old; echo y >/var/lib/mine; "+counting)
	at := b.await(8)
	b.checkpoint()
	docker(t, "exec", b.name, "sh", "-c", "mv /etc/old /etc/renamed; rm /var/lib/mine; rm /etc/group; echo more >>/etc/passwd; echo z >/root/new")
	b.kill()
	text := b.refused()
	for _, want := range []string{
		"/etc/group (deleted)", "/etc/passwd (changed)", "/etc/renamed (attributes changed)", "/root/new (added)", "/var/lib (something in it was deleted)", " 5 files,",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	idle := start(t, "-v", host+":/host", baseImage, "sh", "-c", counting)
	at = idle.await(at)
	idle.checkpoint()
	idle.kill()
	if err := os.Remove(filepath.Join(host, "gone")); err != nil {
		t.Fatal(err)
	}
	if r := idle.must(0, "restore", idle.name); !strings.Contains(r.stderr, "too: 1 file, /host (something in it was deleted)") {
		t.Errorf("stderr: %s", r.stderr)
	}
	idle.goesOn(at)
}

// A database that has its index in memory and its rows in a file: memory of then
// with the file of now loses rows, and nothing says so.
func TestDatabaseThatMovedOn(t *testing.T) {
	t.Parallel()
	database := `
import os, signal, sqlite3
db = sqlite3.connect("/data.db", isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("pragma locking_mode=exclusive")
db.execute("create table t (n integer primary key, text)")
db.execute("create index i on t (text)")
count = 0
def report(*_):
    # print would not do: the signal may come in the middle of one.
    os.write(1, b"integrity %s\n" % db.execute("pragma integrity_check").fetchone()[0].split("\n")[0].encode())
signal.signal(signal.SIGUSR1, report)
while True:
    count += 1
    try:
        db.execute("insert into t values (?, ?)", (count, "x" * (count % 700)))
    except sqlite3.Error as e:
        print("error", e, flush=True)
    if count % 50 == 0:
        print(count, flush=True)
`
	b := start(t, appsImage, "python3", "-c", database)
	b.await(500)
	b.checkpoint()
	b.await(b.count() + 2000)
	b.kill()
	text := b.must(16, "restore", b.name).stderr
	if !strings.Contains(text, "/data.db (changed)") || !strings.Contains(text, "/data.db-wal") {
		t.Errorf("stderr: %s", text)
	}
	// CRIU would not open it in another size, whatever is asked for.
	if r := b.must(16, "restore", b.name, "--files=keep"); !strings.Contains(r.stderr, "hint: --files=rollback restores with the files of the checkpoint; as they are now CRIU cannot open /data.db") {
		t.Errorf("stderr: %s", r.stderr)
	}

	b.must(0, "restore", b.name, "--files=rollback")
	b.signal("USR1")
	if !until(10*time.Second, func() bool { return strings.Contains(b.logs("all"), "integrity ok") }) || strings.Contains(b.logs("all"), "error") {
		t.Errorf("rolled back: %s", b.logs("5"))
	}

	// Stopped by its checkpoint, it goes on as if nothing had been.
	c := start(t, appsImage, "python3", "-c", database)
	c.await(500)
	c.checkpoint("--leave-running=false")
	at := c.count()
	c.restore()
	c.await(at + 500)
	c.signal("USR1")
	if !until(10*time.Second, func() bool { return strings.Contains(c.logs("all"), "integrity ok") }) {
		t.Errorf("no integrity: %s", c.logs("5"))
	}
	if strings.Contains(c.logs("all"), "error") {
		t.Errorf("errors: %s", c.logs("all"))
	}
}
