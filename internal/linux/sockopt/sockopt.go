// Package sockopt reads and sets the options of other processes' sockets that CRIU (4.2)
// does not restore. It needs pidfd_getfd(2), Linux 5.6.
package sockopt

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Socket is one of a process, and what a new socket of its kind does not have.
type Socket struct {
	PID, FD                int            // in the pid namespace of the container
	Domain, Type, Protocol int            // see socket(2)
	Options                map[string]int // by the names of the C headers
	Congestion             string         // TCP's algorithm
	Interface              string         // for multicast by IPv6
	Groups                 []Group        // that it receives; those without filters of sources
}

// Group is a multicast group at an interface. It has no name of its own, so that a Socket
// can be converted to what a record has.
type Group = struct {
	Interface string
	Address   netip.Addr
}

// kind is what a socket is made as.
type kind struct{ domain, typ, protocol int }

// option is one with an int for a value.
type option struct {
	name        string
	level, code int
	of          func(kind) bool
}

func inet4(k kind) bool    { return k.domain == unix.AF_INET }
func inet6(k kind) bool    { return k.domain == unix.AF_INET6 }
func tcp(k kind) bool      { return k.protocol == unix.IPPROTO_TCP }
func udp(k kind) bool      { return k.protocol == unix.IPPROTO_UDP }
func packets(k kind) bool  { return k.typ == unix.SOCK_DGRAM || k.typ == unix.SOCK_RAW }
func packets4(k kind) bool { return inet4(k) && packets(k) }
func packets6(k kind) bool { return inet6(k) && packets(k) }
func all(kind) bool        { return true }

// options are those that neither CRIU restores nor the kernel changes by itself, and that
// no privilege is needed for: a checkpoint may come from elsewhere.
var options = []option{
	{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_OLD, packets},
	{"SO_RXQ_OVFL", unix.SOL_SOCKET, unix.SO_RXQ_OVFL, packets},
	{"SO_ZEROCOPY", unix.SOL_SOCKET, unix.SO_ZEROCOPY, all},

	{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, inet6}, // CRIU restores both for IPv4
	{"IP_TTL", unix.IPPROTO_IP, unix.IP_TTL, inet6},
	{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, packets6},
	{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, all},
	{"IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, all},
	{"IP_RECVTTL", unix.IPPROTO_IP, unix.IP_RECVTTL, packets},
	{"IP_RECVTOS", unix.IPPROTO_IP, unix.IP_RECVTOS, packets},
	{"IP_RECVORIGDSTADDR", unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, packets},
	{"IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, all},
	{"IP_MINTTL", unix.IPPROTO_IP, unix.IP_MINTTL, all},
	{"IP_MULTICAST_IF", unix.IPPROTO_IP, unix.IP_MULTICAST_IF, packets4}, // an address
	{"IP_MULTICAST_TTL", unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, packets4},
	{"IP_MULTICAST_LOOP", unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, packets4},

	{"IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, inet6},
	{"IPV6_UNICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, inet6},
	{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, inet6},
	{"IPV6_RECVERR", unix.IPPROTO_IPV6, unix.IPV6_RECVERR, inet6},
	{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, packets6},
	{"IPV6_RECVHOPLIMIT", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, packets6},
	{"IPV6_RECVTCLASS", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, packets6},
	{"IPV6_MULTICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, packets6},
	{"IPV6_MULTICAST_LOOP", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, packets6},

	{"TCP_SYNCNT", unix.IPPROTO_TCP, unix.TCP_SYNCNT, tcp},
	{"TCP_LINGER2", unix.IPPROTO_TCP, unix.TCP_LINGER2, tcp},
	{"TCP_DEFER_ACCEPT", unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, tcp},
	{"TCP_THIN_LINEAR_TIMEOUTS", unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS, tcp},
	{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, tcp},
	{"TCP_FASTOPEN", unix.IPPROTO_TCP, unix.TCP_FASTOPEN, tcp},
	{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, tcp},
	{"TCP_SAVE_SYN", unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, tcp},

	{"UDP_SEGMENT", unix.IPPROTO_UDP, unix.UDP_SEGMENT, udp},
	{"UDP_GRO", unix.IPPROTO_UDP, unix.UDP_GRO, udp},
}

// values are what a socket has of the options, by name. One that the kernel does not know
// is left out.
func (k kind) values(fd int) map[string]int {
	values := map[string]int{}
	for _, o := range options {
		if o.of(k) {
			if v, err := unix.GetsockoptInt(fd, o.level, o.code); err == nil {
				values[o.name] = v
			}
		}
	}
	return values
}

// kindOf returns what a descriptor was made as; ok for a socket of IPv4 or IPv6.
func kindOf(fd int) (k kind, ok bool) {
	for code, to := range map[int]*int{unix.SO_DOMAIN: &k.domain, unix.SO_TYPE: &k.typ, unix.SO_PROTOCOL: &k.protocol} {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, code)
		if err != nil {
			return k, false
		}
		*to = v
	}
	return k, inet4(k) || inet6(k)
}

func (s Socket) String() string {
	return fmt.Sprintf("socket %d of process %d", s.FD, s.PID)
}
