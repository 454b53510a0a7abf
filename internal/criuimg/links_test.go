package criuimg

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"google.golang.org/protobuf/proto"
)

func TestReadLinks(t *testing.T) {
	files, remaps := head("FILES"), head("REMAP_FPATH")
	for id, name := range []string{"tmp/a", "tmp/link_remap.1", "tmp/gone"} {
		n := uint32(id)
		files = append(files, frame(t, &fdinfo.FileEntry{Id: &n, Type: fdinfo.FdTypes_REG.Enum(), Reg: &regfile.RegFileEntry{
			Id: &n, Flags: proto.Uint32(0), Pos: proto.Uint64(0), Name: proto.String(name),
			Fown: &fown.FownEntry{Uid: &n, Euid: &n, Signum: &n, PidType: &n, Pid: &n},
		}}, 0)...)
	}
	remap := func(from, to uint32, kind remap_file_path.RemapType) {
		remaps = append(remaps, frame(t, &remap_file_path.RemapFilePathEntry{OrigId: &from, RemapId: &to, RemapType: &kind}, 0)...)
	}
	remap(0, 1, remap_file_path.RemapType_LINKED)
	remap(2, 7, remap_file_path.RemapType_GHOST)
	dir := write(t, map[string][]byte{"files.img": files, "remap-fpath.img": remaps})
	got, err := ReadLinks(Dir(dir))
	if err != nil || !slices.Equal(got, []Link{{Path: "/tmp/a", Name: "/tmp/link_remap.1"}}) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.Truncate(filepath.Join(dir, "files.img"), 20); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLinks(Dir(dir)); err == nil {
		t.Error("half an image is read")
	}
	if got, err := ReadLinks(Dir(t.TempDir())); got != nil || err != nil {
		t.Errorf("of nothing: %+v, %v", got, err)
	}
}
