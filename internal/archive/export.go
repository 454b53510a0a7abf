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
	// Progress, if set, hears of the bytes of the checkpoint that are written, and
	// of how many there are.
	Progress func(done, total int64)
}

// Write writes the archive of a checkpoint. Its files are compared with the record
// on the way: ErrDamaged says that what was written is of no use. The same
// checkpoint gives the same bytes, unless it is encrypted. Memory use does not
// depend on sizes.
func (e Export) Write(ctx context.Context, rec metadata.Record, w io.Writer) error {
	if rec.Kind == metadata.KindPreDump {
		return fmt.Errorf("%w: %s/%s holds rounds of a pre-dump alone, which only the container that runs here can continue", ErrNotExportable, rec.Name, rec.Checkpoint)
	}
	chain, err := e.Store.Chain(rec)
	if err != nil {
		return err
	}
	closers := []io.Closer{}
	if e.Seal != nil {
		sealed, err := seal.Encrypt(w, e.Seal)
		if err != nil {
			return err
		}
		closers, w = append(closers, sealed), sealed
	}
	compressed, err := e.Compression.writer(w, e.Level)
	if err != nil {
		return err
	}
	closers = append(closers, compressed)
	err = e.tar(ctx, chain, compressed)
	for i := len(closers) - 1; i >= 0 && err == nil; i-- {
		err = closers[i].Close()
	}
	return err
}

func (e Export) tar(ctx context.Context, chain []metadata.Record, w io.Writer) error {
	rec, files := flatten(chain)
	t := &writer{Writer: tar.NewWriter(w), at: rec.Timestamp.UTC().Truncate(time.Second)}
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
	for _, f := range files {
		if err := e.file(ctx, t, f, &p); err != nil {
			return err
		}
	}
	return t.Close()
}

// file writes one file, and returns ErrDamaged if it is not as recorded.
func (e Export) file(ctx context.Context, t *writer, f source, p *progress) error {
	damaged := func(what string) error {
		return fmt.Errorf("%w: %s/%s: %s: %s", metadata.ErrDamaged, f.of.Name, f.of.Checkpoint, f.name, what)
	}
	in, err := e.Store.OpenFile(f.of, f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return damaged("missing")
	}
	if err != nil {
		return err
	}
	defer in.Close()
	if err := t.WriteHeader(t.header(entryOf(f.Name), f.SizeBytes)); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(t, sum, p), struct{ io.Reader }{&stoppable{ctx, in}}, make([]byte, 256<<10))
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != f.SizeBytes {
		return damaged(fmt.Sprintf("does not have the %d bytes that were recorded", f.SizeBytes))
	}
	if err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return damaged("content changed")
	}
	return nil
}

// writer writes entries that say nothing of this host and its clock.
type writer struct {
	*tar.Writer
	at time.Time
}

func (t *writer) header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: t.at}
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

// stoppable ends with its context.
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
