package metadata

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Whatever a record holds, it is damaged, or what it names lies in its own
// checkpoint.
func FuzzGet(f *testing.F) {
	r := Record{SchemaVersion: SchemaVersion, Checkpoint: "x", Kind: KindCheckpoint, Parent: "y", Timestamp: time.Unix(0, 0).UTC()}
	r.Name = "c"
	r.Files = []File{{Name: "pages-1.img", SizeBytes: 1, SHA256: "00"}, {Name: "pre-dump/1/pages-1.img"}}
	r.Mounts = []Mount{{Path: "/data", FSType: "ext4", Source: "/srv", Action: "external", Key: "/data", Value: "/data"}}
	data, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"schema_version":1,"name":"c","checkpoint":"x","files":[{"name":"../../etc/passwd"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := Store{Dir: filepath.Join(t.TempDir(), "store")}
		if err := os.MkdirAll(s.Path("c", "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Path("c", "x"), RecordFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := s.Get("c", "x")
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v is not ErrDamaged", err)
			}
			return
		}
		if r.Name != "c" || r.Checkpoint != "x" || r.Parent != "" && CheckName(r.Parent) != nil {
			t.Errorf("names %q %q %q", r.Name, r.Checkpoint, r.Parent)
		}
		for _, file := range r.Files {
			if !filepath.IsLocal(file.Name) {
				t.Errorf("file %q is elsewhere", file.Name)
			}
		}
		_ = s.Verify(r, Hashes)
		if _, err := s.Chain(r); err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("chain: %v", err)
		}
	})
}

// Whatever the file of an index holds, it has no records, or some that can be looked up.
func FuzzDecodeIndex(f *testing.F) {
	for _, labels := range []map[string]string{nil, {"app": "shop"}} {
		first, second := fullRecord("c", "x").Summary(), fullRecord("c", "y").Summary()
		first.Labels, second.Labels = labels, labels
		data, err := encodeIndex(map[string][]*entry{"c": {{Summary: first}, {Summary: second}}}, time.Now())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[crc32.Size:])
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
		x := &Index{known: decodeIndex(append(sum, data...))}
		for _, list := range x.known {
			for _, e := range list {
				x.recall(e.Summary.Name, e.Summary.Checkpoint)
			}
		}
	})
}
