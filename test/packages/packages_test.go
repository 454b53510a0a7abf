//go:build e2e

// Package packages checks what make packages has written into dist.
package packages

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/rpm"
)

const (
	dist = "../../dist"
	doc  = "usr/share/doc/docker-checkpointctl/"
)

func TestSums(t *testing.T) {
	if out, err := command(dist, "sha256sum", "--check", "--strict", "SHA256SUMS"); err != nil || strings.Count(out, ": OK") != 3 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	if out, err := command(dir, "tar", "--strip-components=1", "-xzf", only(t, "*.tar.gz")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := command(dir, "bin/checkpointctl", "--version"); err != nil || !strings.HasPrefix(out, "checkpointctl version ") {
		t.Errorf("%v: %s", err, out)
	}
	if unit := read(t, filepath.Join(dir, "lib/systemd/system/checkpointctl@.service")); !strings.Contains(unit, "ExecStart=/usr/local/bin/checkpointctl ") {
		t.Errorf("the service starts another program: %s", unit)
	}
}

// The same commit gives the same packages.
func TestReproducible(t *testing.T) {
	before := read(t, filepath.Join(dist, "SHA256SUMS"))
	if out, err := command("../..", "make", "packages"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if after := read(t, filepath.Join(dist, "SHA256SUMS")); after != before {
		t.Errorf("first\n%sthen\n%s", before, after)
	}
}

// The deb works where nothing else is, and its removal leaves nothing.
func TestDeb(t *testing.T) {
	root := debian(t)
	before := list(t, root)
	install(t, root)

	if out, err := command("/", "chroot", root, "checkpointctl", "--version"); err != nil || !strings.HasPrefix(out, "checkpointctl version ") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := command("/", "chroot", root, "docker", "checkpointctl", "list", "--help"); err != nil || !strings.Contains(out, "docker checkpointctl list [CONTAINER]") {
		t.Errorf("%v: %s", err, out)
	}
	for name, want := range map[string]string{
		"usr/share/man/man8/checkpointctl.8.gz":          ".TH",
		"usr/share/man/man8/checkpointctl-restore.8.gz":  "rollback",
		"usr/share/man/man5/checkpointctl.yaml.5.gz":     "criu.path",
		"usr/share/man/man7/checkpointctl-concepts.7.gz": "parent",
	} {
		if text := unzip(t, filepath.Join(root, name)); !strings.Contains(text, want) {
			t.Errorf("%s has no %q", name, want)
		}
	}
	for name, want := range map[string]string{
		"usr/share/bash-completion/completions/checkpointctl":    "__complete",
		"usr/share/zsh/vendor-completions/_checkpointctl":        "#compdef checkpointctl",
		"usr/share/fish/vendor_completions.d/checkpointctl.fish": "complete -c checkpointctl",
		"usr/lib/systemd/system/checkpointctl@.service":          "ExecStart=/usr/bin/checkpointctl ",
		"usr/lib/systemd/system/checkpointctl@.timer":            "OnCalendar=",
		doc + "copyright":                        "Apache License",
		doc + "THIRD-PARTY-LICENSES":             "github.com/spf13/cobra v",
		doc + "README.md":                        "# checkpointctl",
		doc + "examples/checkpointctl.rules.yml": "CheckpointFailed",
		doc + "docs/concepts.md":                 "# Concepts",
	} {
		if text := read(t, filepath.Join(root, name)); !strings.Contains(text, want) {
			t.Errorf("%s has no %q", name, want)
		}
	}
	example := "/" + doc + "examples/checkpointctl.yaml"
	if out, err := command("/", "chroot", root, "checkpointctl", "--config", example, "config"); err != nil || !strings.Contains(out, example+":") {
		t.Errorf("the example cannot be used: %v: %s", err, out)
	}

	// The demo, from the installed program by this host's Docker.
	cmd := exec.Command("../../scripts/demo.sh", "--no-setup")
	cmd.Env = append(os.Environ(), "CHECKPOINTCTL="+filepath.Join(root, "usr/bin/checkpointctl"))
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("demo: passed")) {
		t.Errorf("%v: %s", err, out)
	}

	// Docker would not find a runtime that it was told of.
	daemon := filepath.Join(root, "etc/docker/daemon.json")
	if err := os.WriteFile(daemon, []byte(`{"runtimes": {"checkpointctl": {"path": "/usr/libexec/checkpointctl/checkpointctl-runtime"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := command("/", "chroot", root, "dpkg", "--purge", "docker-checkpointctl"); err == nil || !strings.Contains(out, "docker.sock: connect:") {
		t.Errorf("removed with its runtime still in daemon.json: %v: %s", err, out)
	}
	if err := os.Remove(daemon); err != nil {
		t.Fatal(err)
	}
	if out, err := command("/", "chroot", root, "dpkg", "--purge", "docker-checkpointctl"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	after := list(t, root)
	for _, name := range after {
		if !slices.Contains(before, name) {
			t.Errorf("left: %s", name)
		}
	}
	if len(after) < len(before) {
		t.Errorf("%d files before, %d after", len(before), len(after))
	}
}

func TestControl(t *testing.T) {
	for field, want := range map[string]string{
		"Package": "docker-checkpointctl", "Conflicts": "checkpointctl", "Recommends": "criu", "Section": "admin", "Depends": "",
	} {
		if got, err := command(dist, "dpkg-deb", "--field", only(t, "*.deb"), field); err != nil || strings.TrimSpace(got) != want {
			t.Errorf("%s is %q, want %q: %v", field, got, want, err)
		}
	}
	contents, err := command(dist, "dpkg-deb", "--contents", only(t, "*.deb"))
	if err != nil {
		t.Fatal(contents)
	}
	for line := range strings.Lines(contents) {
		if fields := strings.Fields(line); fields[1] != "root/root" || !slices.Contains([]string{"drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx", "l---------"}, fields[0]) {
			t.Errorf("owner or mode of %s", line)
		}
	}
}

// The rpm has what the deb has.
func TestRPM(t *testing.T) {
	root := debian(t)
	install(t, root)
	p, err := rpm.Open(only(t, "*.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name() != "docker-checkpointctl" || p.License() != "Apache-2.0" || p.BuildHost() != "localhost" {
		t.Errorf("%s, %s, made on %s", p.Name(), p.License(), p.BuildHost())
	}
	if c := p.Conflicts(); len(c) != 1 || c[0].Name() != "checkpointctl" {
		t.Errorf("conflicts with %v", c)
	}
	if r := p.Recommends(); len(r) != 1 || r[0].Name() != "criu" {
		t.Errorf("recommends %v", r)
	}
	var files []string
	for _, f := range p.Files() {
		if f.Mode().IsDir() {
			// These are of Fedora's package filesystem, with modes of its own.
			if slices.Contains([]string{"/usr", "/usr/bin", "/usr/lib", "/usr/libexec", "/usr/share", "/usr/share/doc", "/usr/share/man", "/usr/share/man/man8"}, f.Name()) {
				t.Errorf("the package owns %s", f.Name())
			}
			continue
		}
		if f.Owner() != "root" || f.Group() != "root" || f.Mode().Perm()&0o022 != 0 && f.Mode().IsRegular() {
			t.Errorf("%s %s:%s %s", f.Mode(), f.Owner(), f.Group(), f.Name())
		}
		name := strings.NewReplacer("zsh/site-functions", "zsh/vendor-completions", "docker-checkpointctl/LICENSE", "docker-checkpointctl/copyright").Replace(f.Name())
		files = append(files, name)
		if f.Mode().IsRegular() && f.Digest() != digest(t, filepath.Join(root, name)) {
			t.Errorf("%s is another than in the deb", f.Name())
		}
	}
	out, err := command("/", "chroot", root, "dpkg", "--listfiles", "docker-checkpointctl")
	if err != nil {
		t.Fatal(out)
	}
	var want []string
	for _, name := range strings.Fields(out) {
		if info, err := os.Lstat(filepath.Join(root, name)); err == nil && !info.IsDir() {
			want = append(want, name)
		}
	}
	slices.Sort(files)
	slices.Sort(want)
	if !slices.Equal(files, want) {
		t.Errorf("the rpm has %v, the deb %v", files, want)
	}
}

// debian mounts a root that nothing else changes, of a Debian with Docker's command.
func debian(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("../dockers/build.sh", "trixie")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lower := strings.TrimSpace(string(out))
	// Where the root is, an overlay can be, too.
	work, err := os.MkdirTemp(filepath.Dir(lower), "packages-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	root := filepath.Join(work, "root")
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(work, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := "lowerdir=" + lower + ",upperdir=" + filepath.Join(work, "upper") + ",workdir=" + filepath.Join(work, "work")
	if out, err := command("/", "mount", "-t", "overlay", "overlay", "-o", options, root); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := command("/", "umount", root); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	// The root is made without documents.
	excludes, err := filepath.Glob(filepath.Join(root, "etc/dpkg/dpkg.cfg.d/*"))
	if err != nil || excludes == nil {
		t.Fatalf("no configuration of dpkg in %s: %v", lower, err)
	}
	for _, file := range excludes {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "etc/docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

func install(t *testing.T, root string) {
	t.Helper()
	copied := filepath.Join(root, "p.deb")
	if err := os.WriteFile(copied, []byte(read(t, only(t, "*.deb"))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := command("/", "chroot", root, "dpkg", "--install", "/p.deb"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
}

// list is all that is in a root, but for what dpkg notes down.
func list(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if name == "var/lib/dpkg" {
			return filepath.SkipDir
		}
		if name != "var/log/dpkg.log" {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// only is the one file in dist that matches.
func only(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func unzip(t *testing.T, path string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(read(t, path)))
	if err != nil {
		t.Error(err)
		return ""
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func digest(t *testing.T, path string) string {
	sum := sha256.Sum256([]byte(read(t, path)))
	return hex.EncodeToString(sum[:])
}
