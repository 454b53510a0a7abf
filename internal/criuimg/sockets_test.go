package criuimg

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"
	sk_inet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-inet"
	sk_opts "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-opts"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

func TestReadSockets(t *testing.T) {
	zero, wide := proto.Uint32(0), proto.Uint64(0)
	files := head("FILES")
	socket := func(local string, protocol, peer uint32, freebind bool) {
		at := netip.MustParseAddrPort(local)
		s := &sk_inet.InetSkEntry{
			Id: zero, Ino: zero, Family: zero, Type: zero, Proto: &protocol, State: zero, SrcPort: proto.Uint32(uint32(at.Port())), DstPort: &peer,
			Flags: zero, Backlog: zero, Fown: &fown.FownEntry{Uid: zero, Euid: zero, Signum: zero, PidType: zero, Pid: zero},
			Opts:   &sk_opts.SkOptsEntry{SoSndbuf: zero, SoRcvbuf: zero, SoSndTmoSec: wide, SoSndTmoUsec: wide, SoRcvTmoSec: wide, SoRcvTmoUsec: wide},
			IpOpts: &sk_inet.IpOptsEntry{Freebind: &freebind},
		}
		for raw := at.Addr().AsSlice(); len(raw) > 0; raw = raw[4:] {
			s.SrcAddr = append(s.SrcAddr, binary.NativeEndian.Uint32(raw))
		}
		files = append(files, frame(t, &fdinfo.FileEntry{Id: zero, Type: fdinfo.FdTypes_INETSK.Enum(), Isk: s}, 0)...)
	}
	socket("172.17.0.2:80", unix.IPPROTO_TCP, 0, false)
	socket("172.17.0.2:80", unix.IPPROTO_TCP, 4000, false)
	socket("[::ffff:172.17.0.3]:81", unix.IPPROTO_TCP, 4000, false)
	socket("172.17.0.4:53", unix.IPPROTO_UDP, 4000, false)
	// These can be restored anywhere, or nobody knows.
	socket("0.0.0.0:80", unix.IPPROTO_TCP, 0, false)
	socket("127.0.0.1:80", unix.IPPROTO_TCP, 4000, false)
	socket("224.0.0.1:80", unix.IPPROTO_UDP, 0, false)
	socket("172.17.0.2:0", unix.IPPROTO_RAW, 0, false)
	socket("172.17.0.5:80", unix.IPPROTO_TCP, 0, true)
	socket("[fd00::1]:80", unix.IPPROTO_TCP, 0, false)
	if found, err := HasInet(Dir(write(t, map[string][]byte{"files.img": files}))); !found || err != nil {
		t.Errorf("no sockets of IPv4 or IPv6: %v", err)
	}
	if found, err := HasInet(Dir(write(t, map[string][]byte{"files.img": head("FILES")}))); found || err != nil {
		t.Errorf("sockets where no files are: %v", err)
	}
	got, err := ReadSockets(Dir(write(t, map[string][]byte{"files.img": files})))
	want := []Socket{
		{Local: netip.MustParseAddrPort("172.17.0.2:80")},
		{Local: netip.MustParseAddrPort("172.17.0.2:80"), Connected: true},
		{Local: netip.MustParseAddrPort("172.17.0.3:81"), Connected: true},
		{Local: netip.MustParseAddrPort("172.17.0.4:53")},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ReadSockets(Dir(write(t, map[string][]byte{"files.img": files[:len(files)-3]}))); err == nil {
		t.Error("cut short, and no error")
	}
}
