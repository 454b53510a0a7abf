package changes

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMissing(t *testing.T) {
	dir := t.TempDir()
	p := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"upper/tmp", "upper/new", "lower/bin", "lower/new", "lower/gone", "vol"} {
		if err := os.MkdirAll(p(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"upper/tmp/here", "lower/bin/app", "lower/new/hidden", "lower/gone/x", "vol/here"} {
		if err := os.WriteFile(p(f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"/bin/none", "/vol/none", "/tmp/none"}
	// Marks of overlayfs are root's.
	if err := unix.Mknod(p("upper/gone"), unix.S_IFCHR, 0); err == nil {
		want = append(want, "/gone/x")
	}
	if err := unix.Lsetxattr(p("upper/new"), "trusted.overlay.opaque", []byte("y"), 0); err == nil {
		want = append(want, "/new/hidden")
	}
	s := Search{
		Since: time.Now().Add(time.Hour), Mounts: []string{"/vol", "/elsewhere"},
		Places: []Place{{Path: "/", Source: p("upper"), Layer: true, Lower: []string{p("lower")}}, {Path: "/vol", Source: p("vol")}},
		InUse:  []string{"/bin/app", "/bin/none", "/vol/here", "/vol/none", "/elsewhere/x"},
		Needed: []string{"/tmp/here", "/tmp/none", "/gone/x", "/new/hidden"},
	}
	slices.Sort(want)
	found := run(t, s)
	slices.Sort(found.Missing)
	if !slices.Equal(found.Missing, want) {
		t.Errorf("missing: %q, want %q", found.Missing, want)
	}
	s.Places[0].Lower = nil // not known
	if found = run(t, s); slices.Contains(found.Missing, "/bin/none") {
		t.Errorf("missing: %q", found.Missing)
	}
}
