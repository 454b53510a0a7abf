package docker

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Only what has our block, and the name that a write gives it.
func TestTornConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "runc.conf")
	for name, text := range map[string]string{
		"runc.conf": confBegin, "runc.conf123": confBegin + "file-locks\n", "runc.conf5": "the user's\n", "runc.conf.old": confBegin,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := torn(file); !slices.Equal(got, []string{file + "123"}) {
		t.Errorf("torn: %v", got)
	}
	removeTorn(file)
	if left, _ := filepath.Glob(file + "*"); len(left) != 3 {
		t.Errorf("left: %v", left)
	}
}
