//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// identity writes a new age identity and returns its file and recipient.
func identity(t *testing.T) (file, recipient string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(file, []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, id.Recipient().String()
}

// Not parallel: it looks at the stage, which all checkpoints share.
func TestEncrypted(t *testing.T) {
	const phrase = "correct-horse-battery-staple-4711"
	mine, recipient := identity(t)
	other, _ := identity(t)
	b := start(t, "-e", "PHRASE="+phrase, baseImage, "/workload", "memory", "16")
	b.await(8)
	found := func(checkpoint string) bool {
		t.Helper()
		err := exec.Command("grep", "-r", "-q", phrase, filepath.Join(b.store, b.name, checkpoint)).Run()
		return err == nil
	}
	noStage := func() {
		t.Helper()
		for _, dir := range []string{"/run/checkpointctl", "/dev/shm/checkpointctl"} {
			if left, _ := filepath.Glob(filepath.Join(dir, "stage-*")); left != nil {
				t.Errorf("left over: %v", left)
			}
		}
	}
	b.checkpoint("--name", "plain")
	if !found("plain") {
		t.Fatal("the phrase is not in the plain images: this test would see nothing")
	}
	b.checkpoint("--name", "running", "--encrypt-to", recipient)
	b.await(b.count())
	at := b.await(b.count())
	b.checkpoint("--name", "stopped", "--encrypt-to", recipient, "--leave-running=false")
	noStage()
	b.private()
	for _, name := range []string{"running", "stopped"} {
		if found(name) {
			t.Errorf("%s: the phrase is in the store", name)
		}
		b.must(0, "verify", b.name, name)
		b.must(0, "verify", b.name, name, "--identity", mine)
	}
	for _, args := range [][]string{{}, {"--identity", other}} {
		b.must(15, append([]string{"restore", b.name, "stopped"}, args...)...)
		if state := b.state(); state != "exited" {
			t.Errorf("is %s", state)
		}
	}
	b.restore("stopped", "--identity", mine)
	b.await(at + 45) // past two of its own checks of its memory
	b.kill()
	b.restore("running", "--identity", mine)
	b.await(b.count() + 45)
	noStage()
	if r := b.must(0, "logs", b.name, "stopped", "--identity", mine); !strings.Contains(r.stdout, "Dumping finished successfully") {
		t.Errorf("logs: %.300s", r.stdout)
	}
	if r := b.must(0, "logs", b.name, "stopped", "--restore", "--identity", mine); !strings.Contains(r.stdout, "Restore finished successfully") {
		t.Errorf("logs --restore: %.300s", r.stdout)
	}
}

// Without room in memory nothing is dumped, and not to a disk either.
func TestEncryptedWithoutRoom(t *testing.T) {
	t.Parallel()
	_, recipient := identity(t)
	b := start(t, baseImage, "/workload", "memory", "64")
	b.await(8)
	stage := filepath.Join(t.TempDir(), "stage")
	if err := os.Mkdir(stage, 0o700); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, stage, "size=48m,mode=0700")
	b.untouched(func() {
		r := b.must(1, "checkpoint", b.name, "--encrypt-to", recipient, "--stage", stage)
		if !strings.Contains(r.stderr, "has room for 48 MiB") || !strings.Contains(r.stderr, "hint: give --stage a tmpfs") {
			t.Errorf("stderr: %s", r.stderr)
		}
	})
}
