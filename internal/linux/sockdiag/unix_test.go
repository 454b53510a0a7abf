package sockdiag

import (
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnixSockets(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("unixgram", name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) }()
	found, err := UnixSockets("")
	if err != nil {
		t.Fatal(err)
	}
	var bound, client uint64
	for inode, u := range found {
		if u.Name == name {
			bound = inode
		}
	}
	for inode, u := range found {
		if bound != 0 && u.Peer == bound {
			client = inode
		}
	}
	if client == 0 || found[client].Stream || found[client].Name != "" {
		t.Errorf("%s is %d, its client %d: %+v", name, bound, client, found[client])
	}
	a, b := inode(t, pair[0]), inode(t, pair[1])
	if found[a] != (Unix{Stream: true, Peer: b}) || found[b] != (Unix{Stream: true, Peer: a}) {
		t.Errorf("%+v, %+v", found[a], found[b])
	}
}

func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestLinkLocal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	found, err := LinkLocal("")
	if err != nil {
		t.Fatal(err)
	}
	for inode, address := range found {
		if !address.Addr().IsLinkLocalUnicast() {
			t.Errorf("%d: %s", inode, address)
		}
	}
}

func FuzzParseUnix(f *testing.F) {
	f.Add(make([]byte, unixAnswerSize))
	f.Add(append(make([]byte, unixAnswerSize), 8, 0, attributePeer, 0, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, m []byte) {
		if _, _, ok := parseUnix(m); ok && len(m) < unixAnswerSize {
			t.Errorf("%d bytes", len(m))
		}
	})
}
