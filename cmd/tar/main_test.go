package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// As main when the test runs itself.
func TestMain(m *testing.M) {
	if os.Getenv("BE_TAR") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var options = strings.Fields("--create --gzip --no-unquote --no-wildcards --one-file-system --check-links --preserve-permissions --sparse --numeric-owner")

func run(t *testing.T, program, dir string, options ...string) []byte {
	t.Helper()
	cmd := exec.Command(program, append(options, "--directory", dir, ".")...)
	cmd.Env = append(os.Environ(), "BE_TAR=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// listing is what the real tar sees in an archive, in no order.
func listing(t *testing.T, archive []byte) []string {
	t.Helper()
	cmd := exec.Command("tar", "--list", "--gzip", "--verbose", "--full-time", "--numeric-owner")
	cmd.Stdin = bytes.NewReader(archive)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	return lines
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant makes what a container's /dev holds.
func plant(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "shm"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "shm"), 0o777|os.ModeSticky))
	must(t, os.MkdirAll(filepath.Join(dir, "deep", strings.Repeat("long", 50)), 0o700))
	must(t, os.Symlink("/proc/self/fd", filepath.Join(dir, "fd")))
	must(t, os.Symlink("../"+strings.Repeat("far/", 60), filepath.Join(dir, "shm", "link")))
	err := syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3)
	if err != nil && os.Geteuid() == 0 {
		t.Log("no device in this test:", err)
	}
	return dir
}

func TestSameArchiveAsTheRealOne(t *testing.T) {
	for name, dir := range map[string]string{"empty": t.TempDir(), "dev": plant(t)} {
		ours := listing(t, run(t, os.Args[0], dir, options...))
		theirs := listing(t, run(t, "tar", dir, options...))
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s:\n%s\nthe real tar:\n%s", name, strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
		}
		var b bytes.Buffer
		if err := pack(&b, dir); err != nil {
			t.Errorf("%s was left to the real tar: %v", name, err)
		}
	}
}

func TestTheRestIsLeftToTheRealOne(t *testing.T) {
	for name, add := range map[string]func(dir string) error{
		"file":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600) },
		"fifo":      func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600) },
		"hard link": func(dir string) error { return os.Link(filepath.Join(dir, "fd"), filepath.Join(dir, "shm", "fd")) },
	} {
		dir := plant(t)
		must(t, add(dir))
		if pack(&bytes.Buffer{}, dir) == nil {
			t.Errorf("%s: packed", name)
		}
		if ours, theirs := run(t, os.Args[0], dir, options...), run(t, "tar", dir, options...); !slices.Equal(listing(t, ours), listing(t, theirs)) {
			t.Errorf("%s: other than the real tar's", name)
		}
	}
	for _, other := range [][]string{append([]string{"--extract"}, options[1:]...), append(slices.Clone(options), "--xattrs"), options[2:]} {
		if _, ok := asked(append(other, "--directory", "/", ".")); ok {
			t.Errorf("took %v", other)
		}
	}
}
