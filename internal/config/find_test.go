package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFind(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for name, test := range map[string]struct {
		prepare func(path string) error
		safe    error
		why     string // empty: it is read
	}{
		"plain":               {func(string) error { return nil }, nil, ""},
		"others may write it": {func(p string) error { return os.Chmod(p, 0o666) }, nil, "others may write it (mode 0666)"},
		"not safe":            {func(string) error { return nil }, errors.New("/home belongs to user 7"), "/home belongs to user 7"},
		"a fifo":              {func(p string) error { return errors.Join(os.Remove(p), syscall.Mkfifo(p, 0o600)) }, nil, "not a file"},
		"too long":            {func(p string) error { return os.Truncate(p, maxFile+1) }, nil, "has more than"},
		"another user's": {func(p string) error {
			if os.Geteuid() != 0 {
				t.Skip("needs root to make one")
			}
			return os.Chown(p, 7, 7)
		}, nil, "belongs to another user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.WriteFile(FileName, []byte("dir: /here\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := test.prepare(FileName); err != nil {
				t.Fatal(err)
			}
			var skipped []error
			l := Loader{Safe: func(string) error { return test.safe }, Skipped: func(err error) { skipped = append(skipped, err) }}
			found, text := l.find()
			switch {
			case test.why == "":
				if found != FileName || string(text) != "dir: /here\n" || skipped != nil {
					t.Errorf("found %q %q, skipped %v", found, text, skipped)
				}
			case found == FileName || len(skipped) != 1 || !strings.Contains(skipped[0].Error(), test.why):
				t.Errorf("found %q, skipped %v", found, skipped)
			}
		})
	}
}

// A file that is replaced after it was opened is not what the checks were about.
func TestFindOfAReplacedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	other := filepath.Join(dir, "other")
	for _, p := range []string{path, other} {
		if err := os.WriteFile(p, []byte("dir: /x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := Loader{Safe: func(string) error { return os.Rename(other, path) }}
	if _, err := l.readTrusted(path); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("got %v", err)
	}
}
