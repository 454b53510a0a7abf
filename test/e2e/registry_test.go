//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/test/images"
)

// registry starts Debian's docker-registry, and returns where it is.
func registry(t *testing.T) (host, name string) {
	t.Helper()
	if os.Getenv("CHECKPOINTCTL_E2E_BINARY") != "" {
		t.Skip("no apt here to make a registry from")
	}
	image, err := images.Registry(".", t.TempDir())
	if err != nil {
		t.Fatalf("image of the registry: %v", err)
	}
	host = "127.0.0.1:" + port(t)
	b := start(t, "-p", host+":5000", image, "docker-registry", "serve", "/registry.yml")
	if !until(10*time.Second, func() bool {
		c, err := net.Dial("tcp", host)
		return err == nil && c.Close() == nil && strings.Contains(b.logs("all"), "listening on")
	}) {
		t.Fatalf("the registry does not listen: %s", b.logs("20"))
	}
	return host, b.name
}

// A checkpoint goes through a real registry, encrypted and not, and a new container
// goes on from it. What the registry has is not sent again, and other tools read it.
func TestRegistry(t *testing.T) {
	t.Parallel()
	host, server := registry(t)
	// A volume that two checkpoints have in common.
	b := start(t, "-v", "/data", baseImage, "sh", "-c", counting)
	docker(t, "exec", b.name, "dd", "if=/dev/urandom", "of=/data/same", "bs=1M", "count=8")
	at := b.await(8)
	b.checkpoint("--name", "first", "--volumes")
	b.checkpoint("--name", "second", "--volumes", "--leave-running=false")
	push := func(args ...string) (p struct {
		Digest    string
		SizeBytes int64 `json:"size_bytes"`
		SentBytes int64 `json:"sent_bytes"`
	}) {
		t.Helper()
		r := b.must(0, append(append([]string{"push", b.name}, args...), "--json")...)
		if err := json.Unmarshal([]byte(r.stdout), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	ref := host + "/checkpoints/web"
	b.must(2, "push", b.name, "second", ref)
	docker(t, "tag", baseImage, ref+":base")
	t.Cleanup(func() { docker(t, "rmi", ref+":base") })
	docker(t, "push", "-q", ref+":base")
	first := push("first", ref+":first", "--plain")
	second := push("second", ref+":second", "--plain")
	again := push("second", ref+":again", "--plain")
	if first.SentBytes != first.SizeBytes || second.SentBytes > second.SizeBytes-8<<20 || again.SentBytes != 0 || again.Digest != second.Digest {
		t.Errorf("pushed %+v, %+v, %+v", first, second, again)
	}
	out := docker(t, "exec", server, "skopeo", "inspect", "--tls-verify=false", "docker://127.0.0.1:5000/checkpoints/web:second")
	if !strings.Contains(out, second.Digest) || !strings.Contains(out, `"Os": "linux"`) {
		t.Errorf("skopeo inspect: %s", out)
	}
	out = docker(t, "exec", server, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://127.0.0.1:5000/checkpoints/web:second")
	var manifest struct{ Subject struct{ Digest string } }
	if err := json.Unmarshal([]byte(out), &manifest); err != nil || !strings.Contains(docker(t, "inspect", "-f", "{{.RepoDigests}}", ref+":base"), ref+"@"+manifest.Subject.Digest) {
		t.Errorf("the subject is not the container's image: %s", out)
	}
	const recipient, secret = "age1q32jsppzsdzrcj7x333tv9jgk204m83xmtf2mhk9xyldu9lnsdgsf3yc35", "AGE-SECRET-KEY-1XYU4D5K99DA5S5XHMTL97AAKL46D4RY9KDM43FKJYJ9TE25GDVTQPML79N"
	push("second", ref+":sealed", "--encrypt-to", recipient)
	docker(t, "rm", "-v", b.name)
	b.must(0, "rm", b.name, "first", "second")

	n := b.named("new")
	n.store = t.TempDir()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	n.must(15, "pull", ref+":sealed")
	n.must(0, "pull", ref+":sealed", "--identity", key, "--as", "opened")
	n.must(0, "verify", "opened")
	n.must(0, "pull", ref+"@"+second.Digest)
	n.must(0, "restore", b.name, "--name", n.name)
	n.goesOn(at)
	if size := docker(t, "exec", n.name, "stat", "-c", "%s", "/data/same"); size != strconv.Itoa(8<<20) {
		t.Errorf("the file has %s bytes", size)
	}
}
