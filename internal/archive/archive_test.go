package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// publish puts a checkpoint with these files into a store.
func publish(t *testing.T, s metadata.Store, r metadata.Record, files map[string]string) metadata.Record {
	t.Helper()
	r.SchemaVersion, r.ID, r.Image, r.Runtime = metadata.SchemaVersion, id, "app:1", "runc"
	r.Timestamp = time.Date(2026, 11, 1, 12, 0, 0, 5, time.UTC)
	unlock, err := s.Lock(r.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	d, err := s.Begin(r.Name, r.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		path := filepath.Join(d.Dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r.Files, r.SizeBytes, err = d.Sum()
	if err == nil {
		err = d.Publish(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func record(checkpoint string) metadata.Record {
	r := metadata.Record{Checkpoint: checkpoint, Kind: metadata.KindCheckpoint}
	r.Name = "web"
	return r
}

func store(t *testing.T) metadata.Store {
	t.Helper()
	return metadata.Store{Dir: filepath.Join(t.TempDir(), "store")}
}

// plain are files of every kind that an archive names in its own way.
func plain() map[string]string {
	return map[string]string{
		"core-1.img": "core", "pages-1.img": strings.Repeat("\x00", 200<<10) + "page" + strings.Repeat("\x00", 300<<10), "empty.img": "",
		"dump.log": "log", "stats-dump": "stats", "docker.json": "{}", "rootfs.tar": "layer", "volume-data.tar": "volume", "devshm.tar": "shm",
	}
}

func export(t *testing.T, e Export, r metadata.Record) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := e.Write(context.Background(), r, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func importer(s metadata.Store) Import { return Import{Store: s, MaxBytes: 1 << 30} }

// nothing fails if a refused import left something.
func nothing(t *testing.T, s metadata.Store) {
	t.Helper()
	_ = filepath.WalkDir(s.Dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != s.Dir {
			t.Errorf("left over: %s", path)
		}
		return nil
	})
}

func same(t *testing.T, s metadata.Store, r metadata.Record, files map[string]string) {
	t.Helper()
	if problems := s.Verify(r, metadata.Hashes); problems != nil {
		t.Errorf("not as recorded: %v", problems)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(s.Path(r.Name, r.Checkpoint), name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, want %d, %v", name, len(got), len(want), err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	from := store(t)
	r := publish(t, from, record("x"), plain())
	for _, how := range []struct {
		Compression
		level int
	}{{None, 0}, {Zstd, 0}, {Zstd, 19}, {Gzip, 0}, {Gzip, 9}} {
		e := Export{Store: from, Compression: how.Compression, Level: how.level}
		data := export(t, e, r)
		if !bytes.Equal(data, export(t, e, r)) {
			t.Errorf("%v: two exports differ", how)
		}
		to := store(t)
		i := importer(to)
		done := int64(0)
		i.Progress = func(d, _ int64) { done = d }
		got, err := i.Read(context.Background(), bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%v: %v", how, err)
		}
		if got.Imported == nil || got.IsOf(id) || got.SizeBytes >= r.SizeBytes+400<<10 || done < 500<<10 {
			t.Errorf("%v: imported %v, %d bytes on the disk, %d done", how, got.Imported, got.SizeBytes, done)
		}
		stored, err := to.Get("web", "x")
		if err != nil {
			t.Fatal(err)
		}
		same(t, to, stored, plain())
		if _, err := i.Read(context.Background(), bytes.NewReader(data)); !errors.Is(err, metadata.ErrExists) {
			t.Errorf("again: %v", err)
		}
		i.Container, i.Checkpoint = "other", "y"
		if got, err = i.Read(context.Background(), bytes.NewReader(data)); err != nil || got.Name != "other" || got.Checkpoint != "y" {
			t.Errorf("as another: %v", err)
		}
	}
}

// Who reads Podman's archives finds what they look for.
func TestEntryNames(t *testing.T) {
	s := store(t)
	data := export(t, Export{Store: s, Compression: None}, publish(t, s, record("x"), plain()))
	var names []string
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode&0o077 != 0 || h.Uid != 0 || h.ModTime.Unix() != 1793534400 {
			t.Errorf("%s: mode %o, user %d, %d", h.Name, h.Mode, h.Uid, h.ModTime.Unix())
		}
		names = append(names, h.Name)
	}
	want := []string{
		"container.json", "config.dump", "spec.dump", "network.status", "checkpoint/", "checkpoint/core-1.img", "checkpoint/docker.json", "checkpoint/empty.img",
		"checkpoint/pages-1.img", "devshm-checkpoint.tar", "dump.log", "rootfs.tar", "stats-dump", "volumes/data.tar",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}

// Parents become rounds, in their order.
func TestChainIsFlattened(t *testing.T) {
	from := store(t)
	early := record("early")
	early.Kind, early.TrackID = metadata.KindPreDump, "A"
	early.PreDump = &metadata.PreDump{Rounds: []metadata.Round{{Number: 1}, {Number: 2}}}
	publish(t, from, early, map[string]string{"pre-dump/1/pages-1.img": "1", "pre-dump/2/pages-1.img": "2"})
	link := func(at, to string) {
		if err := os.Symlink(to, filepath.Join(from.Dir, "web", at)); err != nil {
			t.Fatal(err)
		}
	}
	link("early/pre-dump/2/parent", "../1")
	middle := record("middle")
	middle.Parent, middle.TrackID = "early", "B"
	publish(t, from, middle, map[string]string{"pages-1.img": "3", "dump.log": "no image"})
	link("middle/parent", "../early/pre-dump/2")
	late := record("late")
	late.Parent = "middle"
	late.PreDump = &metadata.PreDump{Rounds: []metadata.Round{{Number: 1, TookUS: 7}}}
	r := publish(t, from, late, map[string]string{"pre-dump/1/pages-1.img": "4", "pages-1.img": "5"})
	link("late/parent", "pre-dump/1")
	link("late/pre-dump/1/parent", "../../../middle")

	to := store(t)
	got, err := importer(to).Read(context.Background(), bytes.NewReader(export(t, Export{Store: from, Compression: Zstd}, r)))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.PreDump.Rounds); got.Parent != "" || n != 4 || got.PreDump.Rounds[3].Number != 4 || got.PreDump.Rounds[3].TookUS != 7 {
		t.Errorf("parent %q, rounds %v", got.Parent, got.PreDump.Rounds)
	}
	same(t, to, got, map[string]string{
		"pre-dump/1/pages-1.img": "1", "pre-dump/2/pages-1.img": "2", "pre-dump/3/pages-1.img": "3", "pre-dump/4/pages-1.img": "4", "pages-1.img": "5",
		"parent/parent/parent/parent/pages-1.img": "1",
	})
	if len(got.Files) != 5 {
		t.Errorf("files: %v", got.Files)
	}
	if err := (Export{Store: from}).Write(context.Background(), func() metadata.Record { e, _ := from.Get("web", "early"); return e }(), io.Discard); !errors.Is(err, ErrNotExportable) {
		t.Errorf("rounds alone: %v", err)
	}
}

func identity(t *testing.T, secret string) seal.Identities {
	t.Helper()
	file := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ids, err := seal.ParseIdentities(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestEncrypted(t *testing.T) {
	// Keys for this test alone.
	const recipient = "age1q32jsppzsdzrcj7x333tv9jgk204m83xmtf2mhk9xyldu9lnsdgsf3yc35"
	key, other := identity(t, "AGE-SECRET-KEY-1XYU4D5K99DA5S5XHMTL97AAKL46D4RY9KDM43FKJYJ9TE25GDVTQPML79N"), identity(t, "AGE-SECRET-KEY-13P404J4L4DYZKYFHNMY8D9RU6VWHUFMWKTPP4SSJ0FLGCKGF8RFQZLE4V8")
	to, err := seal.ParseRecipients([]string{recipient}, "")
	if err != nil {
		t.Fatal(err)
	}
	from := store(t)
	data := export(t, Export{Store: from, Compression: None, Seal: to}, publish(t, from, record("x"), plain()))
	if bytes.Contains(data, []byte("core-1.img")) {
		t.Error("its names can be read")
	}
	s := store(t)
	i := importer(s)
	if _, err := i.Read(context.Background(), bytes.NewReader(data)); !errors.Is(err, seal.ErrNoIdentity) {
		t.Errorf("without a key: %v", err)
	}
	i.Identities = other
	if _, err := i.Read(context.Background(), bytes.NewReader(data)); !errors.Is(err, seal.ErrWrongIdentity) {
		t.Errorf("with another key: %v", err)
	}
	i.Identities = key
	// What is cut behind the tar's end is found, too.
	for _, n := range []int{1, 100, len(data) / 2} {
		if _, err := i.Read(context.Background(), bytes.NewReader(data[:len(data)-n])); !errors.Is(err, ErrRefused) {
			t.Errorf("cut by %d: %v", n, err)
		}
	}
	nothing(t, s)
	if _, err := i.Read(context.Background(), bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
}

// A file that changed since is found while it is written.
func TestExportOfADamagedCheckpoint(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"changed": func(p string) error { return os.WriteFile(p, []byte("cora"), 0o600) },
		"cut":     func(p string) error { return os.Truncate(p, 2) },
		"longer":  func(p string) error { return os.WriteFile(p, []byte("core and more"), 0o600) },
		"gone":    os.Remove,
	} {
		s := store(t)
		r := publish(t, s, record("x"), plain())
		if err := change(filepath.Join(s.Path("web", "x"), "core-1.img")); err != nil {
			t.Fatal(err)
		}
		err := (Export{Store: s, Compression: Zstd}).Write(context.Background(), r, io.Discard)
		if !errors.Is(err, metadata.ErrDamaged) || !strings.Contains(err.Error(), "web/x: core-1.img: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A record with SHA-256, as older ones have, gives the same archive as one without.
func TestRecordWithSHA256(t *testing.T) {
	s := store(t)
	r := publish(t, s, record("a"), plain())
	older, err := s.Hashed(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(older.Files[0].SHA256) != 64 || r.Files[0].SHA256 != "" {
		t.Fatalf("%+v, hashed %+v", r.Files, older.Files)
	}
	if !bytes.Equal(export(t, Export{Store: s}, older), export(t, Export{Store: s}, r)) {
		t.Error("another archive")
	}
	for _, r := range []metadata.Record{r, older} {
		for _, depth := range []metadata.Depth{metadata.Checksums, metadata.Hashes} {
			if problems := s.Verify(r, depth); problems != nil {
				t.Error(problems)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(s.Path("web", "a"), "core-1.img"), []byte("CORE"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, r := range []metadata.Record{r, older} {
		if err := (Export{Store: s}).Write(context.Background(), r, io.Discard); !errors.Is(err, metadata.ErrDamaged) || !strings.Contains(err.Error(), "web/a: core-1.img: content changed") {
			t.Error(err)
		}
		if problems := s.Verify(r, metadata.Hashes); !slices.Equal(problems, []string{"core-1.img: content changed"}) {
			t.Error(problems)
		}
	}
}

func TestInterrupted(t *testing.T) {
	from := store(t)
	r := publish(t, from, record("x"), plain())
	data := export(t, Export{Store: from, Compression: None}, r)
	ctx, cancel := context.WithCancel(context.Background())
	to := store(t)
	i := importer(to)
	i.Progress = func(int64, int64) { cancel() }
	if _, err := i.Read(ctx, bytes.NewReader(data)); !errors.Is(err, context.Canceled) {
		t.Errorf("import: %v", err)
	}
	nothing(t, to)
	if err := (Export{Store: from, Compression: None}).Write(ctx, r, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("export: %v", err)
	}
}

func TestCompressionCheck(t *testing.T) {
	for _, test := range []struct {
		c     Compression
		level int
		good  bool
	}{{None, 0, true}, {None, 1, false}, {Zstd, 22, true}, {Zstd, 23, false}, {Gzip, 9, true}, {Gzip, 10, false}, {"xz", 0, false}, {Zstd, -1, false}} {
		if err := test.c.Check(test.level); (err == nil) != test.good {
			t.Errorf("%s %d: %v", test.c, test.level, err)
		}
	}
}
