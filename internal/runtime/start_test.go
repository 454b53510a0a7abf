package runtime

import (
	"os"
	"path/filepath"
	"testing"
)

// Only what can hold no state of a container.
func TestHasNoState(t *testing.T) {
	for _, c := range []struct {
		entries []string
		want    bool
	}{
		{nil, true},
		{[]string{criuRoot}, true},
		{[]string{"state.json"}, false},
		{[]string{criuRoot, "state.json"}, false},
		{[]string{"exec.fifo"}, false},
	} {
		dir := t.TempDir()
		for _, name := range c.entries {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if got := hasNoState(dir); got != c.want {
			t.Errorf("%v: %v", c.entries, got)
		}
	}
	if hasNoState(filepath.Join(t.TempDir(), "none")) {
		t.Error("what is not there has no state")
	}
}

func TestRemoveKilledStart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to unmount takes root")
	}
	dir := filepath.Join(t.TempDir(), "id")
	if err := os.MkdirAll(filepath.Join(dir, criuRoot), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := RemoveKilledStart(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("left over")
	}
	// What came meanwhile stays.
	if err := os.MkdirAll(filepath.Join(dir, "state.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := RemoveKilledStart(dir); err == nil {
		t.Error("a state was removed")
	}
}
