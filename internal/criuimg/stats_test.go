package criuimg

import (
	"os"
	"path/filepath"
	"testing"
)

func read(t testing.TB, data []byte) Stats {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, StatsFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadStats(Dir(dir))
}

// stats-dump was written by CRIU 4.2 for a small container.
func TestReadStats(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "stats-dump"))
	if err != nil {
		t.Fatal(err)
	}
	if s := read(t, data); s.FrozenUS == 0 || s.PagesWritten == 0 || s.PagesScanned < s.PagesWritten {
		t.Errorf("got %+v", s)
	}
	for cut := range data {
		if s := read(t, data[:cut]); s != (Stats{}) {
			t.Errorf("cut at %d: %+v", cut, s)
		}
	}
	if s := ReadStats(Dir(t.TempDir())); s != (Stats{}) {
		t.Errorf("none: %+v", s)
	}
}

// Whatever the file holds, it is read or it is not: the images are whole
// without it.
func FuzzReadStats(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "stats-dump"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if s := read(t, data); s != (Stats{}) && len(data) < 12 {
			t.Errorf("%+v of %d bytes, fewer than two magics and a size", s, len(data))
		}
	})
}
