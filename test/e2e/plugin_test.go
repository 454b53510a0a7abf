//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// docker finds the command, knows its name in help, and passes its flags on.
func TestDockerPlugin(t *testing.T) {
	config := t.TempDir()
	if err := os.Mkdir(filepath.Join(config, "cli-plugins"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(config, "cli-plugins", "docker-checkpointctl")); err != nil {
		t.Fatal(err)
	}
	b := counter(t)
	docker := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("docker", args...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+config, "CHECKPOINTCTL_DIR="+b.store)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := docker("checkpointctl", "checkpoint", b.name, "--name", "one"); !strings.Contains(out, b.name+"/one\n") {
		t.Error(out)
	}
	if out := docker("checkpointctl", "list", "-q"); out != b.name+"/one\n" {
		t.Error(out)
	}
	if out := docker("help", "checkpointctl"); !strings.Contains(out, "docker checkpointctl COMMAND") {
		t.Error(out)
	}
	if out := docker("-H", "ssh://elsewhere", "checkpointctl", "inspect", b.name); !strings.Contains(out, "run checkpointctl there") {
		t.Error(out)
	}
	if out := docker("__complete", "checkpointctl", "pru"); !strings.HasPrefix(out, "prune\t") {
		t.Error(out)
	}
}
