// Package sockdiag asks the kernel for the sockets of a network namespace,
// sock_diag(7).
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// The parts of linux/inet_diag.h that are used here.
const (
	sockDiagByFamily = 20
	requestProtocol  = 3  // INET_DIAG_REQ_PROTOCOL, for protocols above 255
	requestSize      = 56 // struct inet_diag_req_v2
	answerSize       = 72 // struct inet_diag_msg
	portAt, addrAt   = 4, 8
	inodeAt          = 68
)

// MPTCP returns the local addresses of the MPTCP sockets in the network namespace
// at a path (empty for the caller's own), by the inode of the socket. Those that
// are neither bound nor connected are not among them. A kernel that cannot tell
// has none.
func MPTCP(ns string) (map[uint64]netip.AddrPort, error) {
	c, err := dial(ns)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	found := map[uint64]netip.AddrPort{}
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		if err := list(c, request(family, unix.IPPROTO_MPTCP, every), found); err != nil {
			return nil, fmt.Errorf("listing MPTCP sockets: %w", err)
		}
	}
	return found, nil
}

// LinkLocal returns the local addresses of the established TCP connections of
// link-local addresses, as MPTCP does.
func LinkLocal(ns string) (map[uint64]netip.AddrPort, error) {
	c, err := dial(ns)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	found := map[uint64]netip.AddrPort{}
	if err := list(c, request(unix.AF_INET6, unix.IPPROTO_TCP, connected), found); err != nil {
		return nil, fmt.Errorf("listing TCP sockets: %w", err)
	}
	maps.DeleteFunc(found, func(_ uint64, a netip.AddrPort) bool { return !a.Addr().IsLinkLocalUnicast() })
	return found, nil
}

// dial returns a socket of the namespace. Only it has to be made there: on a
// thread of its own a wait is slow.
func dial(ns string) (c *netlink.Conn, err error) {
	err = netns.Do(ns, func() (err error) { c, err = netlink.Dial(unix.NETLINK_SOCK_DIAG, nil); return err })
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	return c, nil
}

// list adds the sockets of an answer.
func list(c *netlink.Conn, request []byte, to map[uint64]netip.AddrPort) error {
	answers, err := ask(c, request)
	for _, a := range answers {
		if inode, address, ok := parse(a.Data); ok && inode != 0 {
			to[inode] = address
		}
	}
	return err
}

// ask returns no answers where there is no such protocol, no IPv6, or no module to
// ask.
func ask(c *netlink.Conn, request []byte) ([]netlink.Message, error) {
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump}, Data: request,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	return answers, err
}

// Sets of states, see include/net/tcp_states.h.
const (
	every     = 1<<32 - 1
	connected = every &^ (1<<unix.BPF_TCP_LISTEN | 1<<unix.BPF_TCP_CLOSE | 1<<unix.BPF_TCP_TIME_WAIT)
)

// request asks for the sockets in some states.
func request(family uint8, protocol, states uint32) []byte {
	r := make([]byte, requestSize, requestSize+8)
	r[0], r[1] = family, uint8(min(protocol, 255))
	binary.NativeEndian.PutUint32(r[4:], states)
	r = binary.NativeEndian.AppendUint16(r, 8)
	r = binary.NativeEndian.AppendUint16(r, requestProtocol)
	return binary.NativeEndian.AppendUint32(r, protocol)
}

// parse reads an inet_diag_msg.
func parse(m []byte) (inode uint64, local netip.AddrPort, ok bool) {
	if len(m) < answerSize {
		return 0, local, false
	}
	address := netip.AddrFrom4([4]byte(m[addrAt:]))
	if m[0] == unix.AF_INET6 {
		address = netip.AddrFrom16([16]byte(m[addrAt:]))
	}
	return uint64(binary.NativeEndian.Uint32(m[inodeAt:])), netip.AddrPortFrom(address, binary.BigEndian.Uint16(m[portAt:])), true
}
