package metadata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
)

// OpenFile opens a file of a checkpoint for reading. Holes are read as zeros,
// without the kernel.
func (s Store) OpenFile(r Record, name string) (io.ReadCloser, error) {
	root, err := os.OpenRoot(s.Path(r.Name, r.Checkpoint))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := openFile(root, name)
	if err != nil {
		return nil, err
	}
	in, err := sparse.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{in, f}, nil
}

var fullID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ParseForeign reads a record that somebody else wrote. Keys that are not known, a
// later schema and names that lead elsewhere are errors that name them.
func ParseForeign(data []byte) (Record, error) {
	var r Record
	var version struct {
		SchemaVersion int `json:"schema_version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return r, err
	}
	if version.SchemaVersion < 1 || version.SchemaVersion > SchemaVersion {
		return r, fmt.Errorf("schema_version %d, this program reads 1 to %d", version.SchemaVersion, SchemaVersion)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, err
	}
	if err := errors.Join(CheckName(r.Name), CheckName(r.Checkpoint), r.checkNames(), r.checkParts()); err != nil {
		return r, err
	}
	switch {
	case r.Kind != KindCheckpoint:
		return r, fmt.Errorf("kind %q, want %s", r.Kind, KindCheckpoint)
	case !fullID.MatchString(r.ID):
		return r, fmt.Errorf("id %.80q is not of a container", r.ID)
	case r.Parent != "":
		return r, fmt.Errorf("it needs %s, which is not in it", r.Parent)
	case r.PreDump != nil && len(r.PreDump.Rounds) > maxChain:
		return r, fmt.Errorf("%d rounds", len(r.PreDump.Rounds))
	}
	files := r.Files
	if r.ImageArchive != nil {
		files = append(slices.Clone(files), *r.ImageArchive)
	}
	for _, f := range files {
		if f.SizeBytes < 0 || len(f.SHA256) != 64 {
			return r, fmt.Errorf("files: %q has size %d and SHA-256 %.70q", f.Name, f.SizeBytes, f.SHA256)
		}
	}
	return r, nil
}

// LinkRounds makes CRIU's links from the images to those of the rounds before.
func (d *Draft) LinkRounds(r Record) error {
	dirs := r.ImageDirs()
	for i := 0; i+1 < len(dirs); i++ {
		from := filepath.Join(d.Dir, dirs[i])
		to, err := filepath.Rel(from, filepath.Join(d.Dir, dirs[i+1]))
		if err == nil {
			err = os.Symlink(to, filepath.Join(from, parentLink))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// DiskBytes returns what the files of the draft take on the disk.
func (d *Draft) DiskBytes() (int64, error) {
	sum := int64(0)
	files, err := ListFiles(d.Dir)
	for _, f := range files {
		info, statErr := os.Lstat(filepath.Join(d.Dir, f.Name))
		if statErr != nil {
			return 0, statErr
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += st.Blocks * 512 // stat(2): whatever the filesystem's blocks are
		}
	}
	return sum, err
}

// Remove removes the draft. A log of an earlier try stays.
func (d *Draft) Remove() error { return os.RemoveAll(d.Dir) }

// FreeBytes returns what is free where the store is, or will be.
func (s Store) FreeBytes() (int64, error) {
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return 0, err
	}
	for {
		var fs unix.Statfs_t
		err := unix.Statfs(dir, &fs)
		if err == nil {
			return int64(fs.Bavail) * fs.Bsize, nil
		}
		if !errors.Is(err, unix.ENOENT) || dir == "/" {
			return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
		}
		dir = filepath.Dir(dir)
	}
}
