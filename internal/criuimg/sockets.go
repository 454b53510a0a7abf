package criuimg

import (
	"encoding/binary"
	"io/fs"
	"net/netip"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Socket is an IPv4 socket of the tasks of a dump with an address of its own.
type Socket struct {
	Local     netip.AddrPort
	Connected bool // by TCP
}

// Inet is a TCP or UDP socket of the tasks of a dump.
type Inet struct {
	UDP           bool
	Listens       bool // a TCP socket
	Local, Remote netip.AddrPort
	Reuse         bool // others may be bound to its port, too
}

// Listening is the state of a listening socket, TCP_LISTEN in include/net/tcp_states.h.
const Listening = 10

// ReadInet returns the bound TCP and UDP sockets.
func ReadInet(images fs.FS) ([]Inet, error) {
	var list []Inet
	err := Decode(images, filesImage, func(m proto.Message) error {
		e, ok := m.(*fdinfo.FileEntry)
		s := e.GetIsk()
		udp := s.GetProto() == unix.IPPROTO_UDP
		if !ok || s.GetSrcPort() == 0 || !udp && s.GetProto() != unix.IPPROTO_TCP {
			return nil
		}
		local, okLocal := Address(s.GetSrcAddr(), s.GetSrcPort())
		remote, _ := Address(s.GetDstAddr(), s.GetDstPort())
		if okLocal {
			list = append(list, Inet{
				UDP: udp, Listens: !udp && s.GetState() == Listening, Local: local, Remote: remote,
				Reuse: s.GetOpts().GetSoReuseport() || udp && s.GetOpts().GetReuseaddr(),
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// HasInet says whether the tasks of a dump have sockets of IPv4 or IPv6, of any kind.
func HasInet(images fs.FS) (found bool, err error) {
	err = Decode(images, filesImage, func(m proto.Message) error {
		e, ok := m.(*fdinfo.FileEntry)
		found = found || ok && e.GetIsk() != nil
		return nil
	})
	return found, err
}

const filesImage = "files.img"

// Address reads one as the kernel has it, in the order of the network, and says whether
// it is one.
func Address(words []uint32, port uint32) (netip.AddrPort, bool) {
	var raw []byte
	for _, word := range words {
		raw = binary.NativeEndian.AppendUint32(raw, word)
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok
}

// ReadSockets returns those that can be restored only where their address is:
// not those of loopback and multicast addresses, nor those that may be bound to
// any address.
func ReadSockets(images fs.FS) ([]Socket, error) {
	var list []Socket
	err := Decode(images, filesImage, func(m proto.Message) error {
		e, ok := m.(*fdinfo.FileEntry)
		s := e.GetIsk()
		if !ok || len(s.GetSrcAddr()) == 0 || s.GetSrcPort() == 0 || s.GetIpOpts().GetFreebind() {
			return nil
		}
		local, ok := Address(s.GetSrcAddr(), s.GetSrcPort())
		addr := local.Addr()
		if !ok || !addr.Is4() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() {
			return nil
		}
		list = append(list, Socket{
			Local:     local,
			Connected: s.GetProto() == unix.IPPROTO_TCP && s.GetDstPort() != 0,
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}
