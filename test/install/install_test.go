// Package install checks what make install puts on a machine.
package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstall(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "usr")
	cmd := exec.Command("make", "-C", "../..", "install", "PREFIX="+prefix, "VERSION=test")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	binary := filepath.Join(prefix, "bin", "checkpointctl")
	if out, err := exec.Command(binary, "--version").Output(); err != nil || !strings.Contains(string(out), "test") {
		t.Errorf("%v: %s", err, out)
	}
	plugin := filepath.Join(prefix, "libexec", "docker", "cli-plugins", "docker-checkpointctl")
	if out, err := exec.Command(plugin, "docker-cli-plugin-metadata").Output(); err != nil || !strings.Contains(string(out), `"Version":"test"`) {
		t.Errorf("%v: %s", err, out)
	}
	for name, want := range map[string]string{
		"man/man8/checkpointctl-restore.8":             "--files",
		"man/man5/checkpointctl.yaml.5":                "criu.path",
		"man/man7/checkpointctl-concepts.7":            "parent",
		"bash-completion/completions/checkpointctl":    "__complete",
		"zsh/site-functions/_checkpointctl":            "#compdef checkpointctl",
		"fish/vendor_completions.d/checkpointctl.fish": "complete -c checkpointctl",
	} {
		if data, err := os.ReadFile(filepath.Join(prefix, "share", name)); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s has no %q: %v", name, want, err)
		}
	}
	units := filepath.Join(prefix, "lib", "systemd", "system")
	service := filepath.Join(units, "checkpointctl@.service")
	timer := filepath.Join(units, "checkpointctl@.timer")
	data, err := os.ReadFile(service)
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for line := range strings.Lines(string(data)) {
		if start, ok := strings.CutPrefix(line, "ExecStart="); ok {
			args = strings.Fields(start)
		}
	}
	if len(args) == 0 || args[0] != binary {
		t.Fatalf("ExecStart is %q", args)
	}
	// The command line that systemd would run is one that checkpointctl takes.
	config := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte("batches: [{name: nightly, select: {all: true}}]\ndocker: {host: \"unix:///nonexistent\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	line := strings.NewReplacer("/etc/checkpointctl/checkpointctl.yaml", config, "%i", "nightly").Replace(strings.Join(args[1:], " "))
	out, err := exec.Command(binary, append(strings.Fields(line), "--dry-run")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "docker is not reachable") {
		t.Errorf("%v: %s", err, out)
	}
	verify(t, service, timer, filepath.Join(units, "checkpointctl-park.service"))
}

// verify asks systemd, or where there is none at least reads the units.
func verify(t *testing.T, units ...string) {
	t.Helper()
	if analyze, err := exec.LookPath("systemd-analyze"); err == nil {
		if out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify: %v: %s", err, out)
		}
		return
	}
	for _, unit := range units {
		data, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			section := strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]")
			if line != "" && line[0] != '#' && !section && !strings.Contains(line, "=") {
				t.Errorf("%s: %q", unit, line)
			}
		}
	}
}
