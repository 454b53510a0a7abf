package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
	"github.com/checkpointctl/checkpointctl/internal/signature"
)

// Export is what is to be done with a checkpoint.
type Export struct {
	Store       metadata.Store
	Compression Compression
	Level       int              // 0: the compression's default
	Seal        *seal.Recipients // nil: the archive is not encrypted
	Sign        *signature.Key   // nil: it is not signed
	PieceBytes  int64            // that a piece has at most, for WritePieces; 0: 64 MiB
	// Image, if set, opens the container's image as docker save gives it, and it goes
	// into the archive, too. It is copied below the store first, since its size and
	// its sum are in the record.
	Image func(context.Context) (io.ReadCloser, error)
	// Progress, if set, hears of the bytes of the checkpoint that are written, and
	// of how many there are.
	Progress func(done, total int64)
}

// Write writes the archive of a checkpoint. Its files are compared with the record
// on the way: ErrDamaged says that what was written is of no use. The same
// checkpoint gives the same bytes, unless it is encrypted. Memory use does not
// depend on sizes.
func (e Export) Write(ctx context.Context, rec metadata.Record, w io.Writer) error {
	chain, err := Chain(e.Store, rec)
	if err != nil {
		return err
	}
	out, err := e.packed(w)
	if err != nil {
		return err
	}
	if err := e.tar(ctx, chain, out, func(string) error { return nil }); err != nil {
		return err // without an end: whoever reads it shall see that it is cut short
	}
	return out.Close()
}

// packed compresses and encrypts what is written to it. It is whole when it is
// closed.
func (e Export) packed(w io.Writer) (io.WriteCloser, error) {
	if e.Seal == nil {
		return e.Compression.Writer(w, e.Level)
	}
	sealed, err := seal.Encrypt(w, e.Seal)
	if err != nil {
		return nil, err
	}
	compressed, err := e.Compression.Writer(sealed, e.Level)
	if err != nil {
		return nil, err
	}
	return &both{compressed, sealed}, nil
}

// both closes what it writes to, and what is behind that.
type both struct {
	io.WriteCloser
	behind io.Closer
}

func (b *both) Close() error {
	if err := b.WriteCloser.Close(); err != nil {
		return err
	}
	return b.behind.Close()
}

// tar writes the archive. It calls cut before the content of each large file with
// its name, and behind it with none.
func (e Export) tar(ctx context.Context, chain []metadata.Record, w io.Writer, cut func(file string) error) error {
	for i := range chain {
		var err error
		if chain[i], err = e.Store.Hashed(chain[i]); err != nil {
			return err
		}
	}
	rec, files := Flatten(chain)
	image, err := e.image(ctx, &rec)
	if err != nil {
		return err
	}
	defer image.Close()
	t := &writer{Writer: tar.NewWriter(w), at: rec.Timestamp.UTC().Truncate(time.Second), cut: cut}
	record, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	record = append(record, '\n')
	if err := t.add(recordEntry, record); err != nil {
		return err
	}
	if e.Sign != nil {
		signature, err := e.Sign.Sign(record)
		if err != nil {
			return err
		}
		if err := t.add(signatureEntry, signature); err != nil {
			return err
		}
	}
	others, err := foreign(rec)
	if err != nil {
		return err
	}
	for _, name := range []string{configEntry, specEntry, networkEntry} {
		if err := t.add(name, others[name]); err != nil {
			return err
		}
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: imageDir, Mode: 0o700, ModTime: t.at}); err != nil {
		return err
	}
	p := progress{report: e.Progress}
	for _, f := range files {
		p.total += f.SizeBytes
	}
	if rec.ImageArchive != nil {
		p.total += rec.ImageArchive.SizeBytes
	}
	for _, f := range files {
		if err := e.file(ctx, t, f, &p); err != nil {
			return err
		}
	}
	if f := rec.ImageArchive; f != nil {
		if err := t.file(ctx, imageEntry, *f, image, &p); err != nil {
			return err
		}
	}
	return t.Close()
}

// file writes one file of the checkpoint, and returns ErrDamaged if it is not as
// recorded.
func (e Export) file(ctx context.Context, t *writer, f Source, p *progress) error {
	damaged := func(what string) error {
		return f.Of.Damaged(f.Name + ": " + what)
	}
	in, err := e.Store.OpenFile(f.Of, f.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return damaged("missing")
	}
	if err != nil {
		return err
	}
	defer in.Close()
	err = t.file(ctx, entryOf(f.File.Name), f.File, in, p)
	if differs := (*differsError)(nil); errors.As(err, &differs) {
		return damaged(differs.how)
	}
	return err
}

// differsError is a file that is not as recorded.
type differsError struct{ how string }

func (e *differsError) Error() string { return e.how }

// writer writes entries that say nothing of this host and its clock.
type writer struct {
	*tar.Writer
	at  time.Time
	cut func(file string) error
}

func (t *writer) header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: t.at}
}

// file writes a file as an entry, and returns a differsError if it is not as recorded.
func (t *writer) file(ctx context.Context, entry string, f metadata.File, in io.Reader, p *progress) error {
	if err := t.WriteHeader(t.header(entry, f.SizeBytes)); err != nil {
		return err
	}
	large := f.SizeBytes >= largeFile
	if large {
		if err := t.cut(f.Name); err != nil {
			return err
		}
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(t, sum, p), Stoppable(ctx, in), make([]byte, 256<<10))
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != f.SizeBytes {
		return &differsError{fmt.Sprintf("does not have the %d bytes that were recorded", f.SizeBytes)}
	}
	if err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return &differsError{"content changed"}
	}
	if large {
		return t.cut("")
	}
	return nil
}

func (t *writer) add(name string, data []byte) error {
	if err := t.WriteHeader(t.header(name, int64(len(data)))); err != nil {
		return err
	}
	_, err := io.Copy(t, bytes.NewReader(data))
	return err
}

// progress reports what is written through it.
type progress struct {
	done, total int64
	report      func(done, total int64)
}

func (p *progress) Write(data []byte) (int, error) {
	p.done += int64(len(data))
	if p.report != nil {
		p.report(p.done, p.total)
	}
	return len(data), nil
}

// Stoppable returns a reader that fails once its context has ended. It is nothing but a
// reader, so that io.Copy comes back to it for each buffer.
func Stoppable(ctx context.Context, in io.Reader) io.Reader { return &stoppable{ctx, in} }

type stoppable struct {
	ctx context.Context
	in  io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.in.Read(p)
}
