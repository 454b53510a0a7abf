package metadata

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// schema1 is a record as version 1 wrote it.
const schema1 = `{
  "schema_version": 1, "checkpoint": "checkpoint1", "kind": "checkpoint",
  "id": "4f5c3a4f5c3a4f5c3a4f5c3a4f5c3a4f5c3a4f5c3a4f5c3a4f5c3a4f5c3a4f5c", "name": "web", "pid": 4242, "state": "running",
  "timestamp": "2026-10-01T08:00:00Z", "frozen_at": "2026-10-01T08:00:00.25Z",
  "options": {"leave_running": true}, "size_bytes": 4096, "encrypted": false,
  "files": [{"name": "pages-1.img", "size_bytes": 5, "sha256": "14be5b2ab31ac0d4b5ec6ae18ba4ac11e10ddfab6dc8fdc5ab3f84b29b0acf3b", "crc32c": "00000000"}]
}`

// write puts a record of web/checkpoint1 into a new store.
func write(t *testing.T, text string) Store {
	t.Helper()
	s := Store{Dir: t.TempDir()}
	dir := s.Path("web", "checkpoint1")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, RecordFile), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRecordOfSchema1IsRead(t *testing.T) {
	s := write(t, schema1)
	r, err := s.Get("web", "checkpoint1")
	if err != nil {
		t.Fatal(err)
	}
	if r.SchemaVersion != 1 || r.Parts != nil || len(r.Files) != 1 || !r.FrozenAt.After(r.Timestamp) {
		t.Errorf("%+v", r)
	}
	list, err := s.List("web")
	if err != nil || len(list) != 1 {
		t.Errorf("%d records, %v", len(list), err)
	}
	newer := write(t, strings.Replace(schema1, `"schema_version": 1`, `"schema_version": 3`, 1))
	if _, err := newer.Get("web", "checkpoint1"); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "schema_version 3, want at most 2") {
		t.Error(err)
	}
}

func TestParts(t *testing.T) {
	with := func(parts string) string {
		return strings.NewReplacer(`"schema_version": 1`, `"schema_version": 2, "parts": `+parts, `"pages-1.img"`, `"rootfs.tar"`).Replace(schema1)
	}
	r, err := write(t, with(`[{"name": "criu", "size_bytes": 0}, {"name": "rootfs", "file": "rootfs.tar", "size_bytes": 5, "entries": 1}]`)).Get("web", "checkpoint1")
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := r.Part(PartRootFS); !ok || p.File != "rootfs.tar" || p.Entries != 1 {
		t.Errorf("%+v, %v", p, ok)
	}
	if _, ok := r.Part(PartVolume + "data"); ok {
		t.Error("a volume that is not there")
	}
	for name, parts := range map[string]string{
		"no such file":  `[{"name": "rootfs", "file": "other.tar"}]`,
		"outside":       `[{"name": "rootfs", "file": "../rootfs.tar"}]`,
		"no file":       `[{"name": "rootfs"}]`,
		"images in one": `[{"name": "criu", "file": "rootfs.tar"}]`,
		"twice":         `[{"name": "rootfs", "file": "rootfs.tar"}, {"name": "rootfs", "file": "rootfs.tar"}]`,
		"one file":      `[{"name": "rootfs", "file": "rootfs.tar"}, {"name": "devshm", "file": "rootfs.tar"}]`,
	} {
		if _, err := write(t, with(parts)).Get("web", "checkpoint1"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sealed := strings.NewReplacer(`"encrypted": false`, `"encrypted": true`, `"name": "rootfs.tar"`, `"name": "rootfs.tar.age"`).
		Replace(with(`[{"name": "rootfs", "file": "rootfs.tar"}]`))
	if _, err := write(t, sealed).Get("web", "checkpoint1"); err != nil {
		t.Error(err)
	}
}

// What a killed run of an older version left whole can still be published.
func TestFindingOfSchema1(t *testing.T) {
	s := write(t, strings.Replace(schema1, `"leave_running": true`, `"leave_running": false`, 1))
	dir := s.Path("web", "checkpoint1")
	if err := os.Rename(dir, s.hidden("web", "checkpoint1", draftPrefix)); err != nil {
		t.Fatal(err)
	}
	found := s.Findings("web")
	if len(found) != 1 || found[0].Record == nil || !found[0].Record.FrozenAt.Equal(time.Date(2026, 10, 1, 8, 0, 0, 250e6, time.UTC)) {
		t.Errorf("%+v", found)
	}
}
