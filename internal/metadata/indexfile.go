package metadata

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"time"
)

// readIndex returns what the file has of each container, sorted by checkpoint: nothing
// if there is none, or none that can be trusted.
func (s Store) readIndex() map[string][]*entry {
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	info, err := root.Lstat(indexFile)
	if err != nil || info.Mode().Perm()&othersWrite != 0 {
		return nil
	}
	if _, trusted := owner(info); !trusted {
		return nil
	}
	data, err := readBounded(root, indexFile)
	if err != nil {
		return nil
	}
	return decodeIndex(data)
}

// decodeIndex reads a CRC-32C of what follows, the version, and each container's entries.
func decodeIndex(data []byte) map[string][]*entry {
	const sum = crc32.Size
	if len(data) < sum || binary.BigEndian.Uint32(data) != crc32.Checksum(data[sum:], castagnoli) {
		return nil
	}
	in, version := gob.NewDecoder(bytes.NewReader(data[sum:])), 0
	if err := in.Decode(&version); err != nil || version != indexVersion {
		return nil
	}
	known := map[string][]*entry{}
	for {
		var list []*entry
		if err := in.Decode(&list); errors.Is(err, io.EOF) {
			return known
		} else if err != nil {
			return nil
		}
		for i, e := range list {
			if i > 0 && e.SameLabels {
				e.Summary.Labels = list[i-1].Summary.Labels
			}
			known[e.Summary.Name] = list
		}
	}
}

// encodeIndex leaves out what was written after that time, see timestampStep.
func encodeIndex(known map[string][]*entry, before time.Time) ([]byte, error) {
	content := []any{indexVersion}
	for _, list := range known {
		content = append(content, settled(list, before))
	}
	return encode(content)
}

func encode(content []any) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, crc32.Size))
	out := gob.NewEncoder(data)
	for _, c := range content {
		if err := out.Encode(c); err != nil {
			return nil, err
		}
	}
	binary.BigEndian.PutUint32(data.Bytes(), crc32.Checksum(data.Bytes()[crc32.Size:], castagnoli))
	return data.Bytes(), nil
}

// settled leaves out what may have changed without another stamp after it was read,
// and labels that can be told from those before.
func settled(list []*entry, before time.Time) []entry {
	var kept []entry
	var labels map[string]string
	for _, e := range list {
		if e.File.CtimeNS >= before.UnixNano() {
			continue
		}
		e := entry{File: e.File, Summary: e.Summary, SameLabels: kept != nil && maps.Equal(e.Summary.Labels, labels)}
		labels = e.Summary.Labels
		if e.SameLabels {
			e.Summary.Labels = nil
		}
		kept = append(kept, e)
	}
	return kept
}

// write does not sync: a file that a power cut leaves damaged is not used.
func (x *Index) write(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// By the filesystem's clock, which may be a server's.
	began := info.ModTime().Add(-time.Since(x.began))
	data, err := encodeIndex(x.known, began.Add(-timestampStep))
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return err
}
