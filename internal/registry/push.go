package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/natefinch/atomic"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Push is how a checkpoint goes into a registry.
type Push struct {
	// Export says from where, for whom and by whom it is signed. It is compressed by
	// zstd, whatever that says.
	archive.Export
	// Bases are digests that the registry may have the container's image by.
	Bases []string
	// Progress, if set, hears of the bytes of the checkpoint that the registry has,
	// and of how many there are.
	Progress func(done, total int64)
}

// Pushed is what a registry has.
type Pushed struct {
	Digest    string
	SizeBytes int64
	Blobs     int
	// SentBytes and SentBlobs are what it did not have before.
	SentBytes int64
	SentBlobs int
}

// Push sends what the registry does not have of a checkpoint, one piece after the
// other, and names it when all is there. What a push that failed has sent is not sent
// again.
func (r *Remote) Push(ctx context.Context, p Push, rec metadata.Record) (Pushed, error) {
	if strings.Contains(r.tag, ":") {
		return Pushed{}, fmt.Errorf("%w %q: what is pushed gets its digest by itself", ErrBadReference, r.Reference)
	}
	total, err := p.ContentBytes(rec)
	if err != nil {
		return Pushed{}, err
	}
	t, err := p.Store.Transfer("push " + r.Reference)
	if err != nil {
		return Pushed{}, err
	}
	s := &sender{Remote: r, push: p, total: total, sent: newSent(t.Dir, p.Export)}
	err = s.send(ctx, rec, t.Dir)
	if err != nil {
		return s.done, errors.Join(err, t.Close())
	}
	return s.done, t.Remove()
}

// sender is one push.
type sender struct {
	*Remote
	push     Push
	sent     *sent
	layers   []v1.Descriptor
	contents []digest.Digest
	done     Pushed

	bytes, total int64 // of the checkpoint
}

func (s *sender) send(ctx context.Context, rec metadata.Record, dir string) error {
	e := s.push.Export
	e.Compression, e.Progress = archive.Zstd, nil
	base, subject, err := s.base(ctx)
	if err != nil {
		return err
	}
	if err := e.WritePieces(ctx, rec, dir, func(p archive.Piece) error { return s.piece(ctx, p) }); err != nil {
		return err
	}
	data, err := imageConfig(rec, s.contents)
	if err != nil {
		return err
	}
	config := content.NewDescriptorFromBytes(v1.MediaTypeImageConfig, data)
	if err := s.blob(ctx, config, bytes.NewReader(data), 0); err != nil {
		return err
	}
	if data, err = manifestOf(rec, config, s.layers, base, subject); err != nil {
		return err
	}
	manifest := content.NewDescriptorFromBytes(v1.MediaTypeImageManifest, data)
	s.done.Digest = manifest.Digest.String()
	return s.failed(s.repo.PushReference(ctx, manifest, bytes.NewReader(data), s.tag))
}

// base finds the container's image in the repository.
func (s *sender) base(ctx context.Context) (string, *v1.Descriptor, error) {
	for _, d := range s.push.Bases {
		found, err := s.repo.Manifests().Resolve(ctx, d)
		if err == nil {
			return d, &v1.Descriptor{MediaType: found.MediaType, Digest: found.Digest, Size: found.Size}, nil
		}
		if !errors.Is(err, errdef.ErrNotFound) {
			return "", nil, s.failed(err)
		}
	}
	if len(s.push.Bases) > 0 {
		return s.push.Bases[0], nil, nil
	}
	return "", nil, nil
}

// piece sends a piece. One that is encrypted has another digest at each try: the
// earlier one's does.
func (s *sender) piece(ctx context.Context, p archive.Piece) error {
	sealed := s.push.Seal != nil
	layer, plain := layerOf(p, sealed), digest.NewDigestFromEncoded(digest.SHA256, p.ContentSHA256)
	there := false
	if before, ok := s.sent.find(p.ContentSHA256); ok {
		earlier := layer
		earlier.Digest, earlier.Size = before.Digest, before.SizeBytes
		var err error
		if there, err = s.repo.Blobs().Exists(ctx, earlier); err != nil {
			return s.failed(err)
		}
		if there {
			layer = earlier
		}
	}
	if sealed {
		plain = layer.Digest // the sum of what is in it would tell
	}
	s.layers, s.contents = append(s.layers, layer), append(s.contents, plain)
	if there {
		s.has(layer, p.ContentBytes)
	} else if err := s.blob(ctx, layer, p.Data, p.ContentBytes); err != nil {
		return err
	}
	return s.sent.add(p.ContentSHA256, layer)
}

const tries = 4

// blob sends a blob that is not there. contentBytes is what it has of the checkpoint.
func (s *sender) blob(ctx context.Context, d v1.Descriptor, data io.ReaderAt, contentBytes int64) error {
	there, err := s.repo.Blobs().Exists(ctx, d)
	if err != nil {
		return s.failed(err)
	}
	for n := 1; !there; n++ {
		counted := &counter{in: io.NewSectionReader(data, 0, d.Size), report: func(read int64) {
			s.report(s.bytes + int64(float64(contentBytes)*float64(read)/float64(d.Size)))
		}}
		err = s.repo.Blobs().Push(ctx, d, counted)
		counted.stop()
		if err == nil {
			s.done.SentBytes += d.Size
			s.done.SentBlobs++
			break
		}
		if n == tries || !passing(err) {
			return s.failed(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second << (n - 1)):
		}
	}
	s.has(d, contentBytes)
	return nil
}

// has counts a blob that the registry has.
func (s *sender) has(d v1.Descriptor, contentBytes int64) {
	s.done.SizeBytes += d.Size
	s.done.Blobs++
	s.bytes += contentBytes
	s.report(s.bytes)
}

func (s *sender) report(done int64) {
	if s.push.Progress != nil {
		s.push.Progress(min(done, s.total), s.total) // headers are not counted
	}
}

// counter reports how much was read, until it is stopped: a registry can answer before
// it has read all, and then the HTTP client may go on reading for a while.
type counter struct {
	mu     sync.Mutex
	in     io.Reader
	read   int64
	report func(int64)
}

func (c *counter) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in == nil {
		return 0, fs.ErrClosed
	}
	n, err := c.in.Read(p)
	c.read += int64(n)
	c.report(c.read)
	return n, err
}

func (c *counter) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = nil
}

// sent is what was sent of pieces that are encrypted, by the sums of what is in them.
type sent struct {
	file string // empty: nothing is noted
	to   string
	list map[string]stored
}

type stored struct {
	Digest    digest.Digest `json:"digest"`
	SizeBytes int64         `json:"size_bytes"`
}

// newSent reads what is noted in dir. Of a passphrase nothing is noted: it could be
// another one the next time.
func newSent(dir string, e archive.Export) *sent {
	s := &sent{list: map[string]stored{}}
	if e.Seal == nil || slices.Contains(e.Seal.Names, "passphrase") {
		return s
	}
	s.file, s.to = filepath.Join(dir, "sent.json"), strings.Join(e.Seal.Names, ",")
	if data, err := os.ReadFile(s.file); err != nil || json.Unmarshal(data, &s.list) != nil {
		s.list = map[string]stored{} // all is sent again
	}
	return s
}

func (s *sent) find(sum string) (stored, bool) {
	found, ok := s.list[sum+" "+s.to]
	return found, ok && found.Digest.Validate() == nil
}

func (s *sent) add(sum string, d v1.Descriptor) error {
	if s.file == "" {
		return nil
	}
	s.list[sum+" "+s.to] = stored{d.Digest, d.Size}
	data, err := json.Marshal(s.list)
	if err != nil {
		return err
	}
	return atomic.WriteFile(s.file, bytes.NewReader(data))
}
