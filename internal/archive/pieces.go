package archive

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

const (
	// largeFile is from where on a file has pieces of its own, so that archives that
	// have the file in common have the pieces in common.
	largeFile = 64 << 10
	// pieceBytes is how many bytes of the archive a piece has at most: what is lost
	// of a transfer that ends early, and what it takes on the disk meanwhile.
	pieceBytes = 64 << 20
)

// Piece is a stretch of an archive, compressed and encrypted by itself. All pieces
// of an archive, opened and put together in their order, are its tar.
type Piece struct {
	// File is whose content it has; empty for headers and small files.
	File string
	// Part counts the pieces of one file, from 0.
	Part int
	// ContentBytes and ContentSHA256 are of the stretch itself.
	ContentBytes  int64
	ContentSHA256 string
	// SizeBytes and SHA256 are of the piece as it is in Data. The same stretch gives
	// the same piece, unless it is encrypted.
	SizeBytes int64
	SHA256    string
	// Data can be read from its beginning, until the function that it was given to
	// returns.
	Data *os.File
}

// ContentBytes returns how many bytes the files of a checkpoint and of what it
// continues have together.
func (e Export) ContentBytes(rec metadata.Record) (int64, error) {
	chain, err := Chain(e.Store, rec)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	_, files := Flatten(chain)
	for _, f := range files {
		sum += f.SizeBytes
	}
	return sum, nil
}

// WritePieces hands the archive of a checkpoint over in pieces, in their order, and
// ends with the first error. What was handed over is of no use if it returns one:
// see Write. There is one piece at a time, in a file without a name below dir.
func (e Export) WritePieces(ctx context.Context, rec metadata.Record, dir string, each func(Piece) error) error {
	chain, err := Chain(e.Store, rec)
	if err != nil {
		return err
	}
	c := &cutter{export: e, most: cmp.Or(e.PieceBytes, pieceBytes), dir: dir, each: each}
	err = e.tar(ctx, chain, c, c.cut)
	if err == nil {
		err = c.finish()
	}
	return errors.Join(err, c.drop())
}

// cutter cuts what is written to it into pieces.
type cutter struct {
	export Export
	most   int64
	dir    string
	each   func(Piece) error

	piece   Piece // the one that is being written; its Data is nil if there is none
	packed  io.WriteCloser
	content hash.Hash
	stored  hash.Hash
}

// cut ends a piece. What follows is of this file.
func (c *cutter) cut(file string) error {
	err := c.finish()
	c.piece = Piece{File: file}
	return err
}

func (c *cutter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if c.piece.Data == nil {
			if err := c.begin(); err != nil {
				return n, err
			}
		}
		k, err := c.packed.Write(p[n:][:min(int64(len(p)-n), c.most-c.piece.ContentBytes)])
		c.content.Write(p[n : n+k])
		n += k
		c.piece.ContentBytes += int64(k)
		if err != nil {
			return n, err
		}
		if c.piece.ContentBytes == c.most {
			if err := c.finish(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (c *cutter) begin() error {
	f, err := temporary(c.dir)
	if err != nil {
		return err
	}
	c.piece.Data = f
	c.content, c.stored = sha256.New(), sha256.New()
	c.packed, err = c.export.packed(io.MultiWriter(f, c.stored))
	return err
}

// finish hands the piece over, if there is one.
func (c *cutter) finish() error {
	if c.piece.Data == nil {
		return nil
	}
	if err := c.packed.Close(); err != nil {
		return err
	}
	size, err := c.piece.Data.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := c.piece.Data.Seek(0, io.SeekStart); err != nil {
		return err
	}
	c.piece.SizeBytes = size
	c.piece.ContentSHA256, c.piece.SHA256 = hex.EncodeToString(c.content.Sum(nil)), hex.EncodeToString(c.stored.Sum(nil))
	if err := c.each(c.piece); err != nil {
		return err
	}
	next := Piece{File: c.piece.File, Part: c.piece.Part + 1}
	err = c.drop()
	c.piece = next
	return err
}

// drop frees the space of the piece.
func (c *cutter) drop() error {
	if c.piece.Data == nil {
		return nil
	}
	err := c.piece.Data.Close()
	c.piece.Data = nil
	return err
}

// ReadPieces does what Read does with an archive in pieces. next returns one after
// the other, and io.EOF behind the last.
func (i Import) ReadPieces(ctx context.Context, next func() (io.ReadCloser, error)) (metadata.Record, error) {
	j := &joined{ctx: ctx, next: next, i: i}
	rec, err := i.read(ctx, j)
	return rec, errors.Join(err, j.close())
}

// joined reads the tar that pieces are of.
type joined struct {
	ctx  context.Context
	next func() (io.ReadCloser, error)
	i    Import

	stored io.Closer // nil between pieces
	plain  io.Reader
	closed func()
}

func (j *joined) Read(p []byte) (int, error) {
	for {
		if j.stored == nil {
			stored, err := j.next()
			if err != nil {
				return 0, err
			}
			j.stored = stored
			if j.plain, j.closed, err = opened(Stoppable(j.ctx, stored), j.i.Identities); err != nil {
				return 0, err
			}
		}
		n, err := j.plain.Read(p)
		if errors.Is(err, io.EOF) {
			err = j.close()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (j *joined) close() error {
	if j.stored == nil {
		return nil
	}
	j.closed()
	err := j.stored.Close()
	j.stored = nil
	return err
}
