//go:build e2e

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// listen lets somebody outside of all containers accept at dir/stream, and takes
// datagrams at dir/datagram.
func listen(t *testing.T, dir string) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, "stream"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "datagram"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.Close(), d.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
}

// mounted makes a directory whose mounts go to its peers.
func mounted(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	return dir
}

// All that stands against a checkpoint is found at once, before anything is
// touched, and above all before anything is killed.
func TestAllThatIsRefused(t *testing.T) {
	t.Parallel()
	outside, shared, long := t.TempDir(), mounted(t), t.TempDir()
	listen(t, outside)
	file := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat("/"+strings.Repeat("d", 200), 10)
	if err := os.MkdirAll(long+deep, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--ipc", "host", "--ulimit", "nofile=4096", "--sysctl", "net.ipv6.conf.all.disable_ipv6=0", "--sysctl", "net.ipv6.conf.default.disable_ipv6=0",
		"-v", outside + ":/outside", "-v", file + ":/etc/conf", "-v", shared + ":/shared:rshared", "-v", long + deep + ":/long" + deep,
	}
	if dockerVersion(t) >= 28 { // it turns IPv6 off for the interface
		args = append(args, "--network", "name=bridge,driver-opt=com.docker.network.endpoint.sysctls=net.ipv6.conf.IFNAME.disable_ipv6=0")
	}
	b := start(t, append(args, python(`
pipes = [os.pipe() for _ in range(1025)]
stream = socket.socket(socket.AF_UNIX); stream.connect("/outside/stream")
datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); datagram.connect("/outside/datagram")
f = open("/tmp/a", "w"); os.link("/tmp/a", "/tmp/b"); os.unlink("/tmp/a")
g = open("/tmp/g", "w"); g.write("x" * (2 << 20)); g.flush(); os.unlink("/tmp/g")
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
s = libc.shmget(0, 4096, 0o600); libc.shmat(s, None, 0); libc.shmctl(s, 0, None)
while not (a := [l.split()[0] for l in open("/proc/net/if_inet6") if l.startswith("fe80") and l.split()[4] == "80"]): time.sleep(0.1)
a = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(a[0]))
server = socket.socket(socket.AF_INET6); server.bind((a, 7000, 0, socket.if_nametoindex("eth0"))); server.listen()
client = socket.create_connection((a + "%eth0", 7000)); accepted = server.accept()
`)...)...)
	b.await(3)
	if err := os.WriteFile(file+".new", []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	b.untouched(func() {
		for _, running := range []string{"true", "false"} {
			r := b.must(14, "checkpoint", b.name, "--leave-running="+running, "--link-remap", "--ghost-limit", "1MiB")
			if !strings.Contains(r.stderr, "1025 pipes") || !strings.Contains(r.stderr, "more, see checkpointctl inspect "+b.name) {
				t.Errorf("stderr: %s", r.stderr)
			}
		}
	})
	out := b.must(0, "inspect", b.name).stdout
	for _, want := range []string{
		"Can be checkpointed: no, because",
		"1025 pipes, 1025 of them in process " + b.pid() + " (python3): CRIU dumps up to 1024",
		"that is connected to process ", "at " + outside + "/stream: the half of a connection cannot be restored, by --ext-unix-sk neither",
		"CRIU does not find the other end, in another network namespace",
		"has a TCP connection of the link-local address [fe80::",
		"uses /tmp/a, whose name was removed, but which has another one (a hard link): CRIU can keep it only for a container that does not run on",
		"has mapped a System V segment of the IPC namespace of the host",
		"the mount at /long/ddd", "its line in the mount table is longer than the 4096 bytes",
		file + ", mounted at /etc/conf: it was deleted or replaced on the host",
		"the mount at /shared (", "it passes mounts on to the host",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("inspect does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// What flags help against is said with them. They do help.
func TestRefusedWithoutAFlag(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	listen(t, dir)
	datagram := func(at string) *box {
		return start(t, append([]string{"--network", "host", "-v", dir + ":" + at},
			python(`s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect("`+at+`/datagram")`)...)...)
	}
	lost := datagram("/outside")
	lost.await(3)
	lost.untouched(func() {
		if r := lost.must(14, "checkpoint", lost.name, "--ext-unix-sk", "--leave-running=false"); !strings.Contains(r.stderr, "the container has no such socket") {
			t.Errorf("stderr: %s", r.stderr)
		}
	})
	b := datagram(dir)
	at := b.await(8)
	b.untouched(func() {
		if r := b.must(14, "checkpoint", b.name); !strings.Contains(r.stderr, "hint: --ext-unix-sk") {
			t.Errorf("stderr: %s", r.stderr)
		}
	})
	if out := b.must(0, "inspect", b.name).stdout; !strings.Contains(out, "Can be checkpointed: with --ext-unix-sk, because") {
		t.Errorf("inspect: %s", out)
	}
	b.checkpoint("--ext-unix-sk")
	b.kill()
	b.restore()
	b.goesOn(at)

	// A hard link comes back once, and is not killed for a restore that cannot be.
	linked := start(t, append([]string{"-v", elsewhere + ":/data"},
		python(`f = open("/data/a", "w"); f.write("kept"); f.flush(); os.link("/data/a", "/data/b"); os.unlink("/data/a")`)...)...)
	at = linked.await(8)
	linked.untouched(func() {
		if r := linked.must(14, "checkpoint", linked.name, "--link-remap"); !strings.Contains(r.stderr, "hint: --link-remap --leave-running=false") {
			t.Errorf("stderr: %s", r.stderr)
		}
	})
	if out := linked.must(0, "inspect", linked.name).stdout; !strings.Contains(out, "Can be checkpointed: with --link-remap --leave-running=false, because") {
		t.Errorf("inspect: %s", out)
	}
	linked.checkpoint("--link-remap", "--leave-running=false")
	linked.restore()
	linked.goesOn(at)
	linked.kill()
	if r := linked.must(16, "restore", linked.name, "--files=keep"); !strings.Contains(r.stderr, "put back /data/link_remap.") || linked.state() != "exited" {
		t.Errorf("%s, stderr: %s", linked.state(), r.stderr)
	}
	if found, _ := filepath.Glob(elsewhere + "/*"); len(found) != 1 {
		t.Errorf("left over: %s", found)
	}
}

// Files of the image that were removed or replaced, as a package upgrade does,
// and large files without a name go into the images by themselves.
func TestFilesWithoutAName(t *testing.T) {
	t.Parallel()
	b := start(t, python(`
def replace(path):
    path = os.path.realpath(path)
    os.system(f"cp -p {path} {path}.new; mv {path}.new {path}")
replace("/usr/bin/python3"); replace("/lib/x86_64-linux-gnu/libc.so.6")
f = open("/etc/passwd"); os.unlink("/etc/passwd")
g = open("/tmp/g", "w+b"); g.write(b"x" * (20 << 20)); g.flush(); os.unlink("/tmp/g")
`)...)
	listing := func() string {
		return docker(t, "exec", b.name, "sh", "-c", "ls -a /tmp /etc /usr/bin /lib/x86_64-linux-gnu")
	}
	b.await(3)
	before := listing()
	for range 2 { // what a restore makes is dumped again
		at := b.await(max(8, b.count()))
		r := b.must(0, "checkpoint", b.name)
		if !strings.Contains(r.stderr, "up to 20MiB for /tmp/g of process ") {
			t.Errorf("stderr: %s", r.stderr)
		}
		b.await(b.count())
		b.kill()
		b.restore()
		b.goesOn(at)
		if now := listing(); now != before {
			t.Errorf("left over:\n%s\nwas\n%s", now, before)
		}
	}
	if out := docker(t, "exec", b.name, "sh", "-c", "wc -c </proc/1/fd/3; wc -c </proc/1/fd/4"); out != "85\n20971520" {
		t.Errorf("the files have %q bytes", out)
	}
}

// A root without CAP_SYS_RESOURCE, as in a container, cannot dump processes of
// other users.
func TestWithoutSysResource(t *testing.T) {
	t.Parallel()
	b := start(t, "--user", "app", baseImage, "sh", "-c", counting)
	b.await(3)
	b.untouched(func() {
		r := execute(t, exec.Command("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource", binary, "--dir", b.store, "checkpoint", b.name, "--leave-running=false"))
		if r.code != 14 || !strings.Contains(r.stderr, "runs as user 1000: CRIU cannot read its limits without CAP_SYS_RESOURCE") {
			t.Errorf("exit %d, stderr: %s", r.code, r.stderr)
		}
	})
}

// Watches of files on overlayfs, named semaphores, packet sockets and pings work
// on after a restore.
func TestKindsOfDescriptors(t *testing.T) {
	t.Parallel()
	b := start(t, append([]string{"--cap-add", "NET_RAW", "--cap-add", "SYS_ADMIN", "--sysctl", "net.ipv4.ping_group_range=0 2147483647"}, python(`
libc = ctypes.CDLL("libc.so.6", use_errno=True); libc.sem_open.restype = ctypes.c_void_p
def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), "no")
    return result
os.makedirs("/srv/a/b/c"); open("/srv/x", "w").close()
inotify = check(libc.inotify_init1(os.O_NONBLOCK))
check(libc.inotify_add_watch(inotify, b"/srv/x", 0x2)); check(libc.inotify_add_watch(inotify, b"/usr/lib/python3.11/json", 0x100))
fanotify = check(libc.fanotify_init(2, 0))
check(libc.fanotify_mark(fanotify, 1, ctypes.c_uint64(0x8000002), -100, b"/srv/a/b/c"))
semaphore = ctypes.c_void_p(libc.sem_open(b"/s", os.O_CREAT, 0o600, 0))
ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); ping.settimeout(5)
packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); packet.bind(("lo", 0)); packet.settimeout(5)
unread = check(libc.inotify_init1(0)); check(libc.inotify_add_watch(unread, b"/srv/x", 0x2))
def works():
    with open("/srv/x", "a") as f: f.write("x")
    with open("/srv/a/b/c/x", "w") as f: f.write("x")
    open("/usr/lib/python3.11/json/new", "w").close(); os.unlink("/usr/lib/python3.11/json/new")
    if os.read(inotify, 4096).count(b"new") != 1: raise Exception("inotify")
    os.close(int.from_bytes(os.read(fanotify, 24)[16:20], "little"))
    libc.sem_post(semaphore)
    if libc.sem_trywait(semaphore) != 0: raise Exception("semaphore")
    ping.sendto(b"\x08\0\0\0\0\0\0\1x", ("127.0.0.1", 0)); ping.recv(99); packet.recv(99)
def print(*args, to=print, **options): works(); to(*args, **options)
`)...)...)
	at := b.await(8)
	for range 2 {
		if r := b.must(0, "checkpoint", b.name, "--leave-running=false"); !strings.Contains(r.stderr, "the checkpoint does not include the unread events of ") {
			t.Errorf("stderr: %s", r.stderr)
		}
		b.restore()
		b.goesOn(at)
		at = b.count()
	}
}
