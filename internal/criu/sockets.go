package criu

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Socket is an IPv4 socket of the tasks of a dump with an address of its own.
type Socket struct {
	Local     netip.AddrPort
	Connected bool // by TCP
}

// ReadSockets returns those that can be restored only where their address is:
// not those of loopback and multicast addresses, nor those that may be bound to
// any address.
func ReadSockets(dir string) ([]Socket, error) {
	var list []Socket
	const image = "files.img"
	err := decode(filepath.Join(dir, image), func(m proto.Message) error {
		e, ok := m.(*fdinfo.FileEntry)
		s := e.GetIsk()
		if !ok || len(s.GetSrcAddr()) == 0 || s.GetSrcPort() == 0 || s.GetIpOpts().GetFreebind() {
			return nil
		}
		var raw []byte // the kernel's: in the order of the network
		for _, word := range s.GetSrcAddr() {
			raw = binary.NativeEndian.AppendUint32(raw, word)
		}
		addr, ok := netip.AddrFromSlice(raw)
		addr = addr.Unmap()
		if !ok || !addr.Is4() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() {
			return nil
		}
		list = append(list, Socket{
			Local:     netip.AddrPortFrom(addr, uint16(s.GetSrcPort())),
			Connected: s.GetProto() == unix.IPPROTO_TCP && s.GetDstPort() != 0,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", image, err)
	}
	return list, nil
}
