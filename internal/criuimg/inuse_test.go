package criuimg

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// emptyMemory is that of a task that has nothing mapped.
func emptyMemory() *mm.MmEntry {
	return &mm.MmEntry{
		MmStartCode: proto.Uint64(0), MmEndCode: proto.Uint64(0), MmStartData: proto.Uint64(0), MmEndData: proto.Uint64(0),
		MmStartStack: proto.Uint64(0), MmStartBrk: proto.Uint64(0), MmBrk: proto.Uint64(0), MmArgStart: proto.Uint64(0),
		MmArgEnd: proto.Uint64(0), MmEnvStart: proto.Uint64(0), MmEnvEnd: proto.Uint64(0), ExeFileId: proto.Uint32(1),
	}
}

func TestReadInUse(t *testing.T) {
	files, mappings := head("FILES"), emptyMemory()
	file := func(id uint32, name string, mode uint32) {
		reg := &regfile.RegFileEntry{
			Id: &id, Flags: proto.Uint32(0), Pos: proto.Uint64(0), Name: &name, Mode: &mode,
			Fown: &fown.FownEntry{Uid: &id, Euid: &id, Signum: &id, PidType: &id, Pid: &id},
		}
		if id == 2 {
			reg.Size = proto.Uint64(4096)
		}
		if mode == 0 {
			reg.Mode = nil // of an older CRIU
		}
		files = append(files, frame(t, &fdinfo.FileEntry{Id: &id, Type: fdinfo.FdTypes_REG.Enum(), Reg: reg}, 0)...)
	}
	mapped := func(id uint64, prot, status uint32) {
		mappings.Vmas = append(mappings.Vmas, &vma.VmaEntry{
			Start: proto.Uint64(0), End: proto.Uint64(1), Pgoff: proto.Uint64(0), Shmid: &id, Prot: &prot, Flags: proto.Uint32(0), Status: &status, Fd: proto.Int64(-1),
		})
	}
	file(1, "/bin/app", unix.S_IFREG|0o755)
	file(2, "/data/db", unix.S_IFREG)
	file(3, "/data/db", unix.S_IFREG) // opened again
	file(4, "/data", unix.S_IFDIR)
	file(5, "/dev/null", unix.S_IFCHR)
	file(6, "/var/tmp/x (deleted)", unix.S_IFREG)
	file(7, "old/criu", 0)
	mapped(1, unix.PROT_READ|unix.PROT_WRITE, 1<<6) // private
	mapped(7, unix.PROT_READ, vmaFileShared)
	mapped(2, unix.PROT_READ|unix.PROT_WRITE, vmaFileShared)
	images := map[string][]byte{
		"files.img": files,
		"mm-1.img":  slices.Concat(head("MM"), frame(t, mappings, 0)),
		"remap-fpath.img": slices.Concat(head("REMAP_FPATH"),
			frame(t, &remap_file_path.RemapFilePathEntry{OrigId: proto.Uint32(6), RemapId: proto.Uint32(1)}, 0)),
	}
	got, err := ReadInUse(Dir(write(t, images)))
	want := InUse{Files: []string{"/bin/app", "/data/db", "/old/criu"}, Sizes: map[string]int64{"/data/db": 4096}, Written: []string{"/data/db"}, Ghosts: []string{"/var/tmp"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	images["mm-1.img"] = images["mm-1.img"][:20]
	if _, err := ReadInUse(Dir(write(t, images))); err == nil || !strings.HasPrefix(err.Error(), "mm-1.img: entry 1") {
		t.Error(err)
	}
	if _, err := ReadInUse(Dir(t.TempDir())); err == nil || !strings.HasPrefix(err.Error(), "files.img: ") {
		t.Error(err)
	}
}
