package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unpack does what Podman does with a tar: it unpacks it over what is there, and
// deletes files afterwards.
func unpack(t *testing.T, data []byte, deleted []string, dir string) {
	t.Helper()
	for in := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		do(t, err)
		if at := filepath.Clean(h.Name); at == "." {
			continue // so does Podman
		}
		at := filepath.Join(dir, h.Name)
		if info, err := os.Lstat(at); err == nil && (!info.IsDir() || h.Typeflag != tar.TypeDir) {
			do(t, os.RemoveAll(at))
		}
		switch h.Typeflag {
		case tar.TypeDir:
			do(t, os.MkdirAll(at, 0o755), os.Chmod(at, os.FileMode(h.Mode&0o777)))
		case tar.TypeSymlink:
			do(t, os.Symlink(h.Linkname, at))
		case tar.TypeLink:
			do(t, os.Link(filepath.Join(dir, h.Linkname), at))
		case tar.TypeReg:
			content, err := io.ReadAll(in)
			do(t, err)
			write(t, at, content)
		}
	}
	for _, name := range deleted {
		do(t, os.RemoveAll(filepath.Join(dir, name)))
	}
}

// What the container changed in the image's files is the same after it was unpacked
// over them: replaced directories, deleted files, owners and modes of directories.
func TestMergeOverTheImage(t *testing.T) {
	needsRoot(t)
	upper, image := t.TempDir(), t.TempDir()
	for _, name := range []string{"replaced/old", "kept/old", "kept/gone", "kept/dir/gone"} {
		write(t, filepath.Join(image, name), []byte("of the image"))
	}
	up := func(name string) string { return filepath.Join(upper, name) }
	write(t, up("replaced/new"), []byte("new"))
	write(t, up("kept/old"), []byte("changed"))
	write(t, up("kept/.wh.literal"), []byte("no mark"))
	do(t, os.Chmod(upper, 0o711), unix.Lsetxattr(up("replaced"), opaqueXattr, []byte(opaqueYes), 0), os.Chmod(up("kept"), 0o700),
		unix.Mknod(up("kept/gone"), unix.S_IFCHR, whiteoutDev), unix.Mknod(up("kept/dir"), unix.S_IFCHR, whiteoutDev),
		unix.Mknod(up("socket"), unix.S_IFSOCK|0o600, 0), os.Link(up("kept/old"), up("hard")),
		os.Symlink("../../../etc/passwd", up("kept/above")), os.Symlink("../hard", up("kept/within")),
		unix.Lsetxattr(up("kept"), originXattr, []byte("x"), 0), unix.Lsetxattr(up("kept/old"), "user.a", []byte("b"), 0))
	var out bytes.Buffer
	deleted, err := Merge(context.Background(), bytes.NewReader(capture(t, upper, Overlay, nil, nil)), &out, Overlay)
	do(t, err)
	if want := []string{"/kept/dir", "/kept/gone"}; !slices.Equal(deleted, want) {
		t.Errorf("deleted: %q, want %q", deleted, want)
	}
	if strings.Contains(out.String(), "trusted.overlay") || strings.Contains(out.String(), "CHECKPOINTCTL") || !strings.Contains(out.String(), "SCHILY.xattr.user.a=b") {
		t.Error("the tar has records that only this program knows, or lacks an attribute")
	}
	unpack(t, out.Bytes(), deleted, image)
	var got []string
	do(t, filepath.WalkDir(image, func(path string, e os.DirEntry, err error) error {
		text := ""
		switch {
		case err != nil:
			return err
		case e.Type().IsRegular():
			data, err := os.ReadFile(path)
			do(t, err)
			text = "=" + string(data)
		case !e.IsDir():
			to, err := os.Readlink(path)
			do(t, err)
			text = ">" + to
		}
		got = append(got, strings.TrimPrefix(path, image)+text)
		return nil
	}))
	want := []string{"", "/hard=changed", "/kept", "/kept/.wh.literal=no mark", "/kept/above>/etc/passwd", "/kept/old=changed", "/kept/within>../hard", "/replaced", "/replaced/new=new"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for name, want := range map[string]os.FileMode{"kept": 0o700, ".": 0o711} {
		if info, err := os.Stat(filepath.Join(image, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("the mode of the image's directory %s: %v, %v", name, info.Mode(), err)
		}
	}
}

// Marks of which overlayfs alone knows what they mean are not lost, but refused, and
// so is a tar that is cut.
func TestMergeRefuses(t *testing.T) {
	needsRoot(t)
	upper := t.TempDir()
	write(t, filepath.Join(upper, "moved/file"), []byte("x"))
	whole := capture(t, upper, Overlay, nil, nil)
	if _, err := Merge(context.Background(), bytes.NewReader(whole[:len(whole)-2000]), io.Discard, Overlay); !errors.Is(err, ErrBadTar) {
		t.Errorf("a tar that is cut: %v", err)
	}
	do(t, unix.Lsetxattr(filepath.Join(upper, "moved"), redirectXattr, []byte("/elsewhere"), 0))
	_, err := Merge(context.Background(), bytes.NewReader(capture(t, upper, Overlay, nil, nil)), io.Discard, Overlay)
	if !errors.Is(err, ErrOtherImage) || !strings.Contains(err.Error(), "moved") {
		t.Errorf("a directory that was renamed: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Merge(ctx, bytes.NewReader(whole), io.Discard, Overlay); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}
