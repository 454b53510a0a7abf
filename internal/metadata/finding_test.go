package metadata

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// The clock was set back between two checkpoints.
func TestClockSetBack(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	now := time.Now()
	var names []string
	for _, at := range []time.Time{now, now.Add(-24 * time.Hour), now.Add(-24 * time.Hour)} {
		name, err := s.Free("web", "")
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, "web", name, at)
		names = append(names, name)
	}
	if want := []string{"checkpoint1", "checkpoint2", "checkpoint3"}; !slices.Equal(names, want) {
		t.Errorf("names %v, want %v", names, want)
	}
	list, err := s.List("web")
	if err != nil || len(list) != 3 {
		t.Errorf("%d of 3 listed, %v", len(list), err)
	}
	// The newest is by the clock: the others are to be named.
	if r, err := s.Find("web", ""); err != nil || r.Checkpoint != "checkpoint1" {
		t.Errorf("found %s, %v", r.Checkpoint, err)
	}
	for _, name := range names {
		if r, err := s.Find("web", name); err != nil || r.Checkpoint != name {
			t.Errorf("found %s for %s, %v", r.Checkpoint, name, err)
		}
	}
}

// A finding is published, under another name if its own was taken since.
func TestAdopt(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	unlock, err := s.Lock("web")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := s.Lock("web"); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	for _, want := range []string{"one", "checkpoint1"} {
		d, err := s.Begin("web", "one")
		if err != nil {
			t.Fatal(err)
		}
		if left := s.Findings("web"); len(left) != 1 || left[0].Only {
			t.Fatalf("begun: %+v", left)
		}
		if err := os.WriteFile(filepath.Join(d.Dir, "pages-1.img"), []byte("pages"), 0o644); err != nil {
			t.Fatal(err)
		}
		r := Record{SchemaVersion: SchemaVersion, Checkpoint: "one", Kind: KindCheckpoint, Container: Container{Name: "web"}}
		if err := d.Complete(r); err != nil {
			t.Fatal(err)
		}
		left := s.Findings("web")
		if len(left) != 1 || !left[0].Only || left[0].Record == nil {
			t.Fatalf("complete: %+v", left)
		}
		if path, err := s.Adopt(left[0]); err != nil || path != s.Path("web", want) {
			t.Errorf("adopted as %s, %v", path, err)
		}
		got, err := s.Get("web", want)
		if err != nil || len(got.Files) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		if problems := s.Verify(got, Hashes); problems != nil {
			t.Error(problems)
		}
	}
}
