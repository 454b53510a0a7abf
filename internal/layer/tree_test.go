package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func do(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners, devices and attributes")
	}
}

func random(seed byte, size int) []byte {
	out := make([]byte, size)
	x := uint32(seed)*2654435761 + 1
	for i := range out {
		x = x*1664525 + 1013904223
		out[i] = byte(x >> 24)
	}
	return out
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	do(t, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644))
}

// makeTree makes files of every kind.
func makeTree(t *testing.T, root string) {
	t.Helper()
	p := func(name string) string { return filepath.Join(root, name) }
	write(t, p("etc/passwd"), []byte("root"))
	write(t, p("etc/empty"), nil)
	write(t, p("big"), random(1, 3<<20+17))
	write(t, p("bin/su"), random(2, 5000))
	write(t, p("a b/ümlaut\n"), []byte("x"))
	write(t, p("a-b"), []byte("sorts between"))
	write(t, p(strings.Repeat("long/", 40)+strings.Repeat("n", 200)), []byte("deep"))
	do(t, os.Mkdir(p("etc/.wh.real"), 0o700), os.Symlink("../../outside", p("etc/link")), os.Symlink("/etc/passwd", p("absolute")),
		os.Link(p("etc/passwd"), p("a b/hard")), os.Link(p("big"), p("zzz")), unix.Mkfifo(p("fifo"), 0o640),
		os.Mkdir(p("gone"), 0o755), os.Mkdir(p("opaque"), 0o755))
	write(t, p(".wh.file"), []byte("no mark"))
	hole, err := os.Create(p("holes"))
	do(t, err, hole.Truncate(8<<20))
	_, err = hole.WriteAt(random(3, 4096), 5<<20)
	do(t, err, hole.Close())
	all, err := os.Create(p("all-hole"))
	do(t, err, all.Truncate(12345678), all.Close())
	do(t, os.Chmod(p("bin/su"), 0o4755), os.Chmod(p("etc"), 0o2770), os.Chmod(p("a b"), 0o1777), os.Chmod(p("etc/empty"), 0))
	do(t, unix.Lsetxattr(p("etc/empty"), "user.a", []byte("b\x00=\n"), 0), unix.Lsetxattr(p("etc/empty"), "user.a=b%3D", []byte("c=\x00"), 0))
	if os.Geteuid() == 0 {
		do(t, os.Lchown(p("etc/link"), 3000000, 4), os.Chown(p("big"), 1, 2), os.Chown(p("fifo"), 5, 6),
			unix.Mknod(p("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), unix.Mknod(p("disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 1000))),
			unix.Mknod(p("etc/group"), unix.S_IFCHR, 0), unix.Mknod(p("sock"), unix.S_IFSOCK|0o755, 0),
			unix.Lsetxattr(p("opaque"), opaqueXattr, []byte("y"), 0),
			unix.Lsetxattr(p("etc"), "trusted.overlay.origin", []byte{0, 0xfb, 1}, 0),
			unix.Lsetxattr(p("bin/su"), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0),
			// A default ACL, which what is made in the directory would inherit.
			unix.Lsetxattr(p("a b"), "system.posix_acl_default", []byte("\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"), 0))
	}
	old := time.Unix(-5, 123456789)
	for i, name := range []string{"etc/passwd", "fifo", "etc/link", "opaque", "etc", "."} {
		at := []unix.Timespec{{Sec: 1, Nsec: int64(i)}, {Sec: old.Unix() + int64(i), Nsec: int64(old.Nanosecond())}}
		do(t, unix.UtimesNanoAt(unix.AT_FDCWD, p(name), at, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// listing says all of a tree that must come back.
func listing(t *testing.T, root string) string {
	t.Helper()
	var out strings.Builder
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, at)
		var st unix.Stat_t
		do(t, unix.Lstat(at, &st))
		fmt.Fprintf(&out, "%q %o %d:%d %d %d.%09d %x", name, st.Mode, st.Uid, st.Gid, st.Nlink, st.Mtim.Sec, st.Mtim.Nsec, st.Rdev)
		if !d.IsDir() && st.Nlink > 1 {
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			fmt.Fprintf(&out, " link of %q", first[st.Ino])
		}
		if to, err := os.Readlink(at); err == nil {
			fmt.Fprintf(&out, " to %q", to)
		}
		if d.Type().IsRegular() {
			data, err := os.ReadFile(at)
			do(t, err)
			fmt.Fprintf(&out, " %d %x", len(data), sha256.Sum256(data))
			if st.Size > 1<<20 && st.Blocks*512 < st.Size/2 {
				out.WriteString(" holes")
			}
		}
		dir, err := os.Open(filepath.Dir(at))
		do(t, err)
		xattrs, err := readXattrs(int(dir.Fd()), filepath.Base(at))
		do(t, err, dir.Close())
		fmt.Fprintf(&out, " %q\n", xattrs)
		return nil
	})
	do(t, err)
	return out.String()
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := 0; i < max(len(g), len(w)); i++ {
		a, b := "", ""
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Fatalf("%s:\ngot  %s\nwant %s", what, a, b)
		}
	}
}

// capture takes a tree, which change changes between the two passes.
func capture(t *testing.T, root string, kind Kind, mapped []string, change func()) []byte {
	t.Helper()
	c, err := New(root, kind, func() []string { return mapped }, filepath.Join(t.TempDir(), "stage"))
	do(t, err, c.Copy(context.Background()))
	if change != nil {
		change()
	}
	do(t, c.Finish(context.Background(), nil))
	file := filepath.Join(t.TempDir(), "tar")
	f, err := os.Create(file)
	do(t, err)
	summary, err := c.WriteTo(context.Background(), f)
	do(t, err, f.Close())
	data, err := os.ReadFile(file)
	do(t, err, c.Remove())
	if summary.SizeBytes != int64(len(data)) || summary.Entries == 0 {
		t.Errorf("%+v of %d bytes", summary, len(data))
	}
	return data
}

func extract(t *testing.T, data []byte, to Target) (string, error) {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { _ = Remove(dir) })
	_, err := Extract(context.Background(), bytes.NewReader(data), int64(len(data)), dir, to)
	return dir, err
}
