package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func publish(t *testing.T, s Store, container, name string, at time.Time) {
	t.Helper()
	d, err := begin(s, container, name)
	if err != nil {
		t.Fatal(err)
	}
	r := Record{SchemaVersion: SchemaVersion, Checkpoint: name, Timestamp: at}
	r.Name, r.ID = container, strings.Repeat("a", 64)
	if err := os.WriteFile(filepath.Join(d.Dir, "pages-1.img"), []byte("pages"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r.Files, r.SizeBytes, err = d.Sum(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Sync(), d.Publish(r)); err != nil {
		t.Fatal(err)
	}
}

func begin(s Store, container, name string) (*Draft, error) {
	unlock, err := s.Lock(container)
	if err != nil {
		return nil, err
	}
	d, err := s.Begin(container, name)
	unlock()
	return d, err
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "before-upgrade", "v1.2_3", strings.Repeat("a", 128)} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "a\n", "ü", strings.Repeat("a", 129)} {
		if err := CheckName(bad); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestPublishedCheckpointsAreListedOldestFirst(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	now := time.Now().UTC()
	publish(t, s, "web", "new", now)
	publish(t, s, "web", "old", now.Add(-time.Hour))
	publish(t, s, "db", "other", now.Add(-time.Minute))
	// Neither a draft nor a stranger's directory is a checkpoint.
	if _, err := begin(s, "web", "draft"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.Dir, "web", "stranger"), 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := s.List("")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range list {
		names = append(names, r.Name+"/"+r.Checkpoint)
	}
	if got := strings.Join(names, " "); got != "web/old db/other web/new" {
		t.Errorf("got %s", got)
	}
	if r, err := s.Find("web", ""); err != nil || r.Checkpoint != "new" {
		t.Errorf("newest: %s, %v", r.Checkpoint, err)
	}
	if _, err := s.Find("web", "draft"); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("draft: %v", err)
	}
}

func TestFree(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	publish(t, s, "c", "checkpoint1", time.Now())
	publish(t, s, "c", "checkpoint3", time.Now())
	if name, err := s.Free("c", ""); name != "checkpoint2" || err != nil {
		t.Errorf("got %q, %v", name, err)
	}
	if _, err := s.Free("c", "checkpoint3"); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Free("c", "../c"); !errors.Is(err, ErrBadName) {
		t.Errorf("got %v", err)
	}
}

func TestModes(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "store")}
	publish(t, s, "c", "one", time.Now())
	err := filepath.Walk(s.Dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDiscardKeepsOnlyTheLog(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	d, err := begin(s, "c", "one")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"dump.log", "pages-1.img"} {
		if err := os.WriteFile(filepath.Join(d.Dir, f), []byte(f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.Discard("dump.log", "why it failed")
	var left []string
	_ = filepath.Walk(s.Dir, func(path string, info os.FileInfo, _ error) error {
		if !info.IsDir() && info.Name() != ".lock" {
			left = append(left, path)
		}
		return nil
	})
	log, err := s.Log("c", "one", "dump.log")
	if err != nil || len(left) != 1 || left[0] != log {
		t.Errorf("left %v, log %q, %v", left, log, err)
	}
	if list, _ := s.List(""); len(list) != 0 {
		t.Errorf("listed %v", list)
	}
	// A success under that name forgets the failure.
	publish(t, s, "c", "one", time.Now())
	if _, err := s.Log("c", "one", "dump.log"); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("got %v", err)
	}
}

func TestLock(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	unlock, err := s.Lock("c")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock("c"); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	unlock()
	if _, err := os.Stat(filepath.Join(s.Dir, "c")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty directory stays: %v", err)
	}
	if _, err := s.Lock("../c"); !errors.Is(err, ErrBadName) {
		t.Errorf("got %v", err)
	}
}

func TestRemove(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	publish(t, s, "c", "one", time.Now())
	if err := s.Remove("c", "one"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("c", "one"); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("got %v", err)
	}
	if err := s.Remove("c", "../c"); !errors.Is(err, ErrBadName) {
		t.Errorf("got %v", err)
	}
}

// Whose record cannot be read may still need its parent: its images say so.
func TestRemoveTheParentOfADamagedOne(t *testing.T) {
	for _, images := range []string{".", "pre-dump/1"} {
		s := Store{Dir: t.TempDir()}
		for i, name := range []string{"parent", "child", "other"} {
			publish(t, s, "c", name, time.Now().Add(time.Duration(i)))
		}
		dir := filepath.Join(s.Path("c", "child"), images)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		up, err := filepath.Rel(dir, s.Path("c", "parent"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(up, "pre-dump/3"), filepath.Join(dir, "parent")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Path("c", "child"), RecordFile), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Remove("c", "parent"); !errors.Is(err, ErrNeeded) || !strings.Contains(err.Error(), "child") {
			t.Errorf("%s: %v", images, err)
		}
		if err := s.Remove("c", "other"); err != nil {
			t.Error(err)
		}
		if err := s.Remove("c", "child", "parent"); err != nil {
			t.Error(err)
		}
	}
}

func TestDamaged(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	publish(t, s, "c", "one", time.Now())
	r, err := s.Get("c", "one")
	if err != nil {
		t.Fatal(err)
	}
	dir := s.Path("c", "one")
	if problems := s.Verify(r, Sizes); problems != nil {
		t.Error(problems)
	}
	if err := os.Truncate(filepath.Join(dir, "pages-1.img"), 1); err != nil {
		t.Fatal(err)
	}
	if problems := s.Verify(r, Sizes); len(problems) != 1 || problems[0] != "pages-1.img: has 1 bytes, want 5" {
		t.Errorf("truncated: %v", problems)
	}
	if err := os.Remove(filepath.Join(dir, "pages-1.img")); err != nil {
		t.Fatal(err)
	}
	if problems := s.Verify(r, Sizes); len(problems) != 1 || problems[0] != "pages-1.img: missing" {
		t.Errorf("removed: %v", problems)
	}
	for _, text := range []string{"", "{", `{"schema_version": 99}`} {
		if err := os.WriteFile(filepath.Join(dir, RecordFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get("c", "one"); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// BenchmarkList reads a store of 10,000 checkpoints, each with a record of the
// usual size.
func BenchmarkList(b *testing.B) {
	s := Store{Dir: b.TempDir()}
	r := Record{SchemaVersion: SchemaVersion, Timestamp: time.Now()}
	for i := range 30 {
		r.Files = append(r.Files, File{Name: fmt.Sprintf("pages-%d.img", i), SizeBytes: 1 << 20, SHA256: strings.Repeat("a", 64)})
		r.Mounts = append(r.Mounts, Mount{Path: "/sys/fs/cgroup/memory", FSType: "cgroup", Action: "external", Key: "/sys/fs/cgroup/memory", Value: "/sys/fs/cgroup/memory", Reason: "cgroup v1 hierarchy, bound by the runtime"})
	}
	for i := range 10000 {
		r.Name, r.Checkpoint = fmt.Sprintf("c%d", i%100), fmt.Sprintf("checkpoint%d", i/100)
		data, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.MkdirAll(s.Path(r.Name, r.Checkpoint), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.Path(r.Name, r.Checkpoint), RecordFile), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if list, err := s.List(""); len(list) != 10000 || err != nil {
			b.Fatalf("%d, %v", len(list), err)
		}
	}
}
