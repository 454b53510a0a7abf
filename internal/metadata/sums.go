package metadata

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/crc32"
)

// Sums are of what is written to it.
type Sums struct {
	size     int64
	crc, sha hash.Hash
}

// NewSums returns the Sums of nothing.
func NewSums() *Sums { return &Sums{crc: crc32.New(castagnoli), sha: sha256.New()} }

func (s *Sums) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	_, _ = s.crc.Write(p)
	return s.sha.Write(p)
}

// File returns the file of this name that holds what was written.
func (s *Sums) File(name string) File {
	return File{Name: name, SizeBytes: s.size, SHA256: hex.EncodeToString(s.sha.Sum(nil)), CRC32C: hex.EncodeToString(s.crc.Sum(nil))}
}

// Fits says whether a file can be the one that was recorded: its size is the same, and so
// are the sums that both have.
func (f File) Fits(recorded File) bool {
	same := func(a, b string) bool { return a == b || a == "" || b == "" }
	return f.SizeBytes == recorded.SizeBytes && same(f.CRC32C, recorded.CRC32C) && same(f.SHA256, recorded.SHA256)
}
