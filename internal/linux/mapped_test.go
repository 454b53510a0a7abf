package linux

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMapped(t *testing.T) {
	dir := t.TempDir()
	want := []string{}
	for name, prot := range map[string]int{"a b\nc": unix.PROT_READ | unix.PROT_WRITE, "read": unix.PROT_READ, "gone": unix.PROT_READ | unix.PROT_WRITE} {
		file := filepath.Join(dir, name)
		f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		m, err := unix.Mmap(int(f.Fd()), 0, 4096, prot, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Munmap(m) }()
		f.Close()
		if name == "gone" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		} else if prot&unix.PROT_WRITE != 0 {
			want = append(want, file)
		}
	}
	got := slices.DeleteFunc(Mapped([]int{os.Getpid(), 1 << 30}), func(p string) bool { return filepath.Dir(p) != dir })
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
