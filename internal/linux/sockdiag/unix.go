package sockdiag

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Unix is a unix socket.
type Unix struct {
	Stream bool   // or SOCK_SEQPACKET
	Peer   uint64 // the inode of the other end; 0 for none, or one that nobody has accepted
	Name   string // that it is bound to; an abstract one begins with a zero
}

// The parts of linux/unix_diag.h that are used here.
const (
	unixRequestSize = 24 // struct unix_diag_req
	unixAnswerSize  = 16 // struct unix_diag_msg
	showName        = 1
	showPeer        = 4
	attributeName   = 0
	attributePeer   = 2
)

// UnixSockets returns the unix sockets that were made in the network namespace at
// a path, by their inodes.
func UnixSockets(ns string) (map[uint64]Unix, error) {
	c, err := dial(ns)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	r := make([]byte, unixRequestSize)
	r[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(r[4:], every)
	binary.NativeEndian.PutUint32(r[12:], showName|showPeer)
	answers, err := ask(c, r)
	if err != nil {
		return nil, fmt.Errorf("listing unix sockets: %w", err)
	}
	found := map[uint64]Unix{}
	for _, a := range answers {
		if inode, u, ok := parseUnix(a.Data); ok {
			found[inode] = u
		}
	}
	return found, nil
}

// parseUnix reads a unix_diag_msg and what follows it.
func parseUnix(m []byte) (inode uint64, u Unix, ok bool) {
	if len(m) < unixAnswerSize {
		return 0, u, false
	}
	attributes, err := netlink.NewAttributeDecoder(m[unixAnswerSize:])
	if err != nil {
		return 0, u, false
	}
	u.Stream = m[1] != unix.SOCK_DGRAM
	for attributes.Next() {
		switch attributes.Type() {
		case attributeName:
			u.Name = string(attributes.Bytes())
			if !strings.HasPrefix(u.Name, "\x00") {
				u.Name = strings.TrimRight(u.Name, "\x00")
			}
		case attributePeer:
			u.Peer = uint64(attributes.Uint32())
		}
	}
	return uint64(binary.NativeEndian.Uint32(m[4:])), u, attributes.Err() == nil
}
