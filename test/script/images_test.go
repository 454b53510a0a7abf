package script

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	sk_inet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-inet"
	sk_opts "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-opts"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/stats"
	tcp_stream "github.com/checkpoint-restore/go-criu/v7/crit/images/tcp-stream"
	"github.com/checkpoint-restore/go-criu/v7/magic"
	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"
)

const pageSize = 4096

// writeImages writes the least that agrees: one task with one page. The
// options are where a script can read them: in the name of the task.
func writeImages(write func(name, text string) error, opts *rpc.CriuOpts) error {
	entry := &pagemap.PagemapEntry{Vaddr: proto.Uint64(0x400000), NrPages: proto.Uint32(1), Flags: proto.Uint32(4)}
	return errors.Join(
		write("inventory.img", img("INVENTORY", &inventory.InventoryEntry{ImgVersion: proto.Uint32(2)})),
		write("pstree.img", img("PSTREE", &pstree.PstreeEntry{
			Pid: proto.Uint32(1), Ppid: proto.Uint32(0), Pgid: proto.Uint32(1), Sid: proto.Uint32(1), Threads: []uint32{1},
		})),
		write("core-1.img", img("CORE", &criu_core.CoreEntry{
			Mtype: criu_core.CoreEntry_X86_64.Enum(),
			Tc: &criu_core.TaskCoreEntry{
				TaskState: proto.Uint32(1), ExitCode: proto.Uint32(0), Personality: proto.Uint32(0), Flags: proto.Uint32(0),
				BlkSigset: proto.Uint64(0), Comm: proto.String(opts.String()),
			},
		})),
		write("mm-1.img", img("MM", &mm.MmEntry{
			MmStartCode: proto.Uint64(0), MmEndCode: proto.Uint64(0), MmStartData: proto.Uint64(0), MmEndData: proto.Uint64(0),
			MmStartStack: proto.Uint64(0), MmStartBrk: proto.Uint64(0), MmBrk: proto.Uint64(0), MmArgStart: proto.Uint64(0),
			MmArgEnd: proto.Uint64(0), MmEnvStart: proto.Uint64(0), MmEnvEnd: proto.Uint64(0), ExeFileId: proto.Uint32(1),
		})),
		write("ids-1.img", img("IDS", &criu_core.TaskKobjIdsEntry{
			VmId: proto.Uint32(1), FilesId: proto.Uint32(1), FsId: proto.Uint32(1), SighandId: proto.Uint32(1),
		})),
		write("fdinfo-1.img", img("FDINFO", &fdinfo.FdinfoEntry{
			Id: proto.Uint32(1), Flags: proto.Uint32(0), Type: fdinfo.FdTypes_REG.Enum(), Fd: proto.Uint32(0),
		})),
		write("files.img", img("FILES", openFiles()...)),
		write("pagemap-1.img", img("PAGEMAP", &pagemap.PagemapHead{PagesId: proto.Uint32(1)}, entry)),
		write("pages-1.img", strings.Repeat("page", pageSize/4)),
		write("stats-dump", statsDump(&stats.DumpStatsEntry{
			FreezingTime: proto.Uint32(1000), FrozenTime: proto.Uint32(2500), MemdumpTime: proto.Uint32(500), MemwriteTime: proto.Uint32(400),
			PagesScanned: proto.Uint64(10), PagesSkippedParent: proto.Uint64(0), PagesWritten: proto.Uint64(1), PagesLazy: proto.Uint64(0),
		})),
	)
}

// openFiles are those of FAKE_OPEN, paths in the container.
func openFiles() []proto.Message {
	list := []proto.Message{&fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Id: proto.Uint32(1)}}
	for i, path := range strings.Fields(os.Getenv("FAKE_OPEN")) {
		id := proto.Uint32(uint32(i + 2))
		list = append(list, &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Id: id, Reg: &regfile.RegFileEntry{
			Id: id, Flags: proto.Uint32(0), Pos: proto.Uint64(0), Name: proto.String(path), Mode: proto.Uint32(0o100644),
			Fown: &fown.FownEntry{Uid: id, Euid: id, Signum: id, PidType: id, Pid: id},
		}})
	}
	return append(list, connections()...)
}

// connections are those of FAKE_CONNECTED, addresses of the container.
func connections() (list []proto.Message) {
	for i, text := range strings.Fields(os.Getenv("FAKE_CONNECTED")) {
		id, zero := proto.Uint32(uint32(i+100)), proto.Uint32(0)
		at := netip.MustParseAddrPort(text)
		ip := at.Addr().As4()
		list = append(list, &fdinfo.FileEntry{Type: fdinfo.FdTypes_INETSK.Enum(), Id: id, Isk: &sk_inet.InetSkEntry{
			Id: id, Ino: id, Family: proto.Uint32(syscall.AF_INET), Type: proto.Uint32(syscall.SOCK_STREAM), Proto: proto.Uint32(syscall.IPPROTO_TCP),
			State: proto.Uint32(1), SrcPort: proto.Uint32(uint32(at.Port())), DstPort: proto.Uint32(443), Flags: zero, Backlog: zero,
			SrcAddr: []uint32{binary.NativeEndian.Uint32(ip[:])}, DstAddr: []uint32{1},
			Fown: &fown.FownEntry{Uid: id, Euid: id, Signum: id, PidType: id, Pid: id},
			Opts: &sk_opts.SkOptsEntry{
				SoSndbuf: zero, SoRcvbuf: zero, SoSndTmoSec: proto.Uint64(0), SoSndTmoUsec: proto.Uint64(0), SoRcvTmoSec: proto.Uint64(0), SoRcvTmoUsec: proto.Uint64(0),
			},
		}})
	}
	return list
}

// writeRound writes what a pre-dump does, with the options in the pages.
func writeRound(write func(name, text string) error, opts *rpc.CriuOpts) error {
	text := opts.String()
	entry := &pagemap.PagemapEntry{Vaddr: proto.Uint64(0x400000), NrPages: proto.Uint32(1), Flags: proto.Uint32(4)}
	list := []proto.Message{&pagemap.PagemapHead{PagesId: proto.Uint32(1)}, entry}
	if opts.GetParentImg() != "" {
		list = append(list, &pagemap.PagemapEntry{Vaddr: proto.Uint64(0x500000), NrPages: proto.Uint32(1), Flags: proto.Uint32(1)})
	}
	return errors.Join(
		write("inventory.img", img("INVENTORY", &inventory.InventoryEntry{ImgVersion: proto.Uint32(2)})),
		write("pagemap-1.img", img("PAGEMAP", list...)),
		write("pages-1.img", text+strings.Repeat("\n", pageSize-len(text))),
	)
}

func tcpStream() string {
	return img("TCP_STREAM", &tcp_stream.TcpStreamEntry{
		InqLen: proto.Uint32(0), InqSeq: proto.Uint32(1), OutqLen: proto.Uint32(0), OutqSeq: proto.Uint32(1),
		OptMask: proto.Uint32(0), SndWscale: proto.Uint32(0), MssClamp: proto.Uint32(0),
	})
}

func statsDump(d *stats.DumpStatsEntry) string { return img("STATS", &stats.StatsEntry{Dump: d}) }

// img is an image in CRIU's format: one or two magics, then sizes and messages.
func img(kind string, entries ...proto.Message) string {
	names := magic.LoadMagic().ByName
	var out []byte
	switch kind {
	case "INVENTORY":
	case "STATS":
		out = binary.LittleEndian.AppendUint32(out, uint32(names["IMG_SERVICE"]))
	default:
		out = binary.LittleEndian.AppendUint32(out, uint32(names["IMG_COMMON"]))
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(names[kind]))
	for _, e := range entries {
		data, err := proto.Marshal(e)
		if err != nil {
			panic(err)
		}
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(data))), data...)
	}
	return string(out)
}
