package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	sk_inet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-inet"
	sk_opts "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-opts"
	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	tcp_stream "github.com/checkpoint-restore/go-criu/v7/crit/images/tcp-stream"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// Socket is one of the processes, of the internet or of Unix.
type Socket struct {
	Protocol string   `json:"protocol"` // tcp, udp, tcp6, unix stream, ...
	State    string   `json:"state,omitempty"`
	Local    string   `json:"local,omitempty"`
	Remote   string   `json:"remote,omitempty"`
	Backlog  uint32   `json:"backlog,omitempty"`
	Options  []string `json:"options,omitempty"`
	// ReceiveQueue and SendQueue are of an established TCP connection, in bytes.
	ReceiveQueue uint32 `json:"receive_queue_bytes"`
	SendQueue    uint32 `json:"send_queue_bytes"`
	// Owners are the descriptors, as in 12/3 for descriptor 3 of process 12.
	Owners []string `json:"owners"`
}

// Name is what and where it is, on one line.
func (s Socket) Name() string {
	text := s.Protocol + " " + s.Local
	if s.Remote != "" {
		text += " to " + s.Remote
	}
	if s.State != "" {
		text += ", " + s.State
	}
	return text
}

// Sockets returns the sockets that processes have open, those of the internet first.
func (s *Snapshot) Sockets() ([]Socket, error) {
	owners := map[uint32][]string{}
	var ids []uint32
	for _, p := range s.Processes {
		for _, d := range p.Descriptors {
			f := s.files[d.file]
			if f.GetIsk() == nil && f.GetUsk() == nil {
				continue
			}
			if owners[d.file] == nil {
				ids = append(ids, d.file)
			}
			owners[d.file] = append(owners[d.file], fmt.Sprintf("%d/%d", p.PID, d.FD))
		}
	}
	var list, local []Socket
	for _, id := range ids {
		f := s.files[id]
		if f.GetIsk() == nil {
			one := unixSocket(f.GetUsk())
			one.Owners = owners[id]
			local = append(local, one)
			continue
		}
		one := inetSocket(f.GetIsk())
		if err := s.queues(f, &one); err != nil {
			return nil, err
		}
		one.Owners = owners[id]
		list = append(list, one)
	}
	return append(list, local...), nil
}

// queues reads what a connection has in flight.
func (s *Snapshot) queues(f *fdinfo.FileEntry, to *Socket) error {
	if f.GetIsk().GetProto() != unix.IPPROTO_TCP {
		return nil
	}
	err := criuimg.Decode(s.chain[0], fmt.Sprintf("tcp-stream-%x.img", f.GetIsk().GetIno()), func(m proto.Message) error {
		if e, ok := m.(*tcp_stream.TcpStreamEntry); ok {
			to.ReceiveQueue, to.SendQueue = e.GetInqLen(), e.GetOutqLen()
			for name, set := range map[string]bool{"nodelay": e.GetNodelay(), "cork": e.GetCork()} {
				if set {
					to.Options = append(to.Options, name)
				}
			}
			slices.Sort(to.Options)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is not established
	}
	return err
}

// states of a socket, include/net/tcp_states.h.
var states = [...]string{"", "established", "syn sent", "syn received", "fin wait 1", "fin wait 2", "time wait", "closed", "close wait", "last ack", "listening", "closing"}

func stateOf(n uint32) string {
	if int(n) < len(states) {
		return states[n]
	}
	return fmt.Sprintf("state %d", n)
}

var protocols = map[uint32]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_UDPLITE: "udplite", unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "icmp"}

func inetSocket(e *sk_inet.InetSkEntry) Socket {
	s := Socket{Protocol: protocols[e.GetProto()], State: stateOf(e.GetState()), Backlog: e.GetBacklog(), Options: options(e.GetOpts())}
	if s.Protocol == "" {
		s.Protocol = fmt.Sprintf("protocol %d", e.GetProto())
	}
	if e.GetFamily() == unix.AF_INET6 {
		s.Protocol += "6"
	}
	if local, ok := criuimg.Address(e.GetSrcAddr(), e.GetSrcPort()); ok {
		s.Local = local.String()
	}
	if remote, ok := criuimg.Address(e.GetDstAddr(), e.GetDstPort()); ok && remote.Port() != 0 {
		s.Remote = remote.String()
	}
	if e.GetProto() == unix.IPPROTO_TCP && e.GetState() != criuimg.Listening {
		s.Backlog = 0
	}
	if e.GetV6Only() {
		s.Options = append(s.Options, "v6only")
	}
	return s
}

func options(o *sk_opts.SkOptsEntry) []string {
	var list []string
	for _, option := range []struct {
		name string
		set  bool
	}{
		{"reuseaddr", o.GetReuseaddr()}, {"reuseport", o.GetSoReuseport()}, {"keepalive", o.GetSoKeepalive()}, {"broadcast", o.GetSoBroadcast()},
		{"passcred", o.GetSoPasscred()}, {"dontroute", o.GetSoDontroute()}, {"filter", len(o.GetSoFilter()) > 0},
	} {
		if option.set {
			list = append(list, option.name)
		}
	}
	if o.GetSoBoundDev() != "" {
		list = append(list, "device "+o.GetSoBoundDev())
	}
	return list
}

func unixSocket(e *sk_unix.UnixSkEntry) Socket {
	kinds := map[uint32]string{unix.SOCK_STREAM: "stream", unix.SOCK_DGRAM: "datagram", unix.SOCK_SEQPACKET: "seqpacket"}
	s := Socket{Protocol: strings.TrimSpace("unix " + kinds[e.GetType()]), State: stateOf(e.GetState()), Local: unixName(e), Options: options(e.GetOpts())}
	if e.GetState() == criuimg.Listening {
		s.Backlog = e.GetBacklog()
	}
	if e.GetPeer() != 0 {
		s.Remote = fmt.Sprintf("inode %d", e.GetPeer())
	}
	return s
}

// unixName is the path of a socket, or its abstract name behind an @.
func unixName(e *sk_unix.UnixSkEntry) string {
	name := string(e.GetName())
	switch {
	case name == "":
		return fmt.Sprintf("inode %d", e.GetIno())
	case name[0] == 0:
		return "@" + strings.TrimRight(name[1:], "\x00")
	}
	return strings.TrimRight(name, "\x00")
}
