package criuimg

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
	"google.golang.org/protobuf/proto"

	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
)

func TestPackTmpfs(t *testing.T) {
	const key = "packed"
	entry := func(path, key string, device uint32) proto.Message {
		return &mnt.MntEntry{
			MntId: proto.Uint32(1), RootDev: &device, ParentMntId: proto.Uint32(0), Flags: proto.Uint32(0), Root: proto.String("/"), Mountpoint: &path,
			Source: proto.String("tmpfs"), Options: proto.String(""), Fstype: proto.Uint32(5), ExtKey: &key,
		}
	}
	masked := t.TempDir()
	if err := os.Chmod(masked, 0o750); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(masked)
	if err != nil {
		t.Fatal(err)
	}
	image := criuimgtest.Image(t, "MNTS", entry("/proc/acpi", key, 47), entry("/sys/firmware", key, 48), entry("/data", "/data", 49))
	dump := func() string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "mountpoints-13.img"), image, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir := dump()
	if err := PackTmpfs(dir, key, map[string]fs.FileInfo{"/proc/acpi": info, "/sys/firmware": info}); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	err = Decode(Dir(dir), "mountpoints-13.img", func(m proto.Message) error {
		e := m.(*mnt.MntEntry)
		keys[e.GetMountpoint()] = e.GetExtKey()
		return nil
	})
	if err != nil || len(keys) != 3 || keys["/proc/acpi"]+keys["/sys/firmware"] != "" || keys["/data"] != "/data" {
		t.Errorf("keys %v, %v", keys, err)
	}
	for _, name := range []string{"tmpfs-dev-47.tar.gz.img", "tmpfs-dev-48.tar.gz.img"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(z)
		h, err := r.Next()
		if err != nil || h.Name != "./" || h.Typeflag != tar.TypeDir || h.Mode != 0o750 {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: %v behind the directory", name, err)
		}
	}
	dir = dump()
	err = PackTmpfs(dir, key, map[string]fs.FileInfo{"/proc/acpi": info, "/proc/scsi": info})
	if err == nil || !strings.Contains(err.Error(), "lack 1 of 2") {
		t.Errorf("one that is not there: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("written in spite of that: %v", left)
	}
}
