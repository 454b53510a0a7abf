package dockerproxy

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// proxy makes a directory as /proc has it of this process, with another name.
func proxy(t *testing.T, name string) string {
	t.Helper()
	proc := t.TempDir()
	dir := filepath.Join(proc, "17")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "comm"), []byte(name+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"fd", "net"} {
		if err := os.Symlink("/proc/self/"+link, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	// Others that are about to end, or have no files to be read.
	for _, other := range []string{"18", "19"} {
		if err := os.MkdirAll(filepath.Join(proc, other), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(proc, "19", "comm"), []byte("docker-proxy\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return proc
}

func TestConnections(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		container := netip.MustParseAddr(host)
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want := Connection{Peer: netip.MustParseAddrPort(c.LocalAddr().String()), Address: netip.MustParseAddrPort(l.Addr().String())}
		got, err := find(proxy(t, "docker-proxy"), []netip.Addr{container})
		if err != nil || !reflect.DeepEqual(got, []Connection{want}) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
		if got, err := find(proxy(t, "docker-proxy"), []netip.Addr{netip.MustParseAddr("192.0.2.1")}); err != nil || got != nil {
			t.Errorf("of another container: %v, %v", got, err)
		}
		if got, err := find(proxy(t, "curl"), []netip.Addr{container}); err != nil || got != nil {
			t.Errorf("of another process: %v, %v", got, err)
		}
	}
}

func TestLinesOfTheTable(t *testing.T) {
	const line = "   3: 010011AC:A3D2 020011AC:0050 01 00000000:00000000 00:00000000 00000000     0        0 70116 1 0000000000000000 20 4 30 10 -1\n"
	c, inode, ok := established(line)
	if want := (Connection{netip.MustParseAddrPort("172.17.0.1:41938"), netip.MustParseAddrPort("172.17.0.2:80")}); !ok || c != want || inode != "70116" {
		t.Errorf("%v %s %v", c, inode, ok)
	}
	for _, bad := range []string{"", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "0: x:1 y:2 01 0 0 0 0 0 1", "0: 01:1 02:2 01 0 0 0 0 0 1"} {
		if c, _, ok := established(bad); ok {
			t.Errorf("%q: %v", bad, c)
		}
	}
}
