package criu

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDropSysV(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ipcns-shm-10.img": "magic of objects", "ipcns-msg-10.img": "magics__", "ipcns-sem-10.img": "magics__and more",
		"ipcns-var-10.img": "magics__variables", "core-1.img": "magics__core",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if has, err := HasSysV(dir); err != nil || !has {
		t.Errorf("%v, %v", has, err)
	}
	if err := DropSysV(dir); err != nil {
		t.Fatal(err)
	}
	if has, err := HasSysV(dir); err != nil || has {
		t.Errorf("%v, %v", has, err)
	}
	for name, want := range map[string]int64{"ipcns-shm-10.img": 8, "ipcns-sem-10.img": 8, "ipcns-var-10.img": 17, "core-1.img": 12} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if has, err := HasSysV(t.TempDir()); err != nil || has {
		t.Errorf("of nothing: %v, %v", has, err)
	}
}
