package criuimgtest

import (
	"encoding/binary"
	"net/netip"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"
	sk_inet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-inet"
	sk_opts "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-opts"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// TCP is a socket with these addresses. One without a remote address listens.
type TCP struct{ Local, Remote string }

// States of TCP sockets, in include/net/tcp_states.h.
const (
	established = 1
	listening   = 10
)

// Files returns the image of the open files of processes that have these sockets.
func Files(t testing.TB, sockets ...TCP) []byte {
	t.Helper()
	zero, wide := proto.Uint32(0), proto.Uint64(0)
	var entries []proto.Message
	for i, s := range sockets {
		id, state := uint32(i+1), uint32(listening)
		e := &sk_inet.InetSkEntry{
			Id: &id, Ino: &id, Family: proto.Uint32(unix.AF_INET), Type: proto.Uint32(unix.SOCK_STREAM), Proto: proto.Uint32(unix.IPPROTO_TCP),
			State: &state, DstPort: zero, Flags: zero, Backlog: zero, Fown: &fown.FownEntry{Uid: zero, Euid: zero, Signum: zero, PidType: zero, Pid: zero},
			Opts: &sk_opts.SkOptsEntry{SoSndbuf: zero, SoRcvbuf: zero, SoSndTmoSec: wide, SoSndTmoUsec: wide, SoRcvTmoSec: wide, SoRcvTmoUsec: wide},
		}
		e.SrcAddr, e.SrcPort = address(s.Local)
		if s.Remote != "" {
			state = established
			e.DstAddr, e.DstPort = address(s.Remote)
		}
		entries = append(entries, &fdinfo.FileEntry{Type: fdinfo.FdTypes_INETSK.Enum(), Id: &id, Isk: e})
	}
	return Image(t, "FILES", entries...)
}

// address is one of IPv4, as images have it.
func address(text string) (words []uint32, port *uint32) {
	at := netip.MustParseAddrPort(text)
	raw := at.Addr().As4()
	return []uint32{binary.NativeEndian.Uint32(raw[:])}, proto.Uint32(uint32(at.Port()))
}

// IDs returns the image of a process in this network namespace.
func IDs(t testing.TB, netNS uint32) []byte {
	t.Helper()
	one := proto.Uint32(1)
	return Image(t, "IDS", &criu_core.TaskKobjIdsEntry{VmId: one, FilesId: one, FsId: one, SighandId: one, NetNsId: &netNS})
}
