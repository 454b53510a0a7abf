package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program makes an executable file, with the directories above it.
func program(t *testing.T, path string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// TestPlace needs directories that are root's: others are refused.
func TestPlace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	standIn := program(t, filepath.Join(t.TempDir(), "checkpointctl-runtime"))
	for name, test := range map[string]struct {
		path    string // of containerd, below the directory
		prepare func(t *testing.T, dir string)
		link    string // below the directory
		refusal string
	}{
		"first directory":       {path: "a b c", link: "a/runc"},
		"no runc":               {path: "a b", refusal: "finds no runc on its PATH"},
		"no directory":          {path: "", refusal: "finds no runc on its PATH"},
		"runc first":            {path: "c a", refusal: "/c/runc is in the first directory of containerd's PATH"},
		"not there":             {path: "none c", refusal: "/none is not there"},
		"not there, then there": {path: "none a c", link: "a/runc"},
		"writable by others": {path: "a c", refusal: "/a can be written by others than root", prepare: func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "a"), 0o777); err != nil {
				t.Fatal(err)
			}
		}},
		"somebody else's": {path: "a b c", link: "b/runc", prepare: func(t *testing.T, dir string) {
			if err := os.Chown(filepath.Join(dir, "a"), 65534, 0); err != nil {
				t.Fatal(err)
			}
		}},
		"a file that is no program": {path: "a c", refusal: "/a/runc is in the way", prepare: func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "a", "runc"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		"a directory": {path: "a c", refusal: "/a/runc is in the way", prepare: func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "a", "runc"), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		"a dangling link": {path: "a b c", link: "b/runc", prepare: func(t *testing.T, dir string) {
			link(t, "/nonexistent/runc", filepath.Join(dir, "a", "runc"))
		}},
		"a link to runc": {path: "b a c", link: "b/runc", prepare: func(t *testing.T, dir string) {
			link(t, "../c/runc", filepath.Join(dir, "a", "runc"))
		}},
		"another restore's link": {path: "a b c", link: "a/runc", prepare: func(t *testing.T, dir string) {
			link(t, standIn, filepath.Join(dir, "a", "runc"))
		}},
		"another checkpointctl's link": {path: "a b c", link: "b/runc", prepare: func(t *testing.T, dir string) {
			link(t, program(t, filepath.Join(dir, "other", "checkpointctl-runtime")), filepath.Join(dir, "a", "runc"))
		}},
		"only another's": {path: "a c", refusal: "/a/runc is there for a restore by another checkpointctl just now", prepare: func(t *testing.T, dir string) {
			link(t, program(t, filepath.Join(dir, "other", "checkpointctl-runtime")), filepath.Join(dir, "a", "runc"))
		}},
		"only reasons": {path: "none a c", refusal: "/none is not there, /", prepare: func(t *testing.T, dir string) {
			link(t, "nowhere", filepath.Join(dir, "a", "runc"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"a", "b"} {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if name != "no runc" {
				program(t, filepath.Join(dir, "c", "runc"))
			}
			if test.prepare != nil {
				test.prepare(t, dir)
			}
			c := Containerd{PID: 7}
			for _, sub := range strings.Fields(test.path) {
				c.Path = append(c.Path, filepath.Join(dir, sub))
			}
			got, runc, err := c.Place(standIn)
			if test.refusal != "" {
				if !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), test.refusal) || got != "" {
					t.Errorf("link %q, %v", got, err)
				}
				return
			}
			wantRunc := filepath.Join(dir, "c", "runc")
			if name == "a link to runc" {
				wantRunc = filepath.Join(dir, "a", "runc")
			}
			if err != nil || got != filepath.Join(dir, test.link) || runc != wantRunc {
				t.Errorf("link %q before %q, %v", got, runc, err)
			}
		})
	}
	if _, _, err := (Containerd{}).Place("/nonexistent/checkpointctl-runtime"); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "is not installed") {
		t.Errorf("no stand-in: %v", err)
	}
}

// A stand-in under the name runc is what is stood in for by none.
func TestPlaceSkipsItself(t *testing.T) {
	dir := t.TempDir()
	standIn := program(t, filepath.Join(dir, "libexec", "checkpointctl-runtime"))
	link(t, ".", filepath.Join(dir, "again"))
	if err := os.Mkdir(filepath.Join(dir, "sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, filepath.Join(dir, "again", "libexec", "checkpointctl-runtime"), filepath.Join(dir, "sbin", "runc"))
	_, runc, err := Containerd{Path: []string{filepath.Join(dir, "sbin")}}.Place(standIn)
	if !errors.Is(err, ErrUnfit) || runc != "" {
		t.Errorf("runc %q, %v", runc, err)
	}
}
