package changes

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes files and directories (with a slash at the end), long enough before
// the moment that it returns.
func makeTree(t *testing.T, names ...string) (string, time.Time) {
	t.Helper()
	root := t.TempDir()
	for _, n := range names {
		p := filepath.Join(root, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(n, "/") {
			if err := os.MkdirAll(p, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(p, []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, moment()
}

// moment is far enough from what was done before and from what is done after it.
func moment() time.Time {
	time.Sleep(25 * time.Millisecond)
	now := time.Now()
	time.Sleep(25 * time.Millisecond)
	return now
}

func run(t *testing.T, s Search) Found {
	t.Helper()
	found, err := s.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func texts(l List) []string {
	var out []string
	for _, c := range l.First() {
		out = append(out, c.String())
	}
	return out
}

func want(t *testing.T, what string, l List, expected ...string) {
	t.Helper()
	if got := texts(l); !slices.Equal(got, expected) || l.Total != len(expected) {
		t.Errorf("%s: %d, %q, want %q", what, l.Total, got, expected)
	}
}

func do(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestEveryKindOfChange(t *testing.T) {
	root, since := makeTree(t, "log", "size", "mode", "old", "target", "gone/x", "gone/y", "quiet/deep/file", "same", "empty/", "atomic")
	p := func(name string) string { return filepath.Join(root, name) }
	s := Search{Since: since, Places: []Place{{Path: "/", Source: root}}, InUse: []string{"/atomic"}}
	want(t, "before", run(t, s).Own)
	then := time.Unix(1, 0)
	log, err := os.OpenFile(p("log"), os.O_APPEND|os.O_WRONLY, 0)
	do(t, err)
	_, err = log.WriteString("more")
	do(t, err, log.Close(),
		os.Truncate(p("size"), 1), os.Chtimes(p("size"), then, then), // hides nothing from ctime
		os.Chmod(p("mode"), 0o600),
		os.Rename(p("old"), p("renamed")),
		os.Link(p("target"), p("link")),
		os.Remove(p("gone/x")),
		os.MkdirAll(p("empty/new/dir"), 0o755),
		os.WriteFile(p("atomic.new"), nil, 0o600), os.Rename(p("atomic.new"), p("atomic")),
	)
	want(t, "after", run(t, s).Own,
		"/atomic (replaced)", "/empty/new/dir (added)", "/gone (something in it was deleted)", "/link (attributes changed)",
		"/log (changed)", "/mode (attributes changed)", "/renamed (attributes changed)", "/size (attributes changed)", "/target (attributes changed)")
}

// What Docker and CRIU themselves make at a start or restore is no change.
func TestWhatARestoreMakesIsNoChange(t *testing.T) {
	root, since := makeTree(t, "etc/passwd", "tmp/", "run/", "vol/")
	p := func(name string) string { return filepath.Join(root, name) }
	do(t, os.Mkdir(p("data"), 0o755), os.WriteFile(p("etc/hosts"), nil, 0o644), os.Mkdir(p("vol/sub"), 0o755),
		os.WriteFile(p("tmp/ghost"), nil, 0o600), os.Remove(p("tmp/ghost")), syscall.Mkfifo(p("run/fifo"), 0o600))
	l, err := net.Listen("unix", p("run/sock"))
	do(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s := Search{
		Since: since, Places: []Place{{Path: "/", Source: root}},
		Mounts: []string{"/", "/data", "/etc/hosts", "/vol/sub"}, Ghosts: []string{"/tmp"},
	}
	want(t, "made by a restore", run(t, s).Own)
	// What is hidden below a mount does not count, what is beside it does.
	do(t, os.WriteFile(p("data/hidden"), nil, 0o600), os.WriteFile(p("vol/seen"), nil, 0o600))
	want(t, "beside", run(t, s).Own, "/vol/seen (added)")
	s.Mounts, s.Ghosts = nil, nil
	want(t, "without knowing", run(t, s).Own, "/data/hidden (added)", "/etc/hosts (added)", "/tmp (something in it was deleted)", "/vol/seen (added)", "/vol/sub (added)")
}

// Only a file that was in use counts in what others may change, even if it is
// gone.
func TestSharedPlaces(t *testing.T) {
	layer, _ := makeTree(t, "bin/app")
	shared, since := makeTree(t, "open", "gone", "other", "steady")
	p := func(name string) string { return filepath.Join(shared, name) }
	do(t, os.WriteFile(p("open"), []byte("x"), 0o600), os.Remove(p("gone")), os.WriteFile(p("other"), nil, 0o600), os.WriteFile(p("new"), nil, 0o600))
	s := Search{
		Since: since, Mounts: []string{"/", "/data", "/tmp"},
		Places: []Place{{Path: "/", Source: layer, Layer: true}, {Path: "/data", Source: shared, Shared: true}},
	}
	found := run(t, s)
	want(t, "own", found.Own)
	want(t, "shared", found.Shared, "/data/new (added)", "/data/open (changed)", "/data/other (changed)")
	s.InUse = []string{"/bin/app", "/data/gone", "/data/open", "/data/steady", "/lib/of-the-image", "/tmp/of-a-tmpfs"}
	found = run(t, s)
	want(t, "own", found.Own, "/data/gone (deleted)", "/data/open (changed)")
	want(t, "shared", found.Shared, "/data/new (added)", "/data/other (changed)")
	// A page of a mapped file changes without a time, but only while it runs.
	s.Written = []string{"/bin/app", "/data/steady", "/lib/of-the-image", "/tmp/of-a-tmpfs"}
	want(t, "ended", run(t, s).Own, "/data/gone (deleted)", "/data/open (changed)")
	s.RanOn = true
	want(t, "ran on", run(t, s).Own, "/bin/app (mapped and writable)", "/data/gone (deleted)", "/data/open (changed)", "/data/steady (mapped and writable)")
}

// A bind of one file.
func TestPlaceOfAFile(t *testing.T) {
	dir, since := makeTree(t, "conf")
	file := filepath.Join(dir, "conf")
	s := Search{Since: since, Mounts: []string{"/", "/etc/conf"}, Places: []Place{{Path: "/etc/conf", Source: file, Shared: true}}}
	want(t, "before", run(t, s).Shared)
	do(t, os.WriteFile(file, nil, 0o600))
	want(t, "changed", run(t, s).Shared, "/etc/conf (changed)")
	s.InUse = []string{"/etc/conf"}
	found := run(t, s)
	want(t, "in use", found.Own, "/etc/conf (changed)")
	want(t, "in use, shared", found.Shared)
	do(t, os.Symlink("conf", filepath.Join(dir, "link")))
	s.Places[0].Source = filepath.Join(dir, "link")
	found = run(t, s)
	want(t, "by a link", found.Own, "/etc/conf (changed)")
	if found.Resized != nil {
		t.Errorf("resized: %q", found.Resized)
	}
	s.Sizes = map[string]int64{"/etc/conf": 5, "/else": 1}
	if found = run(t, s); !slices.Equal(found.Resized, []string{"/etc/conf"}) {
		t.Errorf("resized: %q", found.Resized)
	}
	// A place that is gone is left to others to tell.
	do(t, os.Remove(file))
	want(t, "gone", run(t, s).Own, "/etc/conf (deleted)")
}

// In the layer of another container each file is another, directories are not.
func TestForeignPlace(t *testing.T) {
	root, since := makeTree(t, "a/b/old", "data/", "workdir/")
	s := Search{Since: since, Mounts: []string{"/", "/data"}, Places: []Place{{Path: "/", Source: root, Layer: true, Foreign: true}}}
	want(t, "foreign", run(t, s).Own, "/a/b/old (not of the checkpoint's files)")
}

// Docker gives an empty volume the owner and mode of the directory that it mounts it on,
// when it makes a container.
func TestRemountedPlace(t *testing.T) {
	root, since := makeTree(t, "sub/file")
	do(t, os.Chmod(root, 0o750))
	s := Search{Since: since, Places: []Place{{Path: "/data", Source: root}}}
	want(t, "no volume", run(t, s).Own, "/data (attributes changed)")
	s.Places[0].Remounted = true
	want(t, "a volume", run(t, s).Own)
	do(t, os.Chmod(filepath.Join(root, "sub"), 0o750))
	want(t, "below", run(t, s).Own, "/data/sub (attributes changed)")
	do(t, os.RemoveAll(filepath.Join(root, "sub")))
	want(t, "something is gone", run(t, s).Own, "/data (something in it was deleted)")
}

func TestWhiteout(t *testing.T) {
	root, since := makeTree(t, "etc/x")
	if err := syscall.Mknod(filepath.Join(root, "etc/passwd"), syscall.S_IFCHR, 0); err != nil {
		t.Skipf("no character devices here: %v", err)
	}
	s := Search{Since: since, Places: []Place{{Path: "/", Source: root, Layer: true}}}
	want(t, "whiteout", run(t, s).Own, "/etc/passwd (deleted)")
}

// All of a larger tree is seen, at any depth, and each change once.
func TestLargeTree(t *testing.T) {
	const dirs, files = 300, 30
	root := t.TempDir()
	name := func(d, f int) string {
		return filepath.Join(root, fmt.Sprint(d%10), fmt.Sprint(d%100), fmt.Sprint(d), fmt.Sprint(f))
	}
	for d := range dirs {
		do(t, os.MkdirAll(filepath.Dir(name(d, 0)), 0o755))
		for f := range files {
			do(t, os.WriteFile(name(d, f), nil, 0o600))
		}
	}
	s := Search{Since: moment(), Places: []Place{{Path: "/", Source: root}}}
	want(t, "before", run(t, s).Own)
	changed := 0
	for d := 0; d < dirs; d += 3 {
		for f := d % 7; f < files; f += 7 {
			do(t, os.Truncate(name(d, f), 1))
			changed++
		}
	}
	found := run(t, s)
	if got := found.Own.First(); found.Own.Total != changed || len(got) != Shown || got[0].Path != "/0/0/0/0" {
		t.Errorf("%d changes, want %d: %v", found.Own.Total, changed, got)
	}
	s.Since = time.Unix(0, 0)
	if got, all := run(t, s).Own.Total, dirs*files; got != all {
		t.Errorf("%d files since ever, want %d", got, all)
	}
	if text := found.Own.String(); !strings.HasSuffix(text, fmt.Sprintf(", and %d more", changed-Shown)) {
		t.Error(text)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	root, since := makeTree(t, "a")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := Search{Since: since, Places: []Place{{Path: "/", Source: root}}}
	if _, err := s.Run(ctx); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Error(err)
	}
}

// A filesystem without fractions of seconds says too little of a change in the
// same second: it counts.
func TestSince(t *testing.T) {
	f := &finder{Search: Search{Since: time.Unix(100, 500)}}
	for ts, want := range map[[2]int64]bool{{99, 999}: false, {100, 499}: false, {100, 500}: true, {100, 0}: true, {101, 0}: true, {99, 0}: false} {
		if got := f.since(Place{}, stamp(ts)); got != want {
			t.Errorf("%v: %v", ts, got)
		}
	}
}

func stamp(ts [2]int64) unix.StatxTimestamp {
	return unix.StatxTimestamp{Sec: ts[0], Nsec: uint32(ts[1])}
}

// The speed of the walk, of a tree of one's own: CHECKPOINTCTL_TREE=DIR.
func BenchmarkWalk(b *testing.B) {
	root := os.Getenv("CHECKPOINTCTL_TREE")
	if root == "" {
		root = b.TempDir()
		for i := range 20000 {
			dir := filepath.Join(root, fmt.Sprint(i/10000), fmt.Sprint(i/100))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	s := Search{Since: time.Now().Add(time.Hour), Places: []Place{{Path: "/", Source: root}}}
	for b.Loop() {
		if found, err := s.Run(context.Background()); err != nil || found.Own.Total > 0 {
			b.Fatal(found, err)
		}
	}
}
