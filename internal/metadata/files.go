package metadata

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
)

// readHashes lists the files of a directory with SHA-256 and CRC-32C. report, if set,
// hears of the bytes.
func readHashes(dir string, report func(done, total int64)) ([]File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, err := ListFiles(dir)
	if err != nil {
		return nil, err
	}
	m := newMeter(files, report)
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for _, i := range largestFirst(files) {
		g.Go(func() error { return files[i].read(root, m) })
	}
	return files, g.Wait()
}

// diskUsage returns the bytes that files of a directory take on the disk.
func diskUsage(dir string, files []File) (total int64, err error) {
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, f.Name), &st); err != nil {
			return 0, &fs.PathError{Op: "lstat", Path: filepath.Join(dir, f.Name), Err: err}
		}
		total += st.Blocks * 512 // stat(2): whatever the filesystem's blocks are
	}
	return total, nil
}

// ListFiles lists them with their sizes alone.
func ListFiles(dir string) ([]File, error) {
	var files []File
	err := walk(dir, func(name string, e fs.DirEntry) error {
		info, err := e.Info()
		if err == nil && name != RecordFile && !e.IsDir() {
			files = append(files, File{Name: name, SizeBytes: info.Size()})
		}
		return err
	})
	return files, err
}

// largestFirst orders the work so that no core waits for one last large file.
func largestFirst(files []File) []int {
	order := make([]int, len(files))
	for i := range files {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(files[b].SizeBytes, files[a].SizeBytes) })
	return order
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

// read fills in size and sums.
func (f *File) read(root *os.Root, m *meter) error {
	in, err := openFile(root, f.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	data, err := sparse.NewReader(in)
	if err != nil {
		return err
	}
	sums := NewSums()
	// A buffer that fits the caches, or the file: most are small, and memory is
	// slower to get than they to read.
	buf := make([]byte, min(256<<10, f.SizeBytes+1))
	_, err = io.CopyBuffer(io.MultiWriter(sums, m), data, buf)
	*f = sums.File(f.Name)
	return err
}

// errNotFile is something else in the place of a file.
var errNotFile = errors.New("not a file")

// openFile opens a regular file for reading. Names from records and
// directories may lead anywhere: the root keeps them in, a symbolic link is not
// followed, and a FIFO does not hang.
func openFile(root *os.Root, name string) (*os.File, error) {
	notFile := &fs.PathError{Op: "open", Path: name, Err: errNotFile}
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notFile
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, cmp.Or(err, error(notFile))
	}
	return f, nil
}
