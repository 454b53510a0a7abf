package runtime

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

func TestOthers(t *testing.T) {
	root := t.TempDir()
	for id, pid := range map[string]string{"this": "1\n", "other": "42\n", "odd": "", "none": ""} {
		dir := filepath.Join(root, id)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if id == "none" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "init.pid"), []byte(pid), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := []linux.Process{{Name: "container:other", PID: 42}}
	if got := Others(filepath.Join(root, "this")); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if got := Others(""); got != nil {
		t.Errorf("of no bundle: %v", got)
	}
}

func TestIsBind(t *testing.T) {
	for _, c := range []struct {
		mount Mount
		want  bool
	}{
		{Mount{Type: "bind"}, true},
		{Mount{Type: "none", Options: []string{"ro", "rbind"}}, true},
		{Mount{Type: "tmpfs", Options: []string{"rw"}}, false},
	} {
		if got := c.mount.IsBind(); got != c.want {
			t.Errorf("%+v: %v", c.mount, got)
		}
	}
}
