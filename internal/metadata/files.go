package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Hash lists the regular files of a checkpoint's directory with size and
// SHA-256, but for the record itself, and the bytes that they take on the disk.
func Hash(dir string) ([]File, int64, error) {
	var (
		files []File
		disk  int64
	)
	err := walk(dir, func(name string, e fs.DirEntry) error {
		if name == RecordFile || e.IsDir() {
			return nil
		}
		f, used, err := hashFile(dir, name)
		files, disk = append(files, f), disk+used
		return err
	})
	return files, disk, err
}

// walk calls f for the directories and regular files of a checkpoint, dir
// itself (".") last of all.
func walk(dir string, f func(name string, e fs.DirEntry) error) error {
	var dirs []func() error
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			dirs = append(dirs, func() error { return f(name, e) })
		case e.Type().IsRegular():
			return f(name, e)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		err = dirs[i]()
	}
	return err
}

func hashFile(dir, name string) (File, int64, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return File{}, 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return File{}, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return File{}, 0, err
	}
	disk := n
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		disk = st.Blocks * 512 // stat(2): whatever the filesystem's blocks are
	}
	return File{Name: name, SizeBytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, disk, nil
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
