package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTreeComesBack(t *testing.T) {
	needsRoot(t)
	root := t.TempDir()
	makeTree(t, root)
	want := listing(t, root)
	data := capture(t, root, Overlay, nil, nil)
	dir, err := extract(t, data, Target{Kind: Overlay, SameImage: true})
	do(t, err)
	if again := capture(t, dir, Overlay, nil, nil); !bytes.Equal(again, data) {
		t.Error("a tar of the tree that was made of it is another")
	}
	same(t, "extracted", listing(t, dir), want)
	// Above another image what leads into the old one stays away, and is refused if
	// content hangs on it.
	dir, err = extract(t, data, Target{Kind: Overlay})
	do(t, err)
	same(t, "above another image", listing(t, dir), strings.ReplaceAll(want, `[{"trusted.overlay.origin" "\x00\xfb\x01"}]`, "[]"))
}

// Marks of overlayfs are files of their own names in the tar, as in a layer of an
// image, and other programs know what they mean.
func TestMarks(t *testing.T) {
	needsRoot(t)
	root := t.TempDir()
	makeTree(t, root)
	var names []string
	in := tar.NewReader(bytes.NewReader(capture(t, root, Overlay, nil, nil)))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		do(t, err)
		names = append(names, h.Name)
		if h.Name == "etc/passwd" && h.Typeflag != tar.TypeLink {
			t.Errorf("%+v", h)
		}
	}
	for _, want := range []string{"./", "etc/.wh.group", "opaque/.wh..wh..opq", ".wh.file", "etc/.wh.real/"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %q", want, names)
		}
	}
	if slices.Index(names, "a b/") > slices.Index(names, "a-b") {
		t.Error("what is in a directory does not follow it")
	}
}

// What changes between the passes is taken as it is at the last one.
func TestChangesWhileItRuns(t *testing.T) {
	needsRoot(t)
	root := t.TempDir()
	makeTree(t, root)
	p := func(name string) string { return filepath.Join(root, name) }
	write(t, p("same-size"), random(7, 2<<20))
	write(t, p("shrinks"), random(8, 2<<20))
	write(t, p("hole-later"), random(9, 4<<20))
	data := capture(t, root, Overlay, nil, func() {
		f, err := os.OpenFile(p("same-size"), os.O_WRONLY, 0)
		do(t, err)
		_, err = f.WriteAt([]byte("changed in place"), 1<<20)
		do(t, err, f.Close(), os.Truncate(p("shrinks"), 100), os.RemoveAll(p("gone")), os.Remove(p("big")), os.Rename(p("bin"), p("sbin")))
		write(t, p("etc/new/file"), []byte("new"))
		write(t, p("etc/passwd"), []byte("toor"))
		do(t, os.Chmod(p("a-b"), 0o600), os.Link(p("a-b"), p("a-c")), unix.Lsetxattr(p("a-b"), "user.late", []byte("1"), 0))
		f, err = os.OpenFile(p("hole-later"), os.O_RDWR, 0)
		do(t, err, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 3<<20), f.Close())
	})
	dir, err := extract(t, data, Target{Kind: Overlay, SameImage: true})
	do(t, err)
	same(t, "extracted", listing(t, dir), listing(t, root))
}

// A store into a mapped file need not move its time.
func TestMappedFile(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "dir", "mapped")
	write(t, file, make([]byte, 8192))
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	do(t, err)
	m, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	do(t, err, f.Close())
	m[0] = 1 // from here on stores are not seen
	time.Sleep(30 * time.Millisecond)
	for _, known := range []bool{false, true} {
		var mapped []string
		if known {
			mapped = []string{"dir/mapped"}
		}
		m[100] = 0
		data := capture(t, root, Plain, mapped, func() { m[100] = 42 })
		dir, err := extract(t, data, Target{})
		do(t, err)
		got, err := os.ReadFile(filepath.Join(dir, "dir/mapped"))
		do(t, err)
		if known && got[100] != 42 {
			t.Error("the store was missed")
		}
	}
	do(t, unix.Munmap(m))
}

// Programs write all the while; what is there when they stop is what is taken.
func TestCaptureUnderLoad(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "steady"), random(1, 1<<20))
	stop, idle := make(chan struct{}), sync.WaitGroup{}
	for w := range 4 {
		idle.Add(1)
		go func() {
			defer idle.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				dir := filepath.Join(root, fmt.Sprint(w, "-", i%7))
				file := filepath.Join(dir, fmt.Sprint(i%11))
				_ = os.MkdirAll(dir, 0o755)
				_ = os.WriteFile(file, random(byte(i), i%3*100000+i%9), 0o644)
				if i%5 == 0 {
					_ = os.Rename(file, file+"x")
				}
				if i%13 == 0 {
					_ = os.RemoveAll(dir)
				}
			}
		}()
	}
	for range 5 {
		c, err := New(root, Plain, nil, filepath.Join(t.TempDir(), "stage"))
		do(t, err)
		time.Sleep(20 * time.Millisecond)
		do(t, c.Copy(context.Background()), c.Remove())
	}
	data := capture(t, root, Plain, nil, func() { close(stop); idle.Wait() })
	dir, err := extract(t, data, Target{})
	do(t, err)
	same(t, "extracted", listing(t, dir), listing(t, root))
}

func TestFlags(t *testing.T) {
	needsRoot(t)
	root := t.TempDir()
	write(t, filepath.Join(root, "log"), []byte("x"))
	write(t, filepath.Join(root, "fixed/file"), []byte("x"))
	if err := changeFlags(unix.AT_FDCWD, filepath.Join(root, "log"), 0x20, 0); err != nil {
		t.Skipf("no flags here: %v", err)
	}
	do(t, changeFlags(unix.AT_FDCWD, filepath.Join(root, "fixed"), 0x10, 0))
	t.Cleanup(func() { _ = Remove(root) })
	dir, err := extract(t, capture(t, root, Plain, nil, nil), Target{})
	do(t, err)
	if err := os.Truncate(filepath.Join(dir, "log"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("append only: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "fixed/file")); !errors.Is(err, unix.EPERM) {
		t.Errorf("immutable: %v", err)
	}
	do(t, Remove(dir))
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A file of which only the names and times are in the layer goes with its image.
func TestMetacopy(t *testing.T) {
	needsRoot(t)
	root := t.TempDir()
	write(t, filepath.Join(root, "file"), nil)
	do(t, os.Truncate(filepath.Join(root, "file"), 10000), unix.Lsetxattr(filepath.Join(root, "file"), metacopyXattr, nil, 0))
	data := capture(t, root, Overlay, nil, nil)
	dir, err := extract(t, data, Target{Kind: Overlay, SameImage: true})
	do(t, err)
	same(t, "extracted", listing(t, dir), listing(t, root))
	if _, err := extract(t, data, Target{Kind: Overlay}); !errors.Is(err, ErrOtherImage) {
		t.Error(err)
	}
}

func TestSwap(t *testing.T) {
	base := t.TempDir()
	live := filepath.Join(base, "diff")
	write(t, filepath.Join(live, "old"), nil)
	tree := Beside(live)
	do(t, tree.Make())
	write(t, filepath.Join(tree.Other, "new"), nil)
	if is, err := tree.Swapped(); is || err != nil {
		t.Error(is, err)
	}
	do(t, tree.Sync(), tree.Swap())
	if is, err := tree.Swapped(); !is || err != nil {
		t.Error(is, err)
	}
	for _, file := range []string{filepath.Join(live, "new"), filepath.Join(tree.Other, "old")} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	do(t, tree.Swap(), Remove(tree.Other))
	if is, err := tree.Swapped(); is || err != nil {
		t.Error(is, err)
	}
}

// Wherever a run was killed, what was there comes back, or what is new stays.
func TestRollback(t *testing.T) {
	base := t.TempDir()
	const steps = 6
	for step := range steps {
		for _, undo := range []bool{true, false} {
			var b Rollback
			for _, name := range []string{"a", "b"} {
				live := filepath.Join(base, fmt.Sprint(step, undo, name), "diff")
				write(t, filepath.Join(live, "old"), nil)
				b.Trees = append(b.Trees, Beside(live))
			}
			for i := range b.Trees {
				if step > i {
					do(t, b.Trees[i].Make())
					write(t, filepath.Join(b.Trees[i].Other, "new"), nil)
				}
			}
			b.Swapping = step > 2
			for i := range b.Trees {
				if step > i+3 {
					do(t, b.Trees[i].Swap())
				}
			}
			want := "new"
			switch {
			case undo:
				want = "old"
				do(t, b.Undo(), b.Undo())
			case step < steps-1:
				continue
			default:
				do(t, b.Finish(), b.Finish())
			}
			for _, tree := range b.Trees {
				found, err := os.ReadDir(tree.Live)
				do(t, err)
				_, err = os.Lstat(tree.Other)
				if len(found) != 1 || found[0].Name() != want || !errors.Is(err, os.ErrNotExist) {
					t.Errorf("step %d, undo %v: %v, %v", step, undo, found, err)
				}
			}
		}
	}
	gone := Rollback{Swapping: true, Trees: []Tree{{Live: filepath.Join(base, "x/diff"), Other: filepath.Join(base, "x/diff.checkpointctl"), Inode: 1}}}
	do(t, gone.Undo(), gone.Finish())
	forged := Rollback{Trees: []Tree{{Live: filepath.Join(base, "x"), Other: base}}}
	if err := forged.Finish(); err == nil {
		t.Error("a note may name anything")
	}
}

func TestMountedIn(t *testing.T) {
	const table = `30 1 8:1 / / rw - ext4 /dev/vda rw
40 30 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/docker/overlay2/x/diff,workdir=/w
41 30 8:2 / /var/lib/docker/volumes/v/_data rw - ext4 /dev/vdb rw
`
	for live, want := range map[string]bool{
		"/var/lib/docker/overlay2/x/diff": true, "/var/lib/docker/overlay2/y/diff": false, "/var/lib/docker/overlay2/x": false, "/var/lib/docker/volumes/v/_data": true,
	} {
		if mountedIn(table, live) != want {
			t.Errorf("%s: %v", live, !want)
		}
	}
}

// The note tells what is changed later from what was there, and goes with its
// tree.
func TestMark(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "before"), nil)
	moment, err := Mark(dir, "some checkpoint")
	if errors.Is(err, unix.ENOTSUP) {
		t.Skip("no attributes here")
	}
	do(t, err)
	write(t, filepath.Join(dir, "after"), nil)
	for name, late := range map[string]bool{"before": false, "after": true} {
		var st unix.Statx_t
		do(t, unix.Statx(unix.AT_FDCWD, filepath.Join(dir, name), 0, wanted, &st))
		if at(st.Ctime).Before(moment) == late {
			t.Errorf("%s: %s, the moment is %s", name, at(st.Ctime), moment)
		}
	}
	if got, ok := Marked(dir, "some checkpoint"); !ok || !got.Equal(moment) {
		t.Errorf("%s, %v, want %s", got, ok, moment)
	}
	for _, of := range []string{"some", "another", "some checkpoint "} {
		if _, ok := Marked(dir, of); ok {
			t.Errorf("%q", of)
		}
	}
	copied, err := extract(t, capture(t, dir, Plain, nil, nil), Target{})
	do(t, err)
	if _, ok := Marked(copied, "some checkpoint"); ok {
		t.Error("the note is in the tar")
	}
}

func TestBelow(t *testing.T) {
	got := Below("/data", []string{"/data/a", "/data", "/database/x", "/data/b/c"})
	if !slices.Equal(got, []string{"a", "b/c"}) || !slices.Equal(Below("/", []string{"/a/b"}), []string{"a/b"}) {
		t.Errorf("%q", got)
	}
}
