//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	known "github.com/ti-mo/conntrack"

	"github.com/checkpointctl/checkpointctl/internal/linux/conntrack"
	"github.com/checkpointctl/checkpointctl/internal/linux/hold"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// neighbour is a network namespace with a cable to the host.
type neighbour struct{ path, host, own string }

func newNeighbour(t *testing.T) neighbour {
	t.Helper()
	id := serial.Add(1)
	name := fmt.Sprintf("%sn%d", prefix, id)
	cable := fmt.Sprintf("ck%dn%d", os.Getpid(), id) // 15 characters at most
	n := neighbour{"/run/netns/" + name, fmt.Sprintf("10.213.%d.1", id%256), fmt.Sprintf("10.213.%d.2", id%256)}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	for _, line := range []string{
		"netns add " + name,
		"link add " + cable + " type veth peer name eth0 netns " + name,
		"addr add " + n.host + "/30 dev " + cable,
		"link set " + cable + " up",
		"-n " + name + " addr add " + n.own + "/30 dev eth0",
		"-n " + name + " link set eth0 up",
		"-n " + name + " route add default via " + n.host,
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	return n
}

// dial connects from the namespace.
func (n neighbour) dial(t *testing.T, address string) (c net.Conn) {
	t.Helper()
	err := netns.Do(n.path, func() (err error) {
		c, err = net.DialTimeout("tcp", address, 5*time.Second*time.Duration(slow))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// speaker sends to its client what is written to /tmp/say, and on its own.
const speaker = `mkfifo /tmp/say; exec 3<>/tmp/say; echo 1; nc -l -p 7000 <&3; sleep 1000`

// published starts a container whose port 7000 is a port of the host's.
func published(t *testing.T, command ...string) (b *box, port string) {
	t.Helper()
	// CRIU takes no MPTCP.
	b = start(t, append([]string{"-p", "7000", "-e", "GODEBUG=multipathtcp=0", baseImage}, command...)...)
	for _, bindings := range b.inspect().NetworkSettings.Ports {
		for _, at := range bindings {
			port = at.HostPort
		}
	}
	return b, port
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

// A client of a published port goes on: what the restored container sends is
// translated as before, and so is what the client sends, also while the container
// is away, and when a first restore failed.
func TestPublishedConnectionGoesOn(t *testing.T) {
	n := newNeighbour(t)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	port := addrPort(l.Addr()).Port()
	_ = l.Close()
	network := prefix + "clients"
	docker(t, "network", "create", "--subnet", "10.214.78.0/24", network)
	t.Cleanup(func() { _ = exec.Command("docker", "network", "rm", network).Run() })
	b := start(t, "--network", network, "--ip", "10.214.78.9", "-p", fmt.Sprintf("%d:7000", port), "-e", "GODEBUG=multipathtcp=0", baseImage, "/workload", "server")
	if !until(10*time.Second, func() bool { return accepts(b.address() + ":7000") }) {
		t.Fatalf("no server: %s", b.logs("5"))
	}
	c := n.dial(t, fmt.Sprintf("%s:%d", n.host, port))
	answers := bufio.NewReader(c)
	waiting := false
	for i := 1; i < 8; i += 2 {
		_ = c.SetDeadline(time.Now().Add(time.Duration(20*slow) * time.Second))
		if !waiting {
			fmt.Fprintln(c, i)
		}
		if line, err := answers.ReadString('\n'); err != nil || line != fmt.Sprintln(i+1) {
			t.Fatalf("%d is answered by %q, %v", i, line, err)
		}
		b.checkpoint("--leave-running=false")
		if waiting = i > 1; waiting {
			fmt.Fprintln(c, i+2)
			time.Sleep(500 * time.Millisecond) // it is sent again meanwhile
		}
		if i == 5 {
			b.failsToRestore(port)
		}
		b.restore()
		if held, err := hold.Held(""); err != nil || held[b.inspect().ID] != 0 {
			t.Errorf("held: %v, %v", held, err)
		}
	}
}

// failsToRestore lets a restore fail, after which the clients are held for the next.
func (b *box) failsToRestore(port uint16) {
	b.t.Helper()
	taken, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		b.t.Fatal(err)
	}
	defer taken.Close()
	if r := b.must(23, "restore", b.name); !strings.Contains(r.stderr, b.name+": what its clients send is dropped until it is restored") {
		b.t.Errorf("stderr: %s", r.stderr)
	}
}

func TestPublishedConnectionsAreRecorded(t *testing.T) {
	for _, leaveRunning := range []string{"true", "false"} {
		n := newNeighbour(t)
		b, port := published(t, "/workload", "server")
		if !until(10*time.Second, func() bool { return accepts(b.address() + ":7000") }) {
			t.Fatalf("no server: %s", b.logs("5"))
		}
		c := n.dial(t, n.host+":"+port)
		fmt.Fprintln(c, 1)
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "2\n" {
			t.Fatalf("%q, %v", line, err)
		}
		proxied, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer proxied.Close()
		fmt.Fprintln(proxied, 1)
		if line, err := bufio.NewReader(proxied).ReadString('\n'); err != nil || line != "2\n" {
			t.Fatalf("%q, %v", line, err)
		}
		run := b.must(0, "checkpoint", b.name, "--name", "x", "--leave-running="+leaveRunning)
		if !strings.Contains(run.stderr, b.name+": 1 connection goes through docker-proxy") {
			t.Errorf("leave-running=%s: stderr %q", leaveRunning, run.stderr)
		}
		r := b.stored("x")
		server := netip.AddrPortFrom(netip.MustParseAddr(r.Networks[0].IP), 7000)
		client, at := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
		found := 0
		for _, e := range r.Connections {
			if e.Source == client && e.Destination == at && e.ReplySource == server && e.ReplyDestination == client &&
				e.Protocol == conntrack.TCP && e.State == 3 && e.TimeoutSeconds > 1000 && e.Status&(1<<5) != 0 {
				found++
			} else if e.Source.Addr() == netip.MustParseAddr("172.17.0.1") && e.State == 3 && len(r.ProxiedConnections) == 1 && e.Source == r.ProxiedConnections[0].Peer {
				t.Errorf("leave-running=%s: what docker-proxy relays counts as restorable: %v", leaveRunning, e)
			}
		}
		if found != 1 {
			t.Errorf("leave-running=%s: %v -> %v is not in %+v", leaveRunning, client, at, r.Connections)
		}
		if len(r.ProxiedConnections) != 1 || r.ProxiedConnections[0].Address != server {
			t.Errorf("leave-running=%s: through docker-proxy: %v", leaveRunning, r.ProxiedConnections)
		}
	}
}

func accepts(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// A client that only listens hears the container again when its entry was put
// back, and is reset when it was not.
func TestEntriesThatAreBackTranslate(t *testing.T) {
	for _, put := range []bool{true, false} {
		n := newNeighbour(t)
		b, port := published(t, "sh", "-c", speaker)
		var c net.Conn
		b.await(0)
		if !until(10*time.Second, func() bool { return strings.Contains(b.inNet("cat", "/proc/net/tcp", "/proc/net/tcp6"), ":1B58 ") }) {
			t.Fatal("nobody listens")
		}
		c = n.dial(t, n.host+":"+port)
		say := func(word string) { docker(t, "exec", b.name, "sh", "-c", "echo "+word+" >/tmp/say") }
		in := bufio.NewReader(c)
		say("before")
		if line, err := in.ReadString('\n'); err != nil || line != "before\n" {
			t.Fatalf("%q, %v", line, err)
		}
		entries, err := conntrack.List("", []netip.Addr{netip.MustParseAddr(b.address())})
		if err != nil || len(entries) != 1 {
			t.Fatalf("%v, %v", entries, err)
		}
		forget(t, entries[0])
		if put {
			if err := conntrack.Put("", entries); err != nil {
				t.Fatal(err)
			}
		}
		say("after")
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second * time.Duration(slow)))
		line, err := in.ReadString('\n')
		if put && (err != nil || line != "after\n") {
			t.Errorf("with its entry: %q, %v", line, err)
		}
		// Masqueraded to another port, or rejected: it does not arrive.
		if !put && err == nil {
			t.Errorf("without its entry: %q, so that this test shows nothing", line)
		}
		if !put && !errors.Is(err, syscall.ECONNRESET) {
			t.Logf("without its entry: %v", err)
		}
	}
}

// forget removes an entry, as Docker does when a container stops.
func forget(t *testing.T, e conntrack.Entry) {
	t.Helper()
	c, err := known.Dial(nil)
	if err == nil {
		defer func() { _ = c.Close() }()
		err = c.Delete(known.NewFlow(6, 0, e.Source.Addr(), e.Destination.Addr(), e.Source.Port(), e.Destination.Port(), 0, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
}
