package snapshot

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"golang.org/x/sys/unix"
)

// Descriptor is an open file of a process.
type Descriptor struct {
	FD     uint32 `json:"fd"`
	Type   string `json:"type"`   // file, pipe, fifo, socket, unix, eventfd, ...
	Name   string `json:"name"`   // path, address, or what it is
	Access string `json:"access"` // r, w or rw
	// Position is that in a file, in bytes.
	Position    uint64 `json:"position,omitempty"`
	Size        uint64 `json:"size_bytes,omitempty"`
	Append      bool   `json:"append,omitempty"`
	NonBlocking bool   `json:"non_blocking,omitempty"`
	CloseOnExec bool   `json:"close_on_exec,omitempty"`
	Deleted     bool   `json:"deleted,omitempty"` // the file has no name any more
	// Peers are who has the other end, or the same one, as in 12/3 for descriptor 3 of
	// process 12.
	Peers []string `json:"peers,omitempty"`

	file uint32 // ID
}

// typeNames are how descriptors are called.
var typeNames = map[fdinfo.FdTypes]string{
	fdinfo.FdTypes_REG: "file", fdinfo.FdTypes_INETSK: "socket", fdinfo.FdTypes_UNIXSK: "unix", fdinfo.FdTypes_EVENTPOLL: "epoll",
	fdinfo.FdTypes_PACKETSK: "packet", fdinfo.FdTypes_NETLINKSK: "netlink", fdinfo.FdTypes_TUNF: "tun", fdinfo.FdTypes_EXT: "external", fdinfo.FdTypes_NS: "namespace",
}

// descriptor describes an open file by itself. Who has its other end is for join.
func (s *Snapshot) descriptor(e *fdinfo.FdinfoEntry) Descriptor {
	d := Descriptor{FD: e.GetFd(), CloseOnExec: e.GetFlags()&unix.FD_CLOEXEC != 0, file: e.GetId(), Type: typeNames[e.GetType()]}
	if d.Type == "" {
		d.Type = strings.ToLower(e.GetType().String())
	}
	f := s.files[e.GetId()]
	flags := uint32(0)
	switch {
	case f == nil:
		d.Name = "not in files.img"
		return d
	case f.GetReg() != nil:
		r := f.GetReg()
		flags, d.Position, d.Size = r.GetFlags(), r.GetPos(), r.GetSize()
		d.Name, d.Deleted = strings.TrimSuffix(path.Join("/", r.GetName()), " (deleted)"), s.gone[f.GetId()]
		switch r.GetMode() & unix.S_IFMT {
		case unix.S_IFDIR:
			d.Type = "directory"
		case unix.S_IFCHR, unix.S_IFBLK:
			d.Type = "device"
		}
	case f.GetPipe() != nil:
		flags, d.Name = f.GetPipe().GetFlags(), fmt.Sprintf("pipe %d", f.GetPipe().GetPipeId())
	case f.GetFifo() != nil:
		d.Name = s.pathOf(f.GetFifo().GetRegfId())
		flags = s.files[f.GetFifo().GetRegfId()].GetReg().GetFlags()
	case f.GetIsk() != nil:
		flags, d.Name = f.GetIsk().GetFlags()|unix.O_RDWR, inetSocket(f.GetIsk()).Name()
	case f.GetUsk() != nil:
		flags, d.Name = f.GetUsk().GetFlags()|unix.O_RDWR, unixName(f.GetUsk())
	case f.GetEfd() != nil:
		flags, d.Name = f.GetEfd().GetFlags()|unix.O_RDWR, fmt.Sprintf("counter %d", f.GetEfd().GetCounter())
	case f.GetEpfd() != nil:
		flags, d.Name = f.GetEpfd().GetFlags()|unix.O_RDWR, watched(f)
	case f.GetSgfd() != nil:
		flags, d.Name = f.GetSgfd().GetFlags(), strings.Join(signalSet(f.GetSgfd().GetSigmask()), " ")
	case f.GetTfd() != nil:
		t := f.GetTfd()
		flags, d.Name = t.GetFlags(), fmt.Sprintf("clock %d, expires in %d us, then every %d us", t.GetClockid(), micros(t.GetVsec(), t.GetVnsec()), micros(t.GetIsec(), t.GetInsec()))
	case f.GetIfy() != nil:
		flags, d.Name = f.GetIfy().GetFlags(), fmt.Sprintf("%d watches", len(f.GetIfy().GetWd()))
	case f.GetFfy() != nil:
		flags, d.Name = f.GetFfy().GetFlags(), fmt.Sprintf("%d marks", len(f.GetFfy().GetMark()))
	case f.GetTty() != nil:
		flags, d.Name = f.GetTty().GetFlags(), s.ttys[f.GetTty().GetTtyInfoId()]
		if p := s.pathOf(f.GetTty().GetRegfId()); p != "" {
			d.Name = p
		}
	case f.GetMemfd() != nil:
		flags, d.Position, d.Name = f.GetMemfd().GetFlags(), f.GetMemfd().GetPos(), "memfd:"+s.memfd[f.GetMemfd().GetInodeId()].GetName()
	case f.GetNlsk() != nil:
		flags, d.Name = f.GetNlsk().GetFlags()|unix.O_RDWR, fmt.Sprintf("protocol %d", f.GetNlsk().GetProtocol())
	case f.GetPsk() != nil:
		flags, d.Name = f.GetPsk().GetFlags()|unix.O_RDWR, fmt.Sprintf("protocol %d, interface %d", f.GetPsk().GetProtocol(), f.GetPsk().GetIfindex())
	case f.GetTunf() != nil:
		d.Name = f.GetTunf().GetNetdev()
	case f.GetNsf() != nil:
		flags, d.Name = f.GetNsf().GetFlags(), fmt.Sprintf("namespace %d", f.GetNsf().GetNsId())
	}
	d.Access = [...]string{"r", "w", "rw", ""}[flags&unix.O_ACCMODE]
	d.Append, d.NonBlocking = flags&unix.O_APPEND != 0, flags&unix.O_NONBLOCK != 0
	return d
}

// watched names what an epoll descriptor watches.
func watched(f *fdinfo.FileEntry) string {
	var list []uint32
	for _, t := range f.GetEpfd().GetTfd() {
		list = append(list, t.GetTfd())
	}
	if len(list) == 0 {
		return "watches nothing"
	}
	slices.Sort(list)
	text := []string{}
	for _, fd := range list[:min(len(list), 16)] {
		text = append(text, fmt.Sprint(fd))
	}
	if more := len(list) - len(text); more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return "watches " + strings.Join(text, ", ")
}

// maxPeers is how many of them are told of each descriptor.
const maxPeers = 16

// join tells descriptors of their other ends, and of who shares them.
func (s *Snapshot) join() {
	type end struct {
		who  string
		file uint32
	}
	ends := map[string][]end{}
	for _, p := range s.Processes {
		for _, d := range p.Descriptors {
			for _, key := range s.meets(d) {
				if len(ends[key]) <= maxPeers {
					ends[key] = append(ends[key], end{fmt.Sprintf("%d/%d", p.PID, d.FD), d.file})
				}
			}
		}
	}
	for _, p := range s.Processes {
		for i := range p.Descriptors {
			d := &p.Descriptors[i]
			self := fmt.Sprintf("%d/%d", p.PID, d.FD)
			for _, key := range s.meets(*d) {
				for _, e := range ends[key] {
					if e.who != self && !slices.Contains(d.Peers, e.who) {
						d.Peers = append(d.Peers, e.who)
					}
				}
			}
		}
	}
}

// meets are the keys of what a descriptor and its peers have in common.
func (s *Snapshot) meets(d Descriptor) []string {
	f := s.files[d.file]
	switch {
	case f.GetPipe() != nil:
		return []string{fmt.Sprintf("pipe %d", f.GetPipe().GetPipeId())}
	case f.GetFifo() != nil:
		return []string{fmt.Sprintf("pipe %d", f.GetFifo().GetPipeId())}
	case f.GetUsk() != nil && f.GetUsk().GetPeer() != 0:
		a, b := f.GetUsk().GetIno(), f.GetUsk().GetPeer()
		return []string{fmt.Sprintf("unix %d %d", min(a, b), max(a, b))}
	}
	return nil
}
