package sockopt

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func newSocket(t *testing.T, domain, typ int) int {
	t.Helper()
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// read returns what this process's sockets are found to have.
func read(t *testing.T) map[int]Socket {
	t.Helper()
	list, err := Read(os.Getpid(), Processes{1: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]Socket{}
	for _, s := range list {
		if s.PID != 1 {
			t.Errorf("%+v", s)
		}
		found[s.FD] = s
	}
	return found
}

// What a socket has is found, and given to another.
func TestOptions(t *testing.T) {
	tcpFrom, tcpTo := newSocket(t, unix.AF_INET, unix.SOCK_STREAM), newSocket(t, unix.AF_INET, unix.SOCK_STREAM)
	udpFrom, udpTo := newSocket(t, unix.AF_INET, unix.SOCK_DGRAM), newSocket(t, unix.AF_INET, unix.SOCK_DGRAM)
	if found := read(t); found[tcpFrom].Type != 0 || found[udpFrom].Type != 0 {
		t.Fatalf("new sockets have %+v", found)
	}
	group := Group{"lo", netip.MustParseAddr("239.1.2.3")}
	if err := errors.Join(
		unix.SetsockoptInt(tcpFrom, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 5000),
		unix.SetsockoptString(tcpFrom, unix.IPPROTO_TCP, unix.TCP_CONGESTION, otherCongestion(t, tcpFrom)),
		unix.SetsockoptInt(udpFrom, unix.IPPROTO_IP, unix.IP_RECVERR, 1),
		unix.SetsockoptInt(udpFrom, unix.IPPROTO_IP, unix.IP_TTL, 9), // which CRIU restores
		join(udpFrom, group),
	); err != nil {
		t.Fatal(err)
	}
	found := read(t)
	if got := found[tcpFrom]; !maps.Equal(got.Options, map[string]int{"TCP_USER_TIMEOUT": 5000}) || got.Congestion != congestion(tcpFrom) || got.Groups != nil {
		t.Errorf("TCP: %#v", got)
	}
	if got := found[udpFrom]; !maps.Equal(got.Options, map[string]int{"IP_RECVERR": 1}) || !slices.Equal(got.Groups, []Group{group}) {
		t.Errorf("UDP: %#v", got)
	}
	give := func(from, to int) {
		t.Helper()
		s := found[from]
		s.FD = to
		if failed := Set(os.Getpid(), Processes{1: os.Getpid()}, []Socket{s}); len(failed) != 0 {
			t.Error(failed)
		}
		if got := read(t)[to]; !reflect.DeepEqual(got, s) {
			t.Errorf("got %#v, want %#v", got, s)
		}
	}
	give(tcpFrom, tcpTo)
	give(udpFrom, udpTo)
	give(udpFrom, udpTo) // again
	// Another kind of socket has the number now, or none.
	wrong := found[tcpFrom]
	for _, wrong.FD = range []int{udpTo, 0, 1 << 20} {
		if failed := Set(os.Getpid(), Processes{1: os.Getpid()}, []Socket{wrong}); len(failed) != 0 {
			t.Errorf("%v: %v", wrong, failed)
		}
	}
	bad := Socket{
		PID: 1, FD: udpTo, Domain: unix.AF_INET, Type: unix.SOCK_DGRAM, Protocol: unix.IPPROTO_UDP, Congestion: "of TCP",
		Options: map[string]int{"IP_MTU_DISCOVER": 99, "SO_MARK": 1, "TCP_SYNCNT": 1}, Groups: []Group{{"none0", group.Address}},
	}
	var texts []string
	for _, err := range Set(os.Getpid(), Processes{1: os.Getpid()}, []Socket{bad}) {
		texts = append(texts, err.Error())
	}
	if text := strings.Join(texts, "\n"); len(texts) != 2 || !strings.Contains(text, "IP_MTU_DISCOVER") || !strings.Contains(text, "group 239.1.2.3 at none0") {
		t.Errorf("failed: %s", text)
	}
}

func otherCongestion(t *testing.T, fd int) string {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(text)) {
		if name != congestion(fd) {
			return name
		}
	}
	t.Fatal("there is one congestion algorithm only")
	return ""
}

// No module is loaded because a checkpoint names it.
func TestUnknownCongestion(t *testing.T) {
	fd := newSocket(t, unix.AF_INET, unix.SOCK_STREAM)
	if err := setCongestion(fd, "nosuch"); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}

func TestGroupsOfIPv6(t *testing.T) {
	fd := newSocket(t, unix.AF_INET6, unix.SOCK_DGRAM)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	g := Group{"lo", netip.MustParseAddr("ff02::1234")}
	if err := errors.Join(join(fd, g), unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, lo.Index)); err != nil {
		t.Fatal(err)
	}
	if got := read(t)[fd]; !slices.Equal(got.Groups, []Group{g}) || got.Interface != "lo" {
		t.Errorf("%#v", got)
	}
}

func TestParseGroups(t *testing.T) {
	got := parseIGMP("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n" +
		"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n" +
		"2\teth0      :     2      V3\n\t\t\t\t030201EF     1 0:00000000\t\t0\n\t\t\t\t010000E0     1 0:00000000\t\t0\n")
	if want := []Group{{"eth0", netip.MustParseAddr("239.1.2.3")}}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	got = parseIGMP6("1    lo              ff020000000000000000000000000001     1 0000000C 0\n2    eth0            ff0200000000000000000001ff000001     1 00000004 0\nx\n")
	if want := []Group{{"eth0", netip.MustParseAddr("ff02::1:ff00:1")}}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
