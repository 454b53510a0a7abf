package metadata

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCheckSafe(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T, base string) (dir string)
		safe    bool
	}{
		"private":      {func(_ *testing.T, base string) string { return base }, true},
		"not there":    {func(_ *testing.T, base string) string { return filepath.Join(base, "a/b") }, true},
		"others write": {func(t *testing.T, base string) string { chmod(t, base, 0o777); return base }, false},
		"group writes": {func(t *testing.T, base string) string { chmod(t, base, 0o770); return base }, false},
		"sticky":       {func(t *testing.T, base string) string { chmod(t, base, 0o777|os.ModeSticky); return base }, false},
		"parent sticky": {func(t *testing.T, base string) string {
			chmod(t, base, 0o777|os.ModeSticky)
			return filepath.Join(base, "store")
		}, true},
		"parent writable": {func(t *testing.T, base string) string { chmod(t, base, 0o777); return filepath.Join(base, "store") }, false},
		"link":            {func(t *testing.T, base string) string { return link(t, base, filepath.Join(base, "to")) }, true},
		"relative link":   {func(t *testing.T, base string) string { return link(t, base, "../"+filepath.Base(base)+"/to") }, true},
		"link to writable": {func(t *testing.T, base string) string {
			chmod(t, filepath.Join(base, "to"), 0o777)
			return link(t, base, "to")
		}, false},
		"below such a link": {func(t *testing.T, base string) string {
			chmod(t, filepath.Join(base, "to"), 0o777)
			return filepath.Join(link(t, base, "to"), "store")
		}, false},
		"loop": {func(t *testing.T, base string) string { return link(t, base, "link") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			base := filepath.Join(t.TempDir(), "base")
			if err := os.MkdirAll(filepath.Join(base, "to"), 0o700); err != nil {
				t.Fatal(err)
			}
			dir := test.prepare(t, base)
			err := CheckSafe(dir)
			if test.safe && err != nil || !test.safe && !errors.Is(err, ErrExposed) && !errors.Is(err, syscall.ELOOP) {
				t.Errorf("%s: %v", dir, err)
			}
			s := Store{Dir: dir}
			if _, lockErr := s.Lock("c"); (lockErr == nil) != test.safe {
				t.Errorf("lock: %v", lockErr)
			}
			if _, listErr := s.List(""); (listErr == nil) != test.safe {
				t.Errorf("list: %v", listErr)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, base, to string) string {
	t.Helper()
	path := filepath.Join(base, "link")
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// A directory that the user made becomes the owner's alone, unless it holds
// something already.
func TestStoreIsPrivate(t *testing.T) {
	dir := t.TempDir()
	chmod(t, dir, 0o755)
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (Store{Dir: dir}).Lock("c"); !errors.Is(err, ErrExposed) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	publish(t, Store{Dir: dir}, "c", "one", time.Now())
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestHostileRecord(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"parent above":   func(r *Record) { r.Parent = "../other" },
		"parent a path":  func(r *Record) { r.Parent = "a/b" },
		"file above":     func(r *Record) { r.Files[0].Name = "../../etc/passwd" },
		"file absolute":  func(r *Record) { r.Files[0].Name = "/etc/passwd" },
		"file unclean":   func(r *Record) { r.Files[0].Name = "a/../pages-1.img" },
		"file nothing":   func(r *Record) { r.Files[0].Name = "" },
		"file itself":    func(r *Record) { r.Files[0].Name = "." },
		"file twice":     func(r *Record) { r.Files = append(r.Files, r.Files[0]) },
		"file as record": func(r *Record) { r.Files[0].Name = RecordFile },
		"huge":           func(r *Record) { r.Image = strings.Repeat("x", maxRecord) },
	} {
		t.Run(name, func(t *testing.T) {
			s := Store{Dir: t.TempDir()}
			publish(t, s, "c", "one", time.Now())
			r, err := s.Get("c", "one")
			if err != nil {
				t.Fatal(err)
			}
			change(&r)
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(s.Path("c", "one"), RecordFile), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get("c", "one"); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What is no file in the place of one is damage; it is not opened, and not
// followed.
func TestNoFile(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"link out":  func(path string) error { return os.Symlink("/etc/hostname", path) },
		"link in":   func(path string) error { return os.Symlink("../two/"+filepath.Base(path), path) },
	} {
		t.Run(name, func(t *testing.T) {
			s := Store{Dir: t.TempDir()}
			publish(t, s, "c", "one", time.Now())
			publish(t, s, "c", "two", time.Now())
			r, err := s.Get("c", "one")
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"pages-1.img", RecordFile} {
				path := filepath.Join(s.Path("c", "one"), file)
				if err := errors.Join(os.Remove(path), replace(path)); err != nil {
					t.Fatal(err)
				}
			}
			for _, depth := range []Depth{Sizes, Checksums, Hashes} {
				if got := strings.Join(s.Verify(r, depth), ", "); !strings.Contains(got, "pages-1.img: not a file") {
					t.Errorf("%d: %s", depth, got)
				}
			}
			if _, err := s.Get("c", "one"); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}
