//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func dockerQuiet(args ...string) error { return exec.Command("docker", args...).Run() }

// A checkpoint goes through an archive into another store, and a new container goes
// on from it.
func TestArchive(t *testing.T) {
	t.Parallel()
	b := start(t, "-l", "app=shop", "-p", port(t)+":80", baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	file := filepath.Join(t.TempDir(), "web.ckpt")
	b.must(0, "export", b.name, "-o", file)
	docker(t, "rm", b.name)
	n := b.named("new")
	n.store = t.TempDir()
	n.must(0, "import", file)
	r := n.must(0, "restore", b.name, "--name", n.name)
	if !strings.Contains(r.stderr, "labels of the archive's container are left out") || !strings.Contains(r.stderr, "ports of the archive's container are left out") {
		t.Errorf("stderr: %s", r.stderr)
	}
	n.goesOn(at)
	if now := n.inspect(); now.Config.Labels["app"] != "" || docker(t, "port", n.name) != "" {
		t.Errorf("made %+v", now.Config)
	}
}

// An archive brings the image along to a Docker that does not have it, and no name.
func TestArchiveWithImage(t *testing.T) {
	t.Parallel()
	made := start(t, baseImage, "sh", "-c", "echo own >/own")
	docker(t, "wait", made.name)
	image := "checkpointctl-e2e/" + made.name // nothing else needs it, so that it can go
	docker(t, "commit", made.name, image)
	id := docker(t, "inspect", "-f", "{{.Id}}", image)
	t.Cleanup(func() { _ = dockerQuiet("rmi", image, id) })
	b := start(t, image, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	file := filepath.Join(t.TempDir(), "web.ckpt")
	b.must(0, "export", b.name, "-o", file, "--with-image")
	docker(t, "rm", b.name)
	docker(t, "rm", made.name)
	docker(t, "rmi", image)
	n := b.named("new")
	n.store = t.TempDir()
	n.must(0, "import", file, "--as", "alone")
	if r := n.must(23, "restore", "alone", "--name", n.name); !strings.Contains(r.stderr, "no image on this host has the layers") {
		t.Errorf("without the image: %s", r.stderr)
	}
	n.must(0, "import", file, "--load-image")
	n.must(0, "restore", b.name, "--name", n.name)
	n.goesOn(at)
	if own := docker(t, "exec", n.name, "cat", "/own"); own != "own" {
		t.Errorf("the image has %q", own)
	}
	if tags := docker(t, "inspect", "-f", "{{.RepoTags}}", n.inspect().Image); tags != "[]" {
		t.Errorf("the image got the names %s", tags)
	}
}

// An archive that hides what its images would restore is found out by the images.
func TestArchiveWithPrivileges(t *testing.T) {
	t.Parallel()
	b := start(t, "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	dir := t.TempDir()
	honest, forged := filepath.Join(dir, "honest.tar"), filepath.Join(dir, "forged.tar")
	b.must(0, "export", b.name, "-o", honest, "--compress", "none")
	forge(t, honest, forged)
	docker(t, "rm", b.name)
	n := b.named("new")
	n.store = t.TempDir()
	n.must(0, "import", honest, "--as", "honest")
	n.must(0, "import", forged, "--as", "forged")
	r := n.must(23, "restore", "honest", "--name", n.name)
	if !strings.Contains(r.stderr, "cap_add SYS_ADMIN of an archive, which --allow-privileges takes; security_opt seccomp=unconfined") {
		t.Errorf("honest: %s", r.stderr)
	}
	r = n.must(14, "restore", "forged", "--name", n.name)
	if !strings.Contains(r.stderr, "would have in "+n.name+" what the container is not allowed: capabilities SYS_ADMIN; no seccomp filter") {
		t.Errorf("forged: %s", r.stderr)
	}
	if got := docker(t, "ps", "-aq", "--filter", "name="+n.name); got != "" {
		t.Errorf("left over: %s", got)
	}
	into := n.create(baseImage, "sh", "-c", counting)
	if r = n.must(14, "restore", "forged", "--into", into.name); into.state() != "created" {
		t.Errorf("forged, into another: %s", r.stderr)
	}
	r = n.must(0, "restore", "forged", "--name", n.name, "--allow-privileges")
	if !strings.Contains(r.stderr, "gets what it is not allowed by Docker: capabilities SYS_ADMIN; no seccomp filter") {
		t.Errorf("allowed: %s", r.stderr)
	}
	n.goesOn(at)
}

// forge writes an archive whose record and configuration say nothing of privileges.
func forge(t *testing.T, from, to string) {
	t.Helper()
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		return string(out)
	}
	entries := strings.Fields(run("tar", "-tf", from))
	run("tar", "-C", dir, "-xf", from)
	edit := func(name string, change func(map[string]any)) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		change(doc)
		if data, err = json.Marshal(doc); err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	config := edit("checkpoint/docker.json", func(doc map[string]any) {
		host := doc["host_config"].(map[string]any)
		host["CapAdd"], host["SecurityOpt"] = nil, nil
	})
	sum := sha256.Sum256(config)
	edit("container.json", func(doc map[string]any) {
		delete(doc["settings"].(map[string]any), "cap_add")
		for _, f := range doc["files"].([]any) {
			if f := f.(map[string]any); f["name"] == "docker.json" {
				f["size_bytes"], f["sha256"], f["crc32c"] = len(config), hex.EncodeToString(sum[:]), ""
			}
		}
	})
	list := filepath.Join(dir, "list")
	if err := os.WriteFile(list, []byte(strings.Join(entries, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	run("tar", "-C", dir, "--no-recursion", "-cf", to, "-T", list)
}

// The other checkpointctl, which reads Podman's archives, shows ours.
func TestArchiveIsShownByOthers(t *testing.T) {
	t.Parallel()
	needs(t, "go")
	bin := t.TempDir()
	build := exec.Command("go", "install", "github.com/checkpoint-restore/checkpointctl@v1.6.0")
	build.Env = append(os.Environ(), "GOBIN="+bin, "GOTOOLCHAIN=auto", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the other program: %v: %s", err, out)
	}
	b := start(t, baseImage, "sh", "-c", counting)
	b.await(8)
	b.checkpoint()
	for _, compression := range []string{"none", "zstd", "gzip"} {
		file := filepath.Join(t.TempDir(), "web.tar")
		b.must(0, "export", b.name, "-o", file, "--compress", compression)
		out, err := exec.Command(filepath.Join(bin, "checkpointctl"), "inspect", "--all", file).CombinedOutput()
		for _, want := range []string{b.name, b.inspect().ID, "[1]  sh -c", "Pages written: ", "IP: 172."} {
			if err != nil || !strings.Contains(string(out), want) {
				t.Fatalf("%s: no %q, %v: %s", compression, want, err, out)
			}
		}
		if out, err = exec.Command(filepath.Join(bin, "checkpointctl"), "show", file).CombinedOutput(); err != nil || !strings.Contains(string(out), b.name) {
			t.Errorf("%s: %v: %s", compression, err, out)
		}
	}
}
