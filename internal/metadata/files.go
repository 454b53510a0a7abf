package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Hash lists the regular files of a checkpoint's directory with size and
// SHA-256, but for the record itself and logs that later runs may add to.
func Hash(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == RecordFile {
			continue
		}
		f, err := hashFile(dir, e.Name())
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func hashFile(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return File{}, err
	}
	return File{Name: name, SizeBytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// CheckSizes returns ErrDamaged when a file of the record is missing or has
// another size. It reads no content and so is quick.
func CheckSizes(dir string, r Record) error {
	for _, f := range r.Files {
		info, err := os.Stat(filepath.Join(dir, f.Name))
		if err != nil {
			return fmt.Errorf("%w: %s/%s: %w", ErrDamaged, r.Name, r.Checkpoint, err)
		}
		if info.Size() != f.SizeBytes {
			return fmt.Errorf("%w: %s/%s: %s has %d bytes, want %d", ErrDamaged, r.Name, r.Checkpoint, f.Name, info.Size(), f.SizeBytes)
		}
	}
	return nil
}
