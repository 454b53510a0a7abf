package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// reader reads entries of a tar, of which it takes plain files alone.
type reader struct {
	*tar.Reader
	kept    *tar.Header
	keptErr error
	entries int
}

// unread lets the next call of next return this again.
func (t *reader) unread(h *tar.Header, err error) { t.kept, t.keptErr = h, err }

// next returns the header of the next entry, io.EOF behind the last.
func (t *reader) next() (*tar.Header, error) {
	if t.kept != nil || t.keptErr != nil {
		h, err := t.kept, t.keptErr
		t.kept, t.keptErr = nil, nil
		return h, err
	}
	h, err := t.Next()
	if errors.Is(err, io.EOF) && t.entries > 0 {
		return nil, io.EOF
	}
	if err != nil {
		return nil, broken(err)
	}
	if t.entries++; t.entries > maxFiles+16 {
		return nil, refused("it has more than %d entries", maxFiles)
	}
	switch {
	case h.Typeflag == tar.TypeDir && h.Name == imageDir && len(h.PAXRecords) == 0:
		return h, nil
	case path.IsAbs(h.Name):
		return nil, refused("entry %q has an absolute name", h.Name)
	case path.Clean(h.Name) != h.Name || h.Name == ".." || len(h.Name) > 3 && h.Name[:3] == "../":
		return nil, refused("entry %q has a name that leads elsewhere", h.Name)
	case h.Typeflag != tar.TypeReg:
		return nil, refused("entry %q is %s", h.Name, kindOf(h.Typeflag))
	}
	for key := range h.PAXRecords {
		// A sparse file declares what it does not hold; the rest is for links and owners.
		if key != "path" && key != "size" && key != "mtime" {
			return nil, refused("entry %q has a %.40q", h.Name, key)
		}
	}
	return h, nil
}

func kindOf(flag byte) string {
	switch flag {
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeDir:
		return "a directory"
	case tar.TypeFifo:
		return "a FIFO"
	case tar.TypeGNUSparse:
		return "a sparse file"
	}
	return "no file"
}

// broken is the error of reading, which is the archive's fault unless the reader
// was told to stop, or has no key.
func broken(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, seal.ErrNoIdentity) || errors.Is(err, seal.ErrWrongIdentity) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return refused("it is cut short or damaged: %w", err)
}

// whole returns the content of a small entry.
func (t *reader) whole(h *tar.Header, most int64) ([]byte, error) {
	if h.Size > most {
		return nil, refused("entry %q has %d bytes, at most %d are taken", h.Name, h.Size, most)
	}
	data, err := io.ReadAll(io.LimitReader(t, most+1))
	if err != nil {
		return nil, broken(err)
	}
	return data, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// file writes an entry as a file that is not there yet, and compares it with the
// record. Zeros take no space.
func (t *reader) file(h *tar.Header, root *os.Root, f *metadata.File, p *progress) error {
	out, err := root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := sparse.NewWriter(out)
	crc := crc32.New(castagnoli)
	err = t.content(h, io.MultiWriter(w, crc), f, p)
	if err == nil {
		err = w.Finish()
	}
	f.CRC32C = hex.EncodeToString(crc.Sum(nil))
	return errors.Join(err, out.Close())
}

// sealed returns what writes an entry as an encrypted file that is not there yet. It
// compares the content with the record, which says what the encrypted file is then.
func (t *reader) sealed(to *seal.Sealer) func(*tar.Header, *os.Root, *metadata.File, *progress) error {
	return func(h *tar.Header, root *os.Root, f *metadata.File, p *progress) error {
		out, err := root.OpenFile(f.Name+seal.Suffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		sums := metadata.NewSums()
		w, err := to.Encrypt(io.MultiWriter(out, sums))
		if err == nil {
			err = errors.Join(t.content(h, w, f, p), w.Close())
		}
		*f = sums.File(f.Name + seal.Suffix)
		return errors.Join(err, out.Close())
	}
}

// content writes what an entry holds, and compares it with the record.
func (t *reader) content(h *tar.Header, w io.Writer, f *metadata.File, p *progress) error {
	if h.Size != f.SizeBytes {
		return refused("%s: has %d bytes, its record says %d", f.Name, h.Size, f.SizeBytes)
	}
	sha := sha256.New()
	n, err := copyAll(io.MultiWriter(w, sha, p), t)
	if err != nil {
		return err
	}
	return differs(f, n, sha.Sum(nil))
}

// copyAll tells what the archive did from what the disk did.
func copyAll(w io.Writer, r io.Reader) (n int64, err error) {
	buf := make([]byte, 64<<10)
	for {
		k, readErr := io.ReadFull(r, buf)
		if _, err := w.Write(buf[:k]); err != nil {
			return n, err
		}
		n += int64(k)
		switch {
		case errors.Is(readErr, io.EOF), errors.Is(readErr, io.ErrUnexpectedEOF) && n > 0 && k < len(buf):
			// tar says io.ErrUnexpectedEOF, too, when the file is cut: then n is too small.
			return n, nil
		case readErr != nil:
			return n, broken(readErr)
		}
	}
}
