package sockdiag

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMPTCP(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err != nil {
		t.Skip("no MPTCP here:", err)
	}
	_ = unix.Close(fd)
	for address, mptcp := range map[string]bool{"127.0.0.1:0": true, "[::1]:0": true, "127.0.0.2:0": false} {
		var config net.ListenConfig
		config.SetMultipathTCP(mptcp)
		l, err := config.Listen(context.Background(), "tcp", address)
		if err != nil {
			t.Log(address, "cannot be listened on:", err)
			continue
		}
		defer func() { _ = l.Close() }()
		want := netip.MustParseAddrPort(l.Addr().String())
		found, err := MPTCP("")
		if err != nil {
			t.Fatal(err)
		}
		inode := inodeOf(t, l)
		if got, ok := found[inode]; ok != mptcp || ok && got != want {
			t.Errorf("%s: socket %d in %v: want %v", address, inode, found, mptcp)
		}
	}
}

func inodeOf(t *testing.T, l net.Listener) uint64 {
	t.Helper()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestParseOfAShortAnswer(t *testing.T) {
	if _, _, ok := parse(make([]byte, answerSize-1)); ok {
		t.Error("taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(make([]byte, answerSize))
	f.Fuzz(func(t *testing.T, m []byte) {
		if _, _, ok := parse(m); ok != (len(m) >= answerSize) {
			t.Errorf("%d bytes: %v", len(m), ok)
		}
	})
}
