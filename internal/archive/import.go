package archive

import (
	"archive/tar"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
	"github.com/checkpointctl/checkpointctl/internal/signature"
)

// Limits on what an archive may hold: its compressed size says nothing of it.
const (
	maxRecord  = 64 << 20
	maxForeign = 16 << 20
	maxFiles   = 1 << 20
	maxPadding = 16 << 20 // zeros behind the end, which tar programs fill blocks with
)

// Import is how an archive is to be taken into a store.
type Import struct {
	Store metadata.Store
	// Container and Checkpoint are its names in the store; those of the archive
	// where they are empty.
	Container, Checkpoint string
	Identities            seal.Identities   // for an encrypted archive
	SignedBy              signature.Allowed // nil: a signature is not asked for
	MaxBytes              int64             // of all files, unpacked
	// Seal, if set, encrypts the files on their way into the store, unless the checkpoint
	// is encrypted itself. None of them reaches the disk as it is in the archive.
	Seal *seal.Recipients
	// LoadImage, if set, takes the container's image, in the form of docker save, once
	// all else is found good. Without it an image is left in the archive.
	LoadImage func(context.Context, io.Reader) error
	// Problems, if set, returns what is wrong with the images of a checkpoint in a
	// directory; nil for nothing. Those of an encrypted checkpoint cannot be looked into.
	Problems func(dir string, r metadata.Record) []string
	Progress func(done, total int64)
}

// Read reads an archive into the store and returns the checkpoint's record, or
// ErrRefused with the reason. Nothing that the archive names leads out of the
// checkpoint. It appears by one rename when all of it is there and as the record
// says; after an error nothing is left.
func (i Import) Read(ctx context.Context, r io.Reader) (metadata.Record, error) {
	plain, closeAll, err := opened(Stoppable(ctx, r), i.Identities)
	if err != nil {
		return metadata.Record{}, err
	}
	defer closeAll()
	return i.read(ctx, plain)
}

func (i Import) read(ctx context.Context, plain io.Reader) (metadata.Record, error) {
	t := &reader{Reader: tar.NewReader(plain)}
	rec, err := i.record(t)
	if err != nil {
		return metadata.Record{}, err
	}
	unlock, err := i.Store.Lock(rec.Name)
	if err != nil {
		return metadata.Record{}, err
	}
	defer unlock()
	if _, err := i.Store.Free(rec.Name, rec.Checkpoint); err != nil {
		return metadata.Record{}, err
	}
	draft, err := i.Store.Begin(rec.Name, rec.Checkpoint)
	if err != nil {
		return metadata.Record{}, err
	}
	image := &image{load: i.LoadImage}
	defer image.close()
	if err = i.fill(t, draft, &rec, image); err == nil {
		err = ended(plain)
	}
	if err == nil && i.Problems != nil {
		if problems := i.Problems(draft.Dir, rec); problems != nil {
			err = refused("%s", strings.Join(problems, ", "))
		}
	}
	if err == nil {
		err = draft.Sync()
	}
	if err == nil {
		err = image.take(ctx, rec)
	}
	if err == nil {
		rec.ImageArchive = nil
		err = draft.Publish(rec)
	}
	if err != nil {
		return metadata.Record{}, errors.Join(err, draft.Remove())
	}
	return rec, nil
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// record reads the first entries, up to what is no signature, and returns the
// record as the store shall have it.
func (i Import) record(t *reader) (metadata.Record, error) {
	var rec metadata.Record
	h, err := t.next()
	if err != nil {
		return rec, err
	}
	if h.Name != recordEntry {
		return rec, refused("its first entry is %q, not %s: it is of another program", h.Name, recordEntry)
	}
	data, err := t.whole(h, maxRecord)
	if err != nil {
		return rec, err
	}
	if rec, err = metadata.ParseForeign(data); err != nil {
		return rec, refused("%s: %w", recordEntry, err)
	}
	rec.Imported = &metadata.Imported{At: time.Now().UTC()}
	if h, err = t.next(); err != nil && !errors.Is(err, io.EOF) {
		return rec, err
	}
	var sig []byte
	if err == nil && h.Name == signatureEntry {
		if sig, err = t.whole(h, maxForeign); err != nil {
			return rec, err
		}
	} else {
		t.unread(h, err)
	}
	if i.SignedBy != nil {
		if sig == nil {
			return rec, refused("%w: it has no signature", signature.ErrNotSigned)
		}
		if rec.Imported.SignedBy, err = i.SignedBy.Verify(data, sig); err != nil {
			return rec, refused("%w", err)
		}
	}
	if i.Container != "" {
		rec.Name = i.Container
	}
	if i.Checkpoint != "" {
		rec.Checkpoint = i.Checkpoint
	}
	// Paths of the host that it was made on.
	rec.RootFS, rec.UpperDir, rec.BundlePath = "", "", ""
	return rec, errors.Join(metadata.CheckName(rec.Name), metadata.CheckName(rec.Checkpoint), i.check(rec))
}

// check refuses what a record declares.
func (i Import) check(rec metadata.Record) error {
	if len(rec.Files) > maxFiles {
		return refused("it declares %d files, at most %d are taken", len(rec.Files), maxFiles)
	}
	dirs := rec.ImageDirs()
	entries, sum := map[string]string{}, int64(0)
	switch {
	case rec.ImageArchive != nil:
		sum = rec.ImageArchive.SizeBytes
	case i.LoadImage != nil:
		return refused("it holds no image: it was made without --with-image")
	}
	for _, f := range rec.Files {
		if !slices.Contains(dirs, path.Dir(f.Name)) || path.Base(f.Name) == "parent" || strings.ContainsAny(f.Name, "\x00\\") {
			return refused("files: %q is not the place of a file", f.Name)
		}
		if other, twice := entries[entryOf(f.Name)]; twice {
			return refused("files: %q and %q are one entry", other, f.Name)
		}
		entries[entryOf(f.Name)] = f.Name
		if sum += f.SizeBytes; sum < 0 || sum > i.MaxBytes {
			return refused("it declares more than %d bytes, which is the limit", i.MaxBytes)
		}
	}
	return nil
}

// fill writes the files of the record, each once and as it says.
func (i Import) fill(t *reader, draft *metadata.Draft, rec *metadata.Record, image *image) error {
	var to *seal.Sealer
	if i.Seal != nil && !rec.Encrypted {
		var err error
		if to, err = seal.New(draft.Dir, i.Seal); err != nil {
			return err
		}
	}
	for _, dir := range rec.ImageDirs() {
		if err := os.MkdirAll(filepath.Join(draft.Dir, dir), 0o700); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(draft.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	wanted := map[string]*metadata.File{}
	p := progress{report: i.Progress}
	for n := range rec.Files {
		f := &rec.Files[n]
		wanted[entryOf(f.Name)] = f
		p.total += f.SizeBytes
	}
	if f := rec.ImageArchive; f != nil {
		wanted[imageEntry] = f
		p.total += f.SizeBytes
	}
	known := map[string]bool{configEntry: true, specEntry: true, networkEntry: true, imageDir: true}
	for {
		h, err := t.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		f := wanted[h.Name]
		switch {
		case f != nil && f == rec.ImageArchive:
			delete(wanted, h.Name)
			if err := image.read(t, h, draft.Dir, f, &p); err != nil {
				return err
			}
		case f != nil:
			delete(wanted, h.Name)
			write := t.file
			if to != nil {
				write = t.sealed(to)
			}
			if err := write(h, root, f, &p); err != nil {
				return err
			}
		case known[h.Name]:
			delete(known, h.Name)
			if _, err := t.whole(h, maxForeign); err != nil {
				return err
			}
		default:
			return refused("entry %q is there twice, or is not of the record", h.Name)
		}
	}
	for name := range wanted {
		return refused("entry %q is missing, and perhaps more", name)
	}
	if err := draft.LinkRounds(*rec); err != nil {
		return err
	}
	if to != nil {
		if err := rec.Sealed(draft.Dir, seal.KeyFile, i.Seal.Names); err != nil {
			return err
		}
	}
	rec.SizeBytes, err = draft.DiskBytes()
	return err
}

// ended wants nothing but zeros behind the tar. It reads to the end, where what
// encrypts and compresses finds that something was cut off.
func ended(r io.Reader) error {
	buf := make([]byte, 64<<10)
	for n := 0; n <= maxPadding; {
		k, err := r.Read(buf)
		for _, b := range buf[:k] {
			if b != 0 {
				return refused("something is behind its end")
			}
		}
		n += k
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
	}
	return refused("there are more than %d zeros behind its end", maxPadding)
}

// differs compares what was read with what was recorded.
func differs(f *metadata.File, n int64, sum []byte) error {
	if n != f.SizeBytes {
		return refused("%s: has %d bytes, its record says %d", f.Name, n, f.SizeBytes)
	}
	if hex.EncodeToString(sum) != f.SHA256 {
		return refused("%s: its content is not what its record says", f.Name)
	}
	return nil
}
