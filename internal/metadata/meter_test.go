package metadata

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Whatever reads a checkpoint tells of every byte once, holes included.
func TestProgress(t *testing.T) {
	const size = 2*pieceSize + 5
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "small"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, "pages-1.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("noise"), pieceSize); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(func(done, total int64)) error{
		"checksums": func(report func(done, total int64)) error { _, err := readChecksums(dir, false, report); return err },
		"hashes":    func(report func(done, total int64)) error { _, err := readHashes(dir, report); return err },
	} {
		var mu sync.Mutex
		most, calls := int64(0), 0
		if err := read(func(done, total int64) {
			mu.Lock()
			defer mu.Unlock()
			most, calls = max(most, done), calls+1
			if total != size+4 {
				t.Errorf("%s: of %d bytes", name, total)
			}
		}); err != nil || most != size+4 || calls < 3 {
			t.Errorf("%s: %d bytes in %d calls, %v", name, most, calls, err)
		}
	}
}
