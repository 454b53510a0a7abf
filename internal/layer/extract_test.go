package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarOf makes a tar of headers; a name that ends with a slash is a directory's.
func tarOf(t testing.TB, list ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range list {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if strings.HasSuffix(h.Name, "/") {
				h.Typeflag = tar.TypeDir
			}
		}
		h.Uid, h.Gid, h.Mode = os.Getuid(), os.Getgid(), 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func hostile() map[string][]tar.Header {
	dir, link := tar.Header{Name: "d/"}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}
	return map[string][]tar.Header{
		"above":                  {{Name: "../x"}},
		"above in between":       {dir, {Name: "d/../../x"}},
		"absolute":               {{Name: "/x"}},
		"not plain":              {dir, {Name: "d//x"}},
		"no directory":           {{Name: "d/x"}},
		"through a link":         {link, {Name: "l/x"}},
		"through a link that is": {dir, {Name: "d/l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "d/l/x"}},
		"through a file":         {{Name: "f"}, {Name: "f/x"}},
		"in the place of a link": {link, {Name: "l/"}, {Name: "l/x"}},
		"twice":                  {{Name: "f"}, {Name: "f"}},
		"twice, once a mark":     {{Name: "f"}, {Name: ".wh.f"}},
		"link to above":          {{Name: "l", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}},
		"link to absolute":       {{Name: "l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"link to nothing":        {{Name: "l", Typeflag: tar.TypeLink, Linkname: "x"}},
		"link through a link":    {link, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/passwd"}},
		"link to a directory":    {dir, {Name: "h", Typeflag: tar.TypeLink, Linkname: "d"}},
		"mark of a directory":    {{Name: ".wh..."}},
		"mark of nothing":        {{Name: ".wh."}},
		"mark as a device":       {{Name: "x", Typeflag: tar.TypeChar}},
		"contiguous":             {{Name: "x", Typeflag: tar.TypeCont}},
		"opaque as an attribute": {{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}}},
		"our own attribute":      {{Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.trusted.checkpointctl.files": "y"}}},
		"our own, escaped":       {{Name: "x", PAXRecords: map[string]string{"LIBARCHIVE.xattr.trusted%2Echeckpointctl.files": "eQ"}}},
		"escaped wrongly":        {{Name: "x", PAXRecords: map[string]string{"LIBARCHIVE.xattr.user.a%3": "eQ"}}},
		"not base64":             {{Name: "x", PAXRecords: map[string]string{"LIBARCHIVE.xattr.user.a": "="}}},
		"unknown type":           {{Name: "x", PAXRecords: map[string]string{"CHECKPOINTCTL.type": "door"}}},
		"unknown flag":           {{Name: "x", PAXRecords: map[string]string{"SCHILY.fflags": "odd"}}},
		"flag on a link":         {{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc", PAXRecords: map[string]string{"SCHILY.fflags": "schg"}}},
		"top is a file":          {{Name: "."}},
		"top twice":              {{Name: "./"}, {Name: "./"}},
	}
}

func TestHostileTars(t *testing.T) {
	for name, list := range hostile() {
		outside := t.TempDir()
		dir := filepath.Join(outside, "a", "b")
		do(t, os.MkdirAll(dir, 0o700))
		data := tarOf(t, list...)
		_, err := Extract(context.Background(), bytes.NewReader(data), int64(len(data)), dir, Target{Kind: Overlay, SameImage: true})
		if !errors.Is(err, ErrBadTar) {
			t.Errorf("%s: %v", name, err)
		}
		for _, d := range []string{outside, filepath.Join(outside, "a")} {
			if found, _ := os.ReadDir(d); len(found) != 1 {
				t.Errorf("%s: %d files outside", name, len(found))
			}
		}
	}
}

// A small tar that says that it holds much.
func TestBomb(t *testing.T) {
	sparse := tarOf(t, tar.Header{Name: "bomb", Size: 512})
	// GNU's old format of sparse files: one header for any size.
	copy(sparse[257:], "ustar  \x00")
	sparse[156] = 'S'
	clear(sparse[345:500])
	copy(sparse[386:], "00000000000\x0000000001000\x00")
	copy(sparse[483:], "77777777777\x00")
	copy(sparse[148:], "        ")
	sum := 0
	for _, b := range sparse[:512] {
		sum += int(b)
	}
	copy(sparse[148:], fmt.Sprintf("%06o\x00 ", sum))
	if _, err := extract(t, sparse, Target{}); !errors.Is(err, ErrBadTar) || !strings.Contains(err.Error(), "larger than the tar") {
		t.Error(err)
	}
}

func TestDamagedTars(t *testing.T) {
	whole := tarOf(t, tar.Header{Name: "d/"}, tar.Header{Name: "d/f", Size: 5000}, tar.Header{Name: "g", Size: 10, PAXRecords: map[string]string{sparseRecord: "1"}})
	if _, err := extract(t, whole, Target{}); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{100, 1024 + 700, len(whole) - 1024 - 505} {
		if _, err := extract(t, whole[:size], Target{}); !errors.Is(err, ErrBadTar) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// In a tree that is no overlay's, a name like that of a mark is a name.
func TestNoMarksInVolumes(t *testing.T) {
	dir, err := extract(t, tarOf(t, tar.Header{Name: ".wh.x"}, tar.Header{Name: ".wh..wh..opq"}), Target{})
	do(t, err)
	if found, _ := os.ReadDir(dir); len(found) != 2 || found[1].Name() != ".wh.x" {
		t.Errorf("%v", found)
	}
}

func FuzzExtract(f *testing.F) {
	for _, list := range hostile() {
		f.Add(tarOf(f, list...))
	}
	f.Add(tarOf(f, tar.Header{Name: "./"}, tar.Header{Name: "d/"}, tar.Header{Name: "d/f", Size: 700}, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "d/f"}))
	outside := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		top, err := os.MkdirTemp(outside, "")
		do(t, err)
		defer func() { do(t, Remove(top)) }()
		dir := filepath.Join(top, "x")
		do(t, os.Mkdir(dir, 0o700))
		_, _ = Extract(context.Background(), bytes.NewReader(data), int64(len(data)), dir, Target{Kind: Overlay, SameImage: true})
		found, err := os.ReadDir(top)
		do(t, err)
		if len(found) != 1 {
			t.Errorf("%v outside", found)
		}
	})
}
