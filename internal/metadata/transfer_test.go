package metadata

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What a transfer keeps is there for the next run, for one at a time, and goes when
// it is removed.
func TestTransfer(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "store")}
	a, err := s.Transfer("push here")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.Dir, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Transfer("push here"); !errors.Is(err, ErrLocked) {
		t.Errorf("twice at once: %v", err)
	}
	other, err := s.Transfer("push there")
	if err != nil || other.Dir == a.Dir {
		t.Fatalf("another: %v", err)
	}
	if list := s.AbandonedTransfers(); list != nil || s.RemoveTransfer(a.Dir) == nil {
		t.Errorf("in use, and abandoned: %v", list)
	}
	if err := errors.Join(a.Close(), other.Close()); err != nil { // nothing is in the other one
		t.Fatal(err)
	}
	if list := s.AbandonedTransfers(); len(list) != 1 || list[0] != a.Dir || s.Containers() != nil {
		t.Errorf("abandoned: %v", list)
	}
	if a, err = s.Transfer("push here"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(a.Dir, "kept")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(a.Close(), s.RemoveTransfer(a.Dir)); err != nil {
		t.Fatal(err)
	}
	if list := s.AbandonedTransfers(); list != nil {
		t.Errorf("left over: %v", list)
	}
}
