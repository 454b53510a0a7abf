package hold

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

const id = "c0ffee"

// pair is a connection over the loopback interface.
func pair(t *testing.T, address string) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err == nil {
		server, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return client, server
}

func flow(c net.Conn) Flow {
	return Flow{"tcp", netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(c.RemoteAddr().String())}
}

// arrives says whether a byte gets through in some time.
func arrives(t *testing.T, from, to net.Conn, limit time.Duration) bool {
	t.Helper()
	if _, err := from.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	return received(t, to, limit)
}

func received(t *testing.T, to net.Conn, limit time.Duration) bool {
	t.Helper()
	if err := to.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	_, err := to.Read(make([]byte, 1))
	if err != nil && !os.IsTimeout(err) {
		t.Fatal(err)
	}
	return err == nil
}

func TestHoldAndRelease(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		client, server := pair(t, address)
		other, otherServer := pair(t, address)
		many := []Flow{flow(client)}
		for port := range uint16(1000) { // more than a message can take
			many = append(many, Flow{"udp", netip.AddrPortFrom(many[0].Source.Addr(), port), many[0].Destination})
		}
		if err := Hold("", id, many, time.Hour); err != nil {
			t.Fatal(err)
		}
		if arrives(t, client, server, 300*time.Millisecond) {
			t.Errorf("%s: what is held arrived", address)
		}
		if !arrives(t, server, client, 10*time.Second) || !arrives(t, other, otherServer, 10*time.Second) {
			t.Errorf("%s: more is held than that", address)
		}
		if held, err := Held(""); err != nil || held[id] != len(many) {
			t.Errorf("held %v, %v", held, err)
		}
		if err := Release("", id); err != nil {
			t.Fatal(err)
		}
		if !received(t, server, 30*time.Second) {
			t.Errorf("%s: what was released is lost", address)
		}
		if held, err := Held(""); err != nil || len(held) != 0 {
			t.Errorf("held %v, %v", held, err)
		}
	}
}

// Nobody has to be there when the time is over.
func TestHoldEndsByItself(t *testing.T) {
	client, server := pair(t, "127.0.0.1:0")
	for _, limit := range []time.Duration{time.Hour, time.Second} { // the second counts
		if err := Hold("", id, []Flow{flow(client)}, limit); err != nil {
			t.Fatal(err)
		}
	}
	if arrives(t, client, server, 300*time.Millisecond) {
		t.Error("what is held arrived")
	}
	if !received(t, server, 30*time.Second) {
		t.Error("it is held for ever")
	}
	if held, err := Held(""); err != nil || held[id] != 0 || len(held) != 1 {
		t.Errorf("held %v, %v", held, err)
	}
	for range 2 { // and what is not held can be released
		if err := Release("", id); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsNoFlowIsRefused(t *testing.T) {
	for _, f := range []Flow{
		{"sctp", netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1")},
		{"tcp", netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[::1]:1")},
	} {
		if err := Hold("", id, []Flow{f}, time.Hour); err == nil || !strings.Contains(err.Error(), fmt.Sprint(f.Source)) {
			t.Errorf("%v: %v", f, err)
		}
	}
	if held, err := Held(""); err != nil || len(held) != 0 {
		t.Errorf("held %v, %v", held, err)
	}
}
