package docker

import (
	"os"
	"path/filepath"
	"testing"
)

// Only what can hold no state of a container.
func TestIsStale(t *testing.T) {
	for _, c := range []struct {
		entries []string
		stale   bool
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
		if got := isStale(dir); got != c.stale {
			t.Errorf("%v: stale %v", c.entries, got)
		}
	}
	if isStale(filepath.Join(t.TempDir(), "none")) {
		t.Error("what is not there is stale")
	}
}
