//go:build e2e

package e2e

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shopkeeper is a program of which all is known that show tells.
const shopkeeper = `
import mmap, os, signal, socket, threading, time
reversed_needle = "pohs ni eldeen"
shared = mmap.mmap(-1, 1 << 16)
needle = reversed_needle[::-1].encode()
shared[4090:4090 + len(needle)] = needle
blob = bytearray(3 << 20)
for at in range(0, len(blob), 4096): blob[at] = 7
blob[8190:8196] = bytes([0xde, 0xad, 0xbe, 0xef, 0x12, 0x34])
for i in range(2): threading.Thread(target=time.sleep, args=(10000,), daemon=True).start()
server = socket.create_server(("127.0.0.1", 7001))
client = socket.create_connection(("127.0.0.1", 7001))
accepted, _ = server.accept()
accepted.sendall(b"unread")
gone = open("/tmp/gone", "w+"); gone.write("x"); gone.flush(); os.unlink("/tmp/gone")
r, w = os.pipe()
if os.fork() == 0:
    os.close(w)
    time.sleep(10000)
more = []
def change(*_):
    blob[4096] = 8
    more.append(open("/etc/passwd"))
    print("changed", flush=True)
signal.signal(signal.SIGUSR1, change)
for n in range(10 ** 6):
    print(n, flush=True)
    time.sleep(0.1)
`

// What a checkpoint of a real container holds is shown, found, compared and written,
// without Docker and CRIU, also when it is encrypted or in an archive.
func TestShow(t *testing.T) {
	t.Parallel()
	identityFile, recipient := identity(t)
	b := start(t, "-e", "API_TOKEN=hunter2", "-e", "PLAIN=yes", appsImage, "python3", "-c", shopkeeper, "--password=hunter2")
	b.await(8)
	b.checkpoint("--name", "first")
	b.signal("USR1")
	b.await(b.count())
	if !until(10*time.Second, func() bool { return strings.Contains(b.logs("all"), "changed") }) {
		t.Fatal(b.logs("5"))
	}
	b.checkpoint("--name", "second")
	b.checkpoint("--name", "sealed", "--encrypt-to", recipient)
	file := filepath.Join(t.TempDir(), "box.ckpt")
	b.must(0, "export", b.name, "first", "-o", file)

	var doc struct {
		Overview  struct{ Processes, Threads int }
		Processes []struct {
			PID     uint32
			Args    []string
			Threads []struct{ TID uint32 }
		}
		FDs []struct {
			PID uint32
			FDs []struct {
				FD      uint32
				Type    string
				Name    string
				Deleted bool
				Peers   []string
			}
		}
		Sockets []struct {
			State, Local string
			Queue        int `json:"receive_queue_bytes"`
		}
		Mounts []struct{ Path string }
		Env    []struct{ Env []string }
	}
	for _, from := range [][]string{{b.name, "first"}, {file}, {b.name, "sealed", "--identity", identityFile}} {
		r := b.must(0, append([]string{"show", "--json"}, append(from, "all")...)...)
		if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
			t.Fatalf("%v: %s", err, r.stdout)
		}
		if doc.Overview.Processes != 2 || doc.Overview.Threads != 4 || len(doc.Processes[0].Threads) != 3 {
			t.Errorf("%s: %+v", from, doc.Overview)
		}
		if strings.Contains(r.stdout, "hunter2") || !slices.Contains(doc.Env[0].Env, "PLAIN=yes") || !slices.Contains(doc.Env[0].Env, "API_TOKEN=(hidden)") || !slices.Contains(doc.Processes[0].Args, "--password=(hidden)") {
			t.Errorf("%s: args %q, env %q", from, doc.Processes[0].Args, doc.Env[0].Env)
		}
		queues, pipes, deleted := 0, 0, false
		for _, s := range doc.Sockets {
			queues += s.Queue
		}
		for _, d := range doc.FDs[0].FDs {
			deleted = deleted || d.Deleted && d.Name == "/tmp/gone"
			if d.Type == "pipe" && slices.ContainsFunc(d.Peers, func(p string) bool { return strings.HasPrefix(p, fmt.Sprint(doc.FDs[1].PID)+"/") }) {
				pipes++
			}
		}
		if len(doc.Sockets) != 3 || queues != len("unread") || pipes != 4 || !deleted || len(doc.Mounts) < 5 {
			t.Errorf("%s: sockets %+v, descriptors %+v, %d mounts", from, doc.Sockets, doc.FDs[0].FDs, len(doc.Mounts))
		}
	}
	if r := b.must(0, "show", b.name, "first", "env", "--secrets"); !strings.Contains(r.stdout, "hunter2") {
		t.Errorf("--secrets: %s", r.stdout)
	}
	b.searched(fmt.Sprint(doc.Processes[1].PID))
	b.compared()
	page := filepath.Join(t.TempDir(), "page.html")
	b.must(0, "show", b.name, "first", "--format", "html", "-o", page)
	if data, err := os.ReadFile(page); err != nil || !strings.Contains(string(data), "127.0.0.1:7001") {
		t.Errorf("page: %d bytes, %v", len(data), err)
	}
}

// searched looks for what the program has in memory.
func (b *box) searched(child string) {
	b.t.Helper()
	var found []struct {
		PIDs    []uint32 `json:"pids"`
		Mapping string
		Context string
	}
	r := b.must(0, "grep", b.name, "first", "needle in shop", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
		b.t.Fatal(err)
	}
	shared := 0
	for _, m := range found {
		if len(m.PIDs) == 2 {
			shared++
		}
	}
	if shared != 1 {
		b.t.Errorf("the shared needle was found %d times: %s", shared, r.stdout)
	}
	for pid, want := range map[string]int{"1": 0, child: 0} {
		b.must(want, "grep", b.name, "first", "--hex", "dead beef 1234", "--pid", pid)
	}
	if r := b.must(1, "grep", b.name, "first", "there is no such "+"text"); r.stdout+r.stderr != "" {
		b.t.Errorf("of nothing: %q, %q", r.stdout, r.stderr)
	}
}

// compared tells what the program did between two checkpoints.
func (b *box) compared() {
	b.t.Helper()
	var r struct {
		Processes []struct{ Name, Change string }
		FDs       []struct{ After, Change string }
		Memory    []struct {
			PID           uint32
			Changed, Same uint64
		}
	}
	if err := json.Unmarshal([]byte(b.must(0, "diff", b.name, "first", "second", "--json").stdout), &r); err != nil {
		b.t.Fatal(err)
	}
	changed, same, opened := uint64(0), uint64(0), false
	for _, m := range r.Memory {
		if m.PID == 1 {
			changed, same = changed+m.Changed, same+m.Same
		}
	}
	for _, d := range r.FDs {
		opened = opened || d.Change == "new" && strings.Contains(d.After, "/etc/passwd")
	}
	if len(r.Processes) != 0 || !opened || changed == 0 || changed > 200 || same < 700 {
		b.t.Errorf("%d pages changed, %d are the same, processes %+v, descriptors %+v", changed, same, r.Processes, r.FDs)
	}
	if r := b.must(0, "diff", b.name+"/first", b.name+"/first"); !strings.HasSuffix(r.stdout, "nothing differs\n") {
		b.t.Errorf("with itself: %s", r.stdout)
	}
}

// gdb opens the core file of a process of a checkpoint: its threads are where they were.
func TestCore(t *testing.T) {
	t.Parallel()
	needs(t, "gcc", "gdb")
	dir := t.TempDir()
	program, core := filepath.Join(dir, "deep"), filepath.Join(dir, "core")
	if out, err := exec.Command("gcc", "-g", "-O0", "-static", "-pthread", "-o", program, "testdata/deep.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := start(t, "-v", program+":/deep", baseImage, "/deep")
	b.await(3)
	checkpoint := b.checkpoint()
	b.must(0, "core", b.name, checkpoint, "--pid", "1", "-o", core)
	f, err := elf.Open(core)
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_CORE || len(f.Progs) < 5 {
		t.Errorf("%v with %d segments", f.Type, len(f.Progs))
	}
	_ = f.Close()
	r := execute(t, exec.Command("gdb", "-nx", "-batch", "-ex", "thread apply all bt", "-ex", "print answer", program, core))
	for _, want := range []string{"innermost (n=", "main () at", "sleeper () at", "worker (arg=", "= 42"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("gdb does not say %q:\n%s\n%s", want, r.stdout, r.stderr)
		}
	}
}
