//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// flip changes one bit in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What real CRIU wrote of several processes is sound, and each kind of damage
// to it is named.
func TestVerify(t *testing.T) {
	t.Parallel()
	b := start(t, "--tmpfs", "/data", appsImage, "python3", "/workers.py")
	b.await(8)
	docker(t, "exec", b.name, "sh", "-c", "echo kept >/data/file")
	b.checkpoint()
	b.must(0, "verify", b.name)
	dir := filepath.Join(b.store, b.name, "checkpoint1")

	kinds := map[string]string{} // a file of each kind
	number := regexp.MustCompile(`[0-9]+`)
	for _, f := range b.list()[0].Files {
		info, err := os.Stat(filepath.Join(dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 0 {
			kinds[number.ReplaceAllString(f.Name, "N")] = f.Name
		}
	}
	if len(kinds) < 15 {
		t.Errorf("kinds of files: %v", kinds)
	}
	for _, name := range kinds {
		flip(t, filepath.Join(dir, name))
	}
	out := b.must(24, "verify", b.name).stdout
	for _, name := range kinds {
		if !strings.Contains(out, name+": content changed") {
			t.Errorf("%s is not named in %s", name, out)
		}
		flip(t, filepath.Join(dir, name))
	}
	b.must(0, "verify", b.name)

	damage := func(want string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if out := b.must(24, "verify", b.name).stdout; !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	pagemap, core := kinds["pagemap-N.img"], kinds["core-N.img"]
	damage("pagemap-shmem-1.img: not of this checkpoint", func() error {
		return os.WriteFile(filepath.Join(dir, "pagemap-shmem-1.img"), []byte("more"), 0o600)
	})
	damage("pagemap-shmem-1.img: its magic is not PAGEMAP", func() error { return nil })
	damage("parent: leads to", func() error { return os.Symlink("../checkpoint0", filepath.Join(dir, "parent")) })
	damage(pagemap+": entry 1: ends in the middle", func() error { return os.Truncate(filepath.Join(dir, pagemap), 11) })
	damage(core+": missing, task", func() error { return os.Remove(filepath.Join(dir, core)) })

	b.kill()
	if r := b.must(24, "restore", b.name); !strings.Contains(r.stderr, core+": missing") {
		t.Errorf("stderr: %s", r.stderr)
	}
	if state := b.state(); state != "exited" {
		t.Errorf("is %s", state)
	}
}
