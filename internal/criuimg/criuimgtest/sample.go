package criuimgtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	core_x86 "github.com/checkpoint-restore/go-criu/v7/crit/images/core-x86"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"
	images_fs "github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pipe"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	sk_inet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-inet"
	sk_opts "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-opts"
	tcp_stream "github.com/checkpoint-restore/go-criu/v7/crit/images/tcp-stream"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/utsns"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Where a Sample has its memory.
const (
	HeapAt    = 0x10000
	ProgramAt = 0x40000000
	SharedAt  = 0x7e0000000000
	StackAt   = 0x7f0000000000
)

// Sample is a small dump: process 1 with thread 2, its child 5, which shares memory and
// a pipe with it, and the zombie 7.
type Sample struct {
	Name      string // of process 1
	Args, Env []string
	// Heap and Shared are memory of process 1, a run for every page. Of the heap's pages
	// the first Old ones lie in a parent.
	Heap, Shared []byte
	Old          int
	Port         uint16 // that it listens on
}

// Write writes the sample into a new directory, and its parent below that, to which a
// link leads. It returns both, the parent's empty if there is none.
func (s Sample) Write(t testing.TB) (dir, parent string) {
	t.Helper()
	dir = t.TempDir()
	own, below := s.heap()
	text := block(s.Args)
	argEnd := StackAt + uint64(len(text))
	text = append(text, block(s.Env)...)
	own = append(own, Run{StackAt, text, Present})
	files := map[string][]byte{}
	files["pagemap-1.img"], files["pages-1.img"] = Memory(t, 1, own...)
	files["pagemap-5.img"], files["pages-2.img"] = Memory(t, 2, Run{StackAt, block([]string{"child"}), Present})
	files["pagemap-shmem-77.img"], files["pages-3.img"] = Memory(t, 3, pageRuns(0, s.Shared, Present)...)
	files["mm-1.img"] = Image(t, "MM", s.mm(argEnd, StackAt+uint64(len(text))))
	files["mm-5.img"] = Image(t, "MM", s.mm(StackAt+6, StackAt+6))
	s.tasks(t, files)
	s.files(t, files)
	Write(t, dir, files)
	if s.Old == 0 {
		return dir, ""
	}
	parent = filepath.Join(dir, "pre-dump")
	if err := errors.Join(os.Mkdir(parent, 0o700), os.Symlink("pre-dump", filepath.Join(dir, "parent"))); err != nil {
		t.Fatal(err)
	}
	old := map[string][]byte{}
	old["pagemap-1.img"], old["pages-1.img"] = Memory(t, 1, below...)
	Write(t, parent, old)
	return dir, parent
}

// heap returns the runs of the heap, and those that a parent has.
func (s Sample) heap() (own, below []Run) {
	for i, r := range pageRuns(HeapAt, s.Heap, Present) {
		if i < s.Old {
			below = append(below, r)
			r.Flags = InParent
		}
		own = append(own, r)
	}
	return own, below
}

func pageRuns(start uint64, data []byte, flags uint32) (runs []Run) {
	for at := 0; at < len(data); at += PageSize {
		runs = append(runs, Run{start + uint64(at), data[at:min(at+PageSize, len(data))], flags})
	}
	return runs
}

// block are strings as a process has its arguments.
func block(list []string) []byte {
	if len(list) == 0 {
		return nil
	}
	return []byte(strings.Join(list, "\x00") + "\x00")
}

func (s Sample) mm(argEnd, envEnd uint64) *mm.MmEntry {
	size := func(data []byte) uint64 { return uint64(max(1, (len(data)+PageSize-1)/PageSize) * PageSize) }
	area := func(start, length, shmid uint64, prot, flags, status uint32) *vma.VmaEntry {
		return &vma.VmaEntry{
			Start: &start, End: proto.Uint64(start + length), Pgoff: proto.Uint64(0), Shmid: &shmid, Prot: &prot, Flags: &flags, Status: &status, Fd: proto.Int64(-1),
		}
	}
	const rw = unix.PROT_READ | unix.PROT_WRITE
	zero := proto.Uint64(0)
	return &mm.MmEntry{
		MmStartCode: zero, MmEndCode: zero, MmStartData: zero, MmEndData: zero, MmStartStack: proto.Uint64(StackAt), MmStartBrk: proto.Uint64(HeapAt),
		MmBrk: proto.Uint64(HeapAt + size(s.Heap)), MmArgStart: proto.Uint64(StackAt), MmArgEnd: &argEnd, MmEnvStart: &argEnd, MmEnvEnd: &envEnd, ExeFileId: proto.Uint32(10),
		MmSavedAuxv: []uint64{6, PageSize, 0, 0},
		Vmas: []*vma.VmaEntry{
			area(HeapAt, size(s.Heap)+PageSize, 0, rw, unix.MAP_PRIVATE, 1|1<<5|1<<9),
			area(ProgramAt, 2*PageSize, 10, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE, 1|1<<6),
			area(SharedAt, size(s.Shared), 77, rw, unix.MAP_SHARED, 1|1<<8),
			area(StackAt, PageSize, 0, rw, unix.MAP_PRIVATE, 1|1<<9),
		},
	}
}

// tasks writes processes and threads.
func (s Sample) tasks(t testing.TB, files map[string][]byte) {
	n := proto.Uint32
	files["inventory.img"] = Image(t, "INVENTORY", &inventory.InventoryEntry{ImgVersion: n(2)})
	files["pstree.img"] = Image(t, "PSTREE",
		&pstree.PstreeEntry{Pid: n(1), Ppid: n(0), Pgid: n(1), Sid: n(1), Threads: []uint32{1, 2}},
		&pstree.PstreeEntry{Pid: n(7), Ppid: n(1), Pgid: n(1), Sid: n(1), Threads: []uint32{4000000}},
		&pstree.PstreeEntry{Pid: n(5), Ppid: n(1), Pgid: n(1), Sid: n(1), Threads: []uint32{5}},
	)
	files["core-1.img"] = Image(t, "CORE", core(1, s.Name, 1, 0xa80425fb))
	files["core-2.img"] = Image(t, "CORE", core(0, "worker", 2, 0))
	files["core-5.img"] = Image(t, "CORE", core(1, "child", 5, 0))
	files["core-7.img"] = Image(t, "CORE", core(6, "gone", 7, 0))
	for pid, table := range map[int]uint32{1: 1, 5: 2} {
		files[fmt.Sprintf("ids-%d.img", pid)] = Image(t, "IDS", &criu_core.TaskKobjIdsEntry{VmId: n(table), FilesId: n(table), FsId: n(1), SighandId: n(1)})
		files[fmt.Sprintf("fs-%d.img", pid)] = Image(t, "FS", &images_fs.FsEntry{CwdId: n(11), RootId: n(12), Umask: n(0o22)})
	}
}

// core is a thread, or with a state a process; its registers tell it from others.
func core(state uint32, name string, number uint64, capabilities uint32) *criu_core.CoreEntry {
	id := proto.Uint32(1000)
	zero, wide := proto.Uint32(0), proto.Uint64(0)
	e := &criu_core.CoreEntry{
		Mtype: criu_core.CoreEntry_X86_64.Enum(),
		ThreadInfo: &core_x86.ThreadInfoX86{
			ClearTidAddr: wide,
			Gpregs: &core_x86.UserX86RegsEntry{
				R15: wide, R14: wide, R13: wide, R12: wide, Bp: wide, Bx: wide, R11: wide, R10: wide, R9: wide, R8: wide, Ax: &number, Cx: wide, Dx: wide, Si: wide, Di: wide,
				OrigAx: wide, Ip: proto.Uint64(0x400000 + number), Cs: proto.Uint64(0x33), Flags: wide, Sp: proto.Uint64(StackAt + 64), Ss: proto.Uint64(0x2b), FsBase: wide, GsBase: wide,
				Ds: wide, Es: wide, Fs: wide, Gs: wide,
			},
			Fpregs: &core_x86.UserX86FpregsEntry{Cwd: zero, Swd: zero, Twd: zero, Fop: zero, Rip: wide, Rdp: wide, Mxcsr: zero, MxcsrMask: zero},
		},
		ThreadCore: &criu_core.ThreadCoreEntry{
			FutexRla: wide, FutexRlaLen: zero, Comm: &name, SeccompMode: criu_core.SeccompMode_filter.Enum(),
			Creds: &creds.CredsEntry{Uid: id, Gid: id, Euid: id, Egid: id, Suid: id, Sgid: id, Fsuid: id, Fsgid: id, Secbits: zero, CapEff: []uint32{capabilities, 0}},
		},
	}
	if state != 0 {
		e.Tc = &criu_core.TaskCoreEntry{TaskState: &state, ExitCode: zero, Personality: zero, Flags: zero, BlkSigset: proto.Uint64(1 << (unix.SIGUSR1 - 1)), Comm: &name}
	}
	return e
}

// files writes open files and mounts.
func (s Sample) files(t testing.TB, files map[string][]byte) {
	n := proto.Uint32
	owner := &fown.FownEntry{Uid: n(0), Euid: n(0), Signum: n(0), PidType: n(0), Pid: n(0)}
	regular := func(id uint32, name string, mode uint32) *fdinfo.FileEntry {
		return &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Id: &id, Reg: &regfile.RegFileEntry{
			Id: &id, Flags: n(unix.O_RDWR | unix.O_APPEND), Pos: proto.Uint64(3), Fown: owner, Name: &name, Mode: &mode,
		}}
	}
	pipeEnd := func(id, flags uint32) *fdinfo.FileEntry {
		return &fdinfo.FileEntry{Type: fdinfo.FdTypes_PIPE.Enum(), Id: &id, Pipe: &pipe.PipeEntry{Id: &id, PipeId: n(500), Flags: &flags, Fown: owner}}
	}
	wide := proto.Uint64(0)
	socket := func(id, state, remote uint32) *fdinfo.FileEntry {
		local := binary.NativeEndian.Uint32([]byte{172, 17, 0, 2})
		return &fdinfo.FileEntry{Type: fdinfo.FdTypes_INETSK.Enum(), Id: &id, Isk: &sk_inet.InetSkEntry{
			Id: &id, Ino: n(id + 0x100), Family: n(unix.AF_INET), Type: n(unix.SOCK_STREAM), Proto: n(unix.IPPROTO_TCP), State: &state, SrcPort: n(uint32(s.Port)), DstPort: &remote,
			Flags: n(0), Backlog: n(128), SrcAddr: []uint32{local}, DstAddr: []uint32{local}, Fown: owner,
			Opts: &sk_opts.SkOptsEntry{SoSndbuf: n(0), SoRcvbuf: n(0), SoSndTmoSec: wide, SoSndTmoUsec: wide, SoRcvTmoSec: wide, SoRcvTmoUsec: wide, Reuseaddr: proto.Bool(true)},
		}}
	}
	files["files.img"] = Image(t, "FILES", regular(10, "/bin/app", unix.S_IFREG|0o755), regular(11, "/srv", unix.S_IFDIR), regular(12, "/", unix.S_IFDIR),
		regular(13, "/tmp/gone\x1b[31m (deleted)", unix.S_IFREG), pipeEnd(14, unix.O_RDONLY), pipeEnd(15, unix.O_WRONLY), socket(16, 10, 0), socket(17, 1, 40000))
	files["remap-fpath.img"] = Image(t, "REMAP_FPATH", &remap_file_path.RemapFilePathEntry{OrigId: n(13), RemapId: n(1), RemapType: remap_file_path.RemapType_GHOST.Enum()})
	open := func(fd, id uint32, kind fdinfo.FdTypes) proto.Message {
		return &fdinfo.FdinfoEntry{Id: &id, Flags: n(0), Type: kind.Enum(), Fd: &fd}
	}
	files["fdinfo-1.img"] = Image(t, "FDINFO", open(3, 13, fdinfo.FdTypes_REG), open(4, 14, fdinfo.FdTypes_PIPE), open(6, 16, fdinfo.FdTypes_INETSK), open(7, 17, fdinfo.FdTypes_INETSK))
	files["fdinfo-2.img"] = Image(t, "FDINFO", open(5, 15, fdinfo.FdTypes_PIPE))
	files["tcp-stream-111.img"] = append(Image(t, "TCP_STREAM", &tcp_stream.TcpStreamEntry{
		InqLen: n(5), InqSeq: n(1), OutqLen: n(2), OutqSeq: n(1), OptMask: n(0), SndWscale: n(0), MssClamp: n(0), Nodelay: proto.Bool(true),
	}), "unreadup"[:7]...)
	files["utsns-1.img"] = Image(t, "UTSNS", &utsns.UtsnsEntry{Nodename: proto.String("box"), Domainname: proto.String("")})
	files["mountpoints-1.img"] = Image(t, "MNTS", &mnt.MntEntry{
		Fstype: n(uint32(mnt.Fstype_TMPFS)), MntId: n(1), RootDev: n(1), ParentMntId: n(1), Flags: n(unix.MS_RDONLY), Root: proto.String("/"), Mountpoint: proto.String("./data"),
		Source: proto.String("none"), Options: proto.String("size=1m"), ExtKey: proto.String("/data"),
	})
}
