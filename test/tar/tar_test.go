// Package tar holds the stand-in for tar to the real one.
package tar

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
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

var extract = strings.Fields("--extract --gzip --no-unquote --no-wildcards")

// unpacked lists what a tar makes of an archive in a new directory.
func unpacked(t *testing.T, program string, archive []byte, path string) (string, error) {
	t.Helper()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "archive")
	must(t, os.WriteFile(file, archive, 0o600))
	in, err := os.Open(file)
	must(t, err)
	defer in.Close()
	cmd := exec.Command(program, append(slices.Clone(extract), "--directory", dir)...)
	cmd.Stdin, cmd.Env = in, []string{"PATH=" + path}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	out, err := exec.Command("find", dir, "-printf", "%P %M %U:%G %T@ %l ", "(", "-type", "c", "-o", "-type", "b", ")", "-exec", "stat", "-c", "%t:%T", "{}", ";", "-o", "-printf", "\n").Output()
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

// What it packs, it unpacks as the real one does.
func TestUnpacksAsTheRealOne(t *testing.T) {
	dir := plant(t)
	if os.Geteuid() == 0 {
		must(t, os.Lchown(filepath.Join(dir, "fd"), 5, 6))
		must(t, os.Chown(filepath.Join(dir, "deep"), 7, 8))
	}
	must(t, os.Chtimes(filepath.Join(dir, "deep"), time.Unix(100, 0), time.Unix(200, 0)))
	must(t, os.Chtimes(dir, time.Unix(100, 0), time.Unix(300, 0)))
	for name, dir := range map[string]string{"empty": t.TempDir(), "dev": dir} {
		archive := run(t, program, dir, options...)
		ours, err := unpacked(t, program, archive, filepath.Dir(program))
		must(t, err)
		theirs, err := unpacked(t, "tar", archive, os.Getenv("PATH"))
		must(t, err)
		if ours != theirs {
			t.Errorf("%s:\n%s\nthe real tar:\n%s", name, ours, theirs)
		}
	}
}

// header is one of an archive, in the format of emit in tar.c.
func header(t *testing.T, name, link string, kind byte) *tar.Header {
	t.Helper()
	return &tar.Header{Name: name, Linkname: link, Typeflag: kind, Mode: 0o755, ModTime: time.Unix(1, 0), Format: tar.FormatUSTAR}
}

// A stored archive of these headers, and a compressed one.
func archives(t *testing.T, list ...*tar.Header) (stored, compressed []byte) {
	t.Helper()
	var made [2]bytes.Buffer
	for i, level := range []int{gzip.NoCompression, gzip.BestSpeed} {
		z, err := gzip.NewWriterLevel(&made[i], level)
		must(t, err)
		w := tar.NewWriter(z)
		for _, h := range list {
			must(t, w.WriteHeader(h))
		}
		must(t, w.Close())
		must(t, z.Close())
	}
	return made[0].Bytes(), made[1].Bytes()
}

// What else there can be in an archive is the real one's, above all what leads out of
// the directory.
func TestUnpacksOnlyWhatIsSimple(t *testing.T) {
	outside := t.TempDir()
	good := []*tar.Header{header(t, "./", "", tar.TypeDir), header(t, "./a/", "", tar.TypeDir), header(t, "./a/link", outside, tar.TypeSymlink)}
	stored, compressed := archives(t, good...)
	if _, err := unpacked(t, program, stored, filepath.Dir(program)); err != nil {
		t.Error(err)
	}
	damaged := slices.Clone(stored)
	damaged[40] ^= 1
	for name, archive := range map[string][]byte{
		"compressed": compressed, "damaged": damaged, "cut": stored[:len(stored)-9], "empty": nil,
	} {
		if list, err := unpacked(t, program, archive, filepath.Dir(program)); err == nil {
			t.Errorf("%s: unpacked %s", name, list)
		}
	}
	if list, err := unpacked(t, program, compressed, os.Getenv("PATH")); err != nil || !strings.Contains(list, "a/link") {
		t.Errorf("compressed, with the real tar: %s, %v", list, err)
	}
	owned := header(t, "./owned/", "", tar.TypeDir)
	owned.Uname = "root"
	for name, h := range map[string]*tar.Header{
		"file": header(t, "./file", "", tar.TypeReg), "absolute": header(t, outside+"/x/", "", tar.TypeDir), "up": header(t, "./../x/", "", tar.TypeDir),
		"up at the end": header(t, "./a/..", "", tar.TypeDir), "over a link": header(t, "./a/link/x/", "", tar.TypeDir), "a link again": header(t, "./a/link/", "", tar.TypeDir),
		"hard link": header(t, "./hard", "./a/link", tar.TypeLink), "nowhere": header(t, "./b/c/", "", tar.TypeDir), "owner": owned,
		"long name": header(t, "./"+strings.Repeat("n", 60)+"/"+strings.Repeat("n", 60), "", tar.TypeSymlink),
	} {
		stored, _ := archives(t, append(slices.Clone(good), h)...)
		if list, err := unpacked(t, program, stored, filepath.Dir(program)); err == nil {
			t.Errorf("%s: unpacked %s", name, list)
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			t.Fatalf("%s: %v is outside, %v", name, left, err)
		}
	}
}
