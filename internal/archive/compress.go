package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// Compression is how an archive is compressed.
type Compression string

// The ways there are.
const (
	None Compression = "none"
	Zstd Compression = "zstd"
	Gzip Compression = "gzip"
)

// ErrCompression is a way or a level that there is not.
var ErrCompression = errors.New("no such compression")

// Check refuses, with ErrCompression, what there is not. Level 0 is the default.
func (c Compression) Check(level int) error {
	most, known := map[Compression]int{None: 0, Zstd: 22, Gzip: 9}[c]
	if !known {
		return fmt.Errorf("%w: %q is not none, zstd or gzip", ErrCompression, string(c))
	}
	if level < 0 || level > most {
		return fmt.Errorf("%w: level %d; %s has 1 to %d", ErrCompression, level, c, most)
	}
	return nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Writer compresses what is written to it, at a level that Check takes. It is whole when
// it is closed.
func (c Compression) Writer(w io.Writer, level int) (io.WriteCloser, error) {
	switch c {
	case Zstd:
		at := zstd.SpeedDefault
		if level > 0 {
			at = zstd.EncoderLevelFromZstd(level)
		}
		return zstd.NewWriter(w, zstd.WithEncoderLevel(at))
	case Gzip:
		if level == 0 {
			level = gzip.DefaultCompression
		}
		return gzip.NewWriterLevel(w, level)
	}
	return nopCloser{w}, nil
}

// maxWindow is what zstd may keep in memory, as the zstd program does.
const maxWindow = 128 << 20

// opened finds out whether a stream is encrypted, and how it is compressed, and
// returns the tar. It is closed when all is read.
func opened(r io.Reader, ids seal.Identities) (io.Reader, func(), error) {
	in := bufio.NewReaderSize(r, 256<<10)
	closed := func() {}
	head, err := in.Peek(len(seal.Intro))
	if err == nil && string(head) == seal.Intro {
		plain, err := seal.Decrypt(in, ids)
		if err != nil {
			return nil, closed, err
		}
		in = bufio.NewReaderSize(plain, 256<<10)
	}
	head, err = in.Peek(4)
	if err != nil {
		return nil, closed, fmt.Errorf("%w: it is shorter than any archive: %w", ErrRefused, err)
	}
	switch {
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, closed, err
		}
		return d, d.Close, nil
	case bytes.Equal(head[:2], []byte{0x1f, 0x8b}):
		d, err := gzip.NewReader(in)
		if err != nil {
			return nil, closed, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return d, closed, nil
	}
	return in, closed, nil
}
