package linux

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

func TestParseCgroups(t *testing.T) {
	for name, test := range map[string]struct {
		text, mode, path string
	}{
		"v1":     {"4:freezer:/docker/x\n3:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n", "v1", "/docker/x"},
		"hybrid": {"4:cpu,freezer:/docker/x\n0::/system.slice\n", "hybrid", "/docker/x"},
		"v2":     {"0::/system.slice/docker-x.scope\n", "v2", "/system.slice/docker-x.scope"},
		"colon":  {"0::/a:b\n", "v2", "/a:b"},
		"none":   {"", "v1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := parseCgroups(test.text)
			if c.Mode != test.mode || c.Path() != test.path {
				t.Errorf("mode %q path %q, want %q %q", c.Mode, c.Path(), test.mode, test.path)
			}
		})
	}
}

func TestHasPeers(t *testing.T) {
	const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	line := func(state string) string {
		return "   0: 0100007F:0CEA 00000000:0000 " + state + " 00000000:00000000 00:00000000 00000000     0        0 20 1\n"
	}
	for table, want := range map[string]bool{
		"": false, header: false, header + line("0A"): false, header + line("0A") + line("06") + line("07"): false,
		header + line("0A") + line("01"): true, header + line("08"): true, header + line("02"): true, header + "odd\n": true,
	} {
		if got := hasPeers(table); got != want {
			t.Errorf("%q: got %v", table, got)
		}
	}
}

func TestParseSockstat(t *testing.T) {
	v4 := "sockets: used 9\nTCP: inuse 2 orphan 1 tw 3 alloc 4 mem 5\nUDP: inuse 6 mem 7\nUDPLITE: inuse 8\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n"
	v6 := "TCP6: inuse 1\nUDP6: inuse 0\nUDPLITE6: inuse 2\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
	for _, test := range []struct {
		text, protocol string
		want           int
	}{{v4, "TCP", 2}, {v4, "UDP", 6}, {v6, "TCP", 1}, {v6, "UDP", 0}} {
		if n, err := parseSockstat(test.text, test.protocol); err != nil || n != test.want {
			t.Errorf("%s in %q: %d, %v", test.protocol, test.text, n, err)
		}
	}
	for _, text := range []string{"", "TCP: inuse\n", "TCP: inuse x\n", "TCP: alloc 3 inuse 2\n"} {
		if n, err := parseSockstat(text, "TCP"); err == nil {
			t.Errorf("%q: %d", text, n)
		}
	}
}

// What listens has no peer, what is connected has.
func TestConnected(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	runtime.LockOSThread() // for good: the thread's namespace is another
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	look := func(what string, connected, udp bool) {
		t.Helper()
		if c, u := Connected(unix.Gettid()), HasUDP(unix.Gettid()); c != connected || u != udp {
			t.Errorf("%s: connected %v, UDP %v", what, c, u)
		}
	}
	look("nothing", false, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	look("a listener", false, false)
	u, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	look("UDP", false, true)
	_ = u.Close()
	// Dialing goes on in other threads.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	look("a connection", true, false)
}

func TestFreezerDir(t *testing.T) {
	v1, v2 := "cgroup", "cgroup2"
	mounted := []*mountinfo.Info{
		{FSType: v1, VFSOptions: "rw,cpu", Root: "/", Mountpoint: "/cg/cpu"},
		{FSType: v1, VFSOptions: "rw,freezer", Root: "/host", Mountpoint: "/cg/freezer"},
		{FSType: v2, Root: "/", Mountpoint: "/cg/unified"},
	}
	for name, test := range map[string]struct{ v1, v2, want string }{
		"v1":                      {"/host/docker/abc", "", "/cg/freezer/docker/abc"},
		"not mounted":             {"/docker/abc", "", ""},
		"hybrid":                  {"/host/docker/abc", "/docker/abc", "/cg/freezer/docker/abc"},
		"hybrid, v1 not mounted":  {"/docker/abc", "/docker/abc", "/cg/unified/docker/abc"},
		"v2":                      {"", "/docker-abc.scope", "/cg/unified/docker-abc.scope"},
		"systemd in it":           {"", "/docker/abc/init.scope", "/cg/unified/docker/abc"},
		"v2 without the name":     {"", "/docker", "/cg/unified/docker"},
		"v1 and v2 without names": {"/host", "/", "/cg/freezer"},
	} {
		text := ""
		if test.v1 != "" {
			text += "3:freezer:" + test.v1 + "\n"
		}
		if test.v2 != "" {
			text += "0::" + test.v2 + "\n"
		}
		got, v2, err := parseCgroups(text).among(mounted, freezerController, "abc")
		if got != test.want || (err == nil) != (test.want != "") || err == nil && v2 != strings.HasPrefix(got, "/cg/unified") {
			t.Errorf("%s: %s, %v, %v", name, got, v2, err)
		}
	}
}

// What holds others' tasks, too, is not to be frozen.
func TestNoFreezerOfOthers(t *testing.T) {
	c, err := ReadCgroups(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "no-such-container"} {
		if f, err := c.Freezer(name); err == nil {
			t.Errorf("%q: %+v", name, f)
		}
	}
}

// The file is one of the kernel's: nothing is made where it is not.
func TestFreezeAndThaw(t *testing.T) {
	f := Freezer{dir: t.TempDir(), v2: true}
	if err := f.Freeze(); err == nil || f.Frozen() {
		t.Errorf("froze what is not there: %v", err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "cgroup.freeze"), []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Freeze(); err != nil || !f.Frozen() {
		t.Errorf("frozen %v, %v", f.Frozen(), err)
	}
	if err := f.Thaw(); err != nil || f.Frozen() {
		t.Errorf("frozen %v, %v", f.Frozen(), err)
	}
}

func TestOwnProcess(t *testing.T) {
	pid := os.Getpid()
	if p := Parent(pid); p != os.Getppid() {
		t.Errorf("parent %d", p)
	}
	if dir, _ := os.Getwd(); WorkingDir(pid) != dir {
		t.Errorf("working directory %s", WorkingDir(pid))
	}
	if !slices.Contains(Sharing(pid, "pid"), pid) {
		t.Error("not in its own namespace")
	}
	list, err := Namespaces(pid, []Process{{"parent", os.Getppid()}})
	if err != nil || len(list) == 0 {
		t.Errorf("%v, %v", list, err)
	}
	for _, n := range list {
		if n.SharedWith != "host" {
			t.Errorf("%+v", n)
		}
	}
	if n, err := Memory(pid); n == 0 || err != nil {
		t.Errorf("memory %d, %v", n, err)
	}
	// 2^22 is the most that pid_max can be.
	if _, err := Memory(1<<22 + 1); err == nil || Traced(1<<22+1) || Parent(1<<22+1) != 0 {
		t.Errorf("no such process: %v", err)
	}
}

func TestDying(t *testing.T) {
	const rest = " 1 7 7 0 -1 "
	for stat, want := range map[string]bool{
		"7 (sh) S" + rest + "4194560 1 2": false, "7 (a) Z) S" + rest + "4194560 1": false,
		"7 (sh) Z" + rest + "4194560 1": true, "7 (sh) S" + rest + "4194564 1": true, "odd": false,
	} {
		if got := dying(stat); got != want {
			t.Errorf("%q: %v", stat, got)
		}
	}
	if !killed("0000000000000100") || killed("0000000000000200") || killed("") {
		t.Error("SIGKILL is not told from others")
	}
	if Dying(os.Getpid()) || !Dying(1<<30) {
		t.Error("the living is not told from the gone")
	}
}
