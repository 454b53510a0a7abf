package sockdiag

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Inet is a TCP or UDP socket.
type Inet struct {
	Local, Remote netip.AddrPort
	Listens       bool   // a TCP socket
	Inode         uint64 // 0 for one that no process has any more
}

const remotePortAt, remoteAddrAt, stateAt = 6, 24, 1

// InetSockets returns the sockets of a protocol (unix.IPPROTO_TCP or _UDP) in the
// network namespace at a path, in every state.
func InetSockets(ns string, protocol uint32) ([]Inet, error) {
	c, err := dial(ns)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	var found []Inet
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		answers, err := ask(c, request(family, protocol, every))
		if err != nil {
			return nil, fmt.Errorf("listing sockets: %w", err)
		}
		for _, a := range answers {
			inode, local, ok := parse(a.Data)
			if !ok {
				continue
			}
			remote := netip.AddrFrom4([4]byte(a.Data[remoteAddrAt:]))
			if a.Data[0] == unix.AF_INET6 {
				remote = netip.AddrFrom16([16]byte(a.Data[remoteAddrAt:]))
			}
			found = append(found, Inet{
				Local: unmapped(local), Remote: unmapped(netip.AddrPortFrom(remote, binary.BigEndian.Uint16(a.Data[remotePortAt:]))),
				Listens: a.Data[stateAt] == unix.BPF_TCP_LISTEN, Inode: inode,
			})
		}
	}
	return found, nil
}

// unmapped is an IPv4 address as it is, also where an IPv6 socket has it.
func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
