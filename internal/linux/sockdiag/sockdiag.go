// Package sockdiag asks the kernel for the sockets of a network namespace,
// sock_diag(7).
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	var c *netlink.Conn
	// Only the socket has to be made there: on a thread of its own a wait is slow.
	err := netns.Do(ns, func() (err error) { c, err = netlink.Dial(unix.NETLINK_SOCK_DIAG, nil); return err })
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	defer func() { _ = c.Close() }()
	found := map[uint64]netip.AddrPort{}
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		answers, err := c.Execute(netlink.Message{
			Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump},
			Data:   request(family, unix.IPPROTO_MPTCP),
		})
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
			continue // no MPTCP, no IPv6, or no module to ask
		case err != nil:
			return nil, fmt.Errorf("listing MPTCP sockets: %w", err)
		}
		for _, a := range answers {
			if inode, address, ok := parse(a.Data); ok && inode != 0 {
				found[inode] = address
			}
		}
	}
	return found, nil
}

// request asks for sockets in every state.
func request(family uint8, protocol uint32) []byte {
	r := make([]byte, requestSize, requestSize+8)
	r[0], r[1] = family, uint8(min(protocol, 255))
	binary.NativeEndian.PutUint32(r[4:], 1<<32-1)
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
