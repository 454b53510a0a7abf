package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// What comes in plain is encrypted before it reaches the store, and is the same when
// it is decrypted.
func TestImportEncrypts(t *testing.T) {
	// Keys for this test alone.
	const recipient = "age1q32jsppzsdzrcj7x333tv9jgk204m83xmtf2mhk9xyldu9lnsdgsf3yc35"
	key := identity(t, "AGE-SECRET-KEY-1XYU4D5K99DA5S5XHMTL97AAKL46D4RY9KDM43FKJYJ9TE25GDVTQPML79N")
	to, err := seal.ParseRecipients([]string{recipient}, "")
	if err != nil {
		t.Fatal(err)
	}
	from, content := store(t), plain()
	data := export(t, Export{Store: from, Compression: Zstd}, publish(t, from, record("x"), content))
	s := store(t)
	i := importer(s)
	i.Seal = to
	looked := false
	i.Problems = func(string, metadata.Record) []string { looked = true; return nil }
	r, err := i.Read(context.Background(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Encrypted || len(r.Recipients) != 1 || r.Recipients[0] != recipient || !looked {
		t.Errorf("record: encrypted %v to %q", r.Encrypted, r.Recipients)
	}
	if problems := s.Verify(r, metadata.Hashes); problems != nil {
		t.Errorf("the store: %q", problems)
	}
	dir := s.Path(r.Name, r.Checkpoint)
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != metadata.RecordFile && !strings.HasSuffix(path, seal.Suffix) {
			t.Errorf("%s is not encrypted", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := seal.Open(dir, key)
	if err == nil {
		dir = t.TempDir()
		err = opened.Images(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range content {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}

	// What is not as its record says is refused all the same, and leaves nothing.
	plainTar := export(t, Export{Store: from, Compression: None}, r0(t, from))
	i.Store = store(t)
	if _, err := i.Read(context.Background(), bytes.NewReader(bytes.Replace(plainTar, []byte(content["core-1.img"]), bytes.Repeat([]byte("X"), len(content["core-1.img"])), 1))); !errors.Is(err, ErrRefused) {
		t.Errorf("changed: %v", err)
	}
	nothing(t, i.Store)
}

// r0 is the checkpoint of a store that has one.
func r0(t *testing.T, s metadata.Store) metadata.Record {
	t.Helper()
	r, err := s.Get("web", "x")
	if err != nil {
		t.Fatal(err)
	}
	return r
}
