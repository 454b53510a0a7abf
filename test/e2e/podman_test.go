//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// podman runs the real Podman with storage and a network namespace of its own: it leaves
// rules and a bridge there.
type podman struct {
	t                    *testing.T
	program, dir, run, n string
}

func newPodman(t *testing.T) podman {
	t.Helper()
	if os.Getenv("CHECKPOINTCTL_E2E_BINARY") != "" {
		t.Skip("Podman is beside the host's Docker alone")
	}
	program, err := exec.LookPath("podman")
	if err != nil {
		t.Fatalf("%v: scripts/setup.sh installs it", err)
	}
	run, err := os.MkdirTemp("", "ckpt-podman-") // Podman takes at most 50 characters
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	p := podman{t: t, program: program, dir: t.TempDir(), run: run, n: fmt.Sprint(prefix, "podman-", serial.Add(1))}
	t.Cleanup(func() {
		_ = p.command("rm", "-af", "-t", "0").Run()
		for _, mount := range []string{p.run, filepath.Join(p.dir, "overlay")} {
			_ = unix.Unmount(mount, unix.MNT_DETACH) // Podman binds it onto itself
		}
		_ = exec.Command("ip", "netns", "del", p.n).Run()
	})
	for _, args := range [][]string{{"netns", "add", p.n}, {"-n", p.n, "link", "set", "lo", "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v: %s", args, err, out)
		}
	}
	return p
}

func (p podman) command(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{
		"--net=/run/netns/" + p.n, p.program, "--root", p.dir, "--runroot", p.run, "--cgroup-manager=cgroupfs", "--events-backend=none",
	}, args...)...)
}

func (p podman) must(args ...string) string {
	p.t.Helper()
	r := execute(p.t, p.command(args...))
	if r.code != 0 {
		p.t.Fatalf("podman %s: exit %d: %s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// goesOn fails unless a container that counted to about at counts on in Podman.
func (p podman) goesOn(name string, at int) {
	p.t.Helper()
	var lines []string
	if !until(20*time.Second, func() bool { lines = strings.Fields(p.must("logs", name)); return len(lines) > 3 }) {
		p.t.Fatalf("%s does not go on: %q", name, lines)
	}
	if first, err := strconv.Atoi(lines[0]); err != nil || first <= 5 || first < at-1 || first > at+200 {
		p.t.Errorf("%s goes on with %q from %d", name, lines[0], at)
	}
}

// Podman goes on from a checkpoint of a Docker container, with its files, and its own
// archive of that can be shown.
func TestPodmanRestores(t *testing.T) {
	t.Parallel()
	p := newPodman(t)
	image := filepath.Join(p.dir, "image.tar")
	docker(t, "save", "-o", image, baseImage)
	p.must("load", "-q", "-i", image)
	changes := "rm /bin/who; rm -r /var/log; mkdir /var/log; echo $WORD >/var/log/new; chmod 750 /data; echo own >/dev/shm/file;"
	b := start(t, "-e", "WORD=kept", "--ipc=shareable", baseImage, "sh", "-c", changes+counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	file := filepath.Join(t.TempDir(), "podman.tar.zst")
	b.must(0, "export", b.name, "--format", "podman", "-o", file)

	p.must("container", "restore", "--import", file)
	p.goesOn(b.name, at)
	got := p.must("exec", b.name, "sh", "-c", "ls /var/log; cat /var/log/new /dev/shm/file; stat -c %a /data; test -e /bin/who || echo gone; hostname; ip -o addr show eth0 | wc -l")
	want := []string{"new", "kept", "own", "750", "gone", b.inspect().Config.Hostname}
	if fields := strings.Fields(got); len(fields) != len(want)+1 || strings.Join(fields[:len(want)], " ") != strings.Join(want, " ") || fields[len(want)] == "0" {
		t.Errorf("in the container: %q, want %q and an address", got, want)
	}

	own := filepath.Join(t.TempDir(), "own.tar.zst")
	p.must("container", "checkpoint", "--export", own, b.name)
	r := ctl(t, "show", own, "all")
	for _, word := range []string{b.name, "sh -c", "/var/log"} {
		if r.code != 0 || !strings.Contains(r.stdout, word) {
			t.Errorf("no %q in what Podman's archive shows: exit %d: %s%s", word, r.code, r.stdout, r.stderr)
		}
	}
}
