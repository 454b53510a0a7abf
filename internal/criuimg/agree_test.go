package criuimg

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	ipc_desc "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-desc"
	ipc_msg "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-msg"
	ipc_sem "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-sem"
	ipc_shm "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-shm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/magic"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func desc() *ipc_desc.IpcDescEntry {
	return &ipc_desc.IpcDescEntry{
		Key: proto.Uint32(0), Uid: proto.Uint32(0), Gid: proto.Uint32(0), Cuid: proto.Uint32(0), Cgid: proto.Uint32(0), Mode: proto.Uint32(0), Id: proto.Uint32(0),
	}
}

// frame is an entry as CRIU writes it, with data behind it.
func frame(t *testing.T, m proto.Message, data int) []byte {
	t.Helper()
	msg, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(len(msg))), msg, make([]byte, data))
}

func head(kind string) []byte {
	names := magic.LoadMagic().ByName
	var out []byte
	if kind != "INVENTORY" {
		out = binary.LittleEndian.AppendUint32(out, uint32(names["IMG_COMMON"]))
	}
	return binary.LittleEndian.AppendUint32(out, uint32(names[kind]))
}

// sound is a set of images that agree: a task with a thread, one page of its
// own and one of a parent, and IPC objects with odd sizes.
func sound(t *testing.T) map[string][]byte {
	t.Helper()
	one := proto.Uint32(1)
	task := &criu_core.TaskCoreEntry{TaskState: one, ExitCode: one, Personality: one, Flags: one, BlkSigset: proto.Uint64(0), Comm: proto.String("a")}
	own := &pagemap.PagemapEntry{Vaddr: proto.Uint64(1), NrPages: proto.Uint32(0), Flags: proto.Uint32(4)}
	own.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, pageCountField, protowire.VarintType), 2))
	return map[string][]byte{
		"inventory.img": slices.Concat(head("INVENTORY"), frame(t, &inventory.InventoryEntry{ImgVersion: one}, 0)),
		"pstree.img":    slices.Concat(head("PSTREE"), frame(t, &pstree.PstreeEntry{Pid: one, Ppid: one, Pgid: one, Sid: one, Threads: []uint32{1, 2}}, 0)),
		"core-1.img":    slices.Concat(head("CORE"), frame(t, &criu_core.CoreEntry{Mtype: criu_core.CoreEntry_X86_64.Enum(), Tc: task}, 0)),
		"core-2.img":    slices.Concat(head("CORE"), frame(t, &criu_core.CoreEntry{Mtype: criu_core.CoreEntry_X86_64.Enum()}, 0)),
		"mm-1.img":      head("MM"),
		"ids-1.img":     slices.Concat(head("IDS"), frame(t, &criu_core.TaskKobjIdsEntry{VmId: one, FilesId: one, FsId: one, SighandId: one}, 0)),
		"fdinfo-1.img":  slices.Concat(head("FDINFO"), frame(t, &fdinfo.FdinfoEntry{Id: one, Flags: one, Type: fdinfo.FdTypes_REG.Enum(), Fd: one}, 0)),
		"files.img":     slices.Concat(head("FILES"), frame(t, &fdinfo.FileEntry{Id: one, Type: fdinfo.FdTypes_REG.Enum()}, 0)),
		"pagemap-1.img": slices.Concat(head("PAGEMAP"), frame(t, &pagemap.PagemapHead{PagesId: proto.Uint32(7)}, 0), frame(t, own, 0),
			frame(t, &pagemap.PagemapEntry{Vaddr: proto.Uint64(2), NrPages: one, Flags: proto.Uint32(1)}, 0)),
		"pages-7.img": make([]byte, 2*os.Getpagesize()),
		"parent":      nil, // any kind of file will do
		"ipcns-sem-1.img": slices.Concat(head("IPCNS_SEM"),
			frame(t, &ipc_sem.IpcSemEntry{Desc: desc(), Nsems: proto.Uint32(3)}, 8), frame(t, &ipc_sem.IpcSemEntry{Desc: desc(), Nsems: proto.Uint32(4)}, 8)),
		"ipcns-shm-1.img": slices.Concat(head("IPCNS_SHM"),
			frame(t, &ipc_shm.IpcShmEntry{Desc: desc(), Size: proto.Uint64(5)}, 8), frame(t, &ipc_shm.IpcShmEntry{Desc: desc(), Size: proto.Uint64(5), InPagemaps: proto.Bool(true)}, 0)),
		"ipcns-msg-1.img": slices.Concat(head("IPCNS_MSG"),
			frame(t, &ipc_msg.IpcMsgEntry{Desc: desc(), Qbytes: one, Qnum: one}, 0), frame(t, &ipc_msg.IpcMsg{Mtype: proto.Uint64(1), Msize: proto.Uint32(8)}, 8)),
		"ghost-file-1.img": slices.Concat(head("GHOST_FILE"), frame(t, &ghost_file.GhostFileEntry{Uid: one, Gid: one, Mode: one, Chunks: proto.Bool(true)}, 0),
			frame(t, &ghost_file.GhostChunkEntry{Len: proto.Uint64(3), Off: proto.Uint64(0)}, 3)),
		"tmpfs-dev-1.tar.gz.img": []byte("\x1f\x8b\x08\x00 no image"),
		"from-the-future-1.img":  []byte("\x01\x02\x03\x04 no image that we know"),
	}
}

func write(t *testing.T, images map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range images {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheckImages(t *testing.T) {
	for name, test := range map[string]struct {
		change func(map[string][]byte)
		want   string // empty for sound
	}{
		"sound": {func(map[string][]byte) {}, ""},
		"zombie with any thread": {func(m map[string][]byte) {
			one := proto.Uint32(1)
			m["pstree.img"] = append(m["pstree.img"], frame(t, &pstree.PstreeEntry{Pid: proto.Uint32(3), Ppid: one, Pgid: one, Sid: one, Threads: []uint32{2136119856}}, 0)...)
			dead := &criu_core.TaskCoreEntry{TaskState: proto.Uint32(6), ExitCode: one, Personality: one, Flags: one, BlkSigset: proto.Uint64(0), Comm: proto.String("z")}
			m["core-3.img"] = slices.Concat(head("CORE"), frame(t, &criu_core.CoreEntry{Mtype: criu_core.CoreEntry_X86_64.Enum(), Tc: dead}, 0))
		}, ""},
		"no inventory":        {func(m map[string][]byte) { delete(m, "inventory.img") }, "inventory.img: missing"},
		"no tree":             {func(m map[string][]byte) { delete(m, "pstree.img") }, "pstree.img: missing"},
		"no core of a task":   {func(m map[string][]byte) { delete(m, "core-1.img") }, "core-1.img: missing, task 1 has it"},
		"no core of a thread": {func(m map[string][]byte) { delete(m, "core-2.img") }, "core-2.img: missing, task 1 has it"},
		"no memory":           {func(m map[string][]byte) { delete(m, "mm-1.img") }, "mm-1.img: missing, task 1 has it"},
		"no pagemap":          {func(m map[string][]byte) { delete(m, "pagemap-1.img") }, "pagemap-1.img: missing, task 1 has it"},
		"no pages":            {func(m map[string][]byte) { delete(m, "pages-7.img") }, "pages-7.img: missing, pagemap-1.img has it"},
		"fewer pages":         {func(m map[string][]byte) { m["pages-7.img"] = m["pages-7.img"][1:] }, "pages-7.img: has "},
		"no parent":           {func(m map[string][]byte) { delete(m, "parent") }, "pagemap-1.img: has pages in a parent, and there is no link to one"},
		"no descriptors":      {func(m map[string][]byte) { delete(m, "fdinfo-1.img") }, "fdinfo-1.img: missing, ids-1.img has it"},
		"no such file":        {func(m map[string][]byte) { m["files.img"] = head("FILES") }, "fdinfo-1.img: descriptor 1 is of file 0x1, which files.img has not"},
		"other magic":         {func(m map[string][]byte) { m["core-1.img"][5] ^= 1 }, "core-1.img: its magic is not CORE"},
		"another's magic":     {func(m map[string][]byte) { m["mm-1.img"] = head("CORE") }, "mm-1.img: its magic is not MM"},
		"cut message":         {func(m map[string][]byte) { m["core-1.img"] = m["core-1.img"][:20] }, "core-1.img: entry 1: ends in the middle"},
		"cut size":            {func(m map[string][]byte) { m["core-1.img"] = m["core-1.img"][:10] }, "core-1.img: entry 1: ends in the middle"},
		"cut data":            {func(m map[string][]byte) { m["ipcns-sem-1.img"] = m["ipcns-sem-1.img"][:len(m["ipcns-sem-1.img"])-1] }, "ipcns-sem-1.img: entry 2: ends in the middle"},
		"huge message":        {func(m map[string][]byte) { copy(m["core-1.img"][8:], "\xff\xff\xff\xff") }, "core-1.img: entry 1: ends in the middle"},
		"no message":          {func(m map[string][]byte) { copy(m["core-1.img"][12:], "\xff\xff\xff") }, "core-1.img: entry 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			images := sound(t)
			test.change(images)
			got := strings.Join(CheckImages(Dir(write(t, images)), true), "; ")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A round has no tasks, descriptors or files.
func TestCheckImagesOfARound(t *testing.T) {
	all := sound(t)
	round := map[string][]byte{}
	for _, name := range []string{"inventory.img", "pagemap-1.img", "pages-7.img", "parent"} {
		round[name] = all[name]
	}
	if got := CheckImages(Dir(write(t, round)), false); got != nil {
		t.Errorf("got %q", got)
	}
}

// Whatever a file holds, it is read to its end or named.
func FuzzCheckImages(f *testing.F) {
	for _, kind := range []string{"CORE", "PAGEMAP", "GHOST_FILE", "IPCNS_MSG", "PIPES_DATA", "TCP_STREAM"} {
		f.Add(append(head(kind), 2, 0, 0, 0, 8, 1))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		CheckImages(Dir(write(t, map[string][]byte{"x.img": data, "core-1.img": data, "pagemap-1.img": data})), true)
	})
}
