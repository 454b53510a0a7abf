// Package tar holds the stand-in for tar to the real one.
package tar

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

var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "tar-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "tar")
		// So that go test keeps no result of an older source.
		if _, err := os.Stat("../../cmd/tar/tar.c"); err != nil {
			panic(err)
		}
		if out, err := exec.Command("make", "-C", "../..", "tar", "LIBEXEC="+dir).CombinedOutput(); err != nil || bytes.Contains(out, []byte("warning")) {
			panic(string(out))
		}
		return m.Run()
	}())
}

var options = strings.Fields("--create --gzip --no-unquote --no-wildcards --one-file-system --check-links --preserve-permissions --sparse --numeric-owner")

func run(t *testing.T, program, dir string, options ...string) []byte {
	t.Helper()
	cmd := exec.Command(program, append(options, "--directory", dir, ".")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// alone says whether the stand-in packs the directory where there is no tar.
func alone(dir string, options ...string) bool {
	cmd := exec.Command(program, append(options, "--directory", dir, ".")...)
	cmd.Env = []string{"PATH=" + filepath.Dir(program)}
	return cmd.Run() == nil
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
	must(t, os.MkdirAll(filepath.Join(dir, "deep", "er"), 0o700))
	must(t, os.Symlink("/proc/self/fd", filepath.Join(dir, "fd")))
	must(t, os.Symlink("../"+strings.Repeat("far/", 23), filepath.Join(dir, "shm", "link")))
	err := syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3)
	if err != nil && os.Geteuid() == 0 {
		t.Log("no device in this test:", err)
	}
	return dir
}

func TestSameArchiveAsTheRealOne(t *testing.T) {
	many := t.TempDir() // more than a block of gzip
	for i := range 300 {
		must(t, os.Mkdir(filepath.Join(many, strings.Repeat("x", i%90+1)+string(rune('a'+i/90))), 0o700))
	}
	link := filepath.Join(t.TempDir(), "link") // CRIU names /proc/self/fd/N
	must(t, os.Symlink(many, link))
	for name, dir := range map[string]string{"empty": t.TempDir(), "dev": plant(t), "many": many, "link": link} {
		ours := listing(t, run(t, program, dir, options...))
		theirs := listing(t, run(t, "tar", dir, options...))
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s:\n%s\nthe real tar:\n%s", name, strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
		}
		if !alone(dir, options...) {
			t.Errorf("%s was left to the real tar", name)
		}
	}
}

func TestTheRestIsLeftToTheRealOne(t *testing.T) {
	for name, add := range map[string]func(dir string) error{
		"file":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600) },
		"fifo":      func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600) },
		"hard link": func(dir string) error { return os.Link(filepath.Join(dir, "fd"), filepath.Join(dir, "shm", "fd")) },
		"long name": func(dir string) error { return os.Mkdir(filepath.Join(dir, strings.Repeat("n", 98)), 0o700) },
		"long link": func(dir string) error { return os.Symlink(strings.Repeat("n", 100), filepath.Join(dir, "to")) },
	} {
		dir := plant(t)
		must(t, add(dir))
		if alone(dir, options...) {
			t.Errorf("%s: packed", name)
		}
		if ours, theirs := run(t, program, dir, options...), run(t, "tar", dir, options...); !slices.Equal(listing(t, ours), listing(t, theirs)) {
			t.Errorf("%s: other than the real tar's", name)
		}
	}
	for _, other := range [][]string{append([]string{"--extract"}, options[1:]...), append(slices.Clone(options), "--xattrs"), options[2:]} {
		if alone(t.TempDir(), other...) {
			t.Errorf("took %v", other)
		}
	}
}
