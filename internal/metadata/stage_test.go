package metadata

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestStage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stage")
	first, err := NewStage(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(first.Dir, "pages-1.img"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, stagePrefix+"LEFT")
	if err := os.MkdirAll(filepath.Join(left, "images"), 0o700); err != nil {
		t.Fatal(err)
	}
	// The next one removes what nobody holds, and leaves the other alone.
	second, err := NewStage(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left over: %v", err)
	}
	if _, err := os.Stat(filepath.Join(first.Dir, "pages-1.img")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(first.Empty(), first.Remove(), second.Remove()); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, stagePrefix+"*")); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestStageWithoutRoom(t *testing.T) {
	if _, err := NewStage(t.Context(), filepath.Join(t.TempDir(), "stage"), 1<<60); !errors.Is(err, ErrNoStage) {
		t.Errorf("got %v", err)
	}
	open := t.TempDir()
	chmod(t, open, 0o777)
	if _, err := NewStage(t.Context(), open, 0); !errors.Is(err, ErrExposed) {
		t.Errorf("got %v", err)
	}
}
