//go:build e2e

package e2e

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// system is the part of PATH that holds no link.
const system = "/usr/sbin:/usr/bin:/sbin:/bin"

// readOnly returns a directory to which nothing can be added.
func readOnly(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_RDONLY, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Where no link can be made, containers of a registered runtime are restored.
// Neither dockerd nor what runs notices that one is registered.
func TestRuntimeInstall(t *testing.T) {
	d := newDockerd(t)
	d.path = readOnly(t) + ":" + system
	const settings = "{\n  \"labels\": [\"a=b\"],\n  \"max-concurrent-downloads\": 5\n}\n"
	config := filepath.Join(d.dir, "config.json")
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	d.up()
	run := func(args ...string) *box {
		return start(t, append(args, "--network", "none", baseImage, "sh", "-c", counting)...)
	}
	plain := run()
	before, at := plain.pid(), plain.await(8)
	plain.checkpoint()

	if r := ctl(t, "check"); r.code != 20 || !strings.Contains(r.stdout, "is read-only") {
		t.Errorf("check: exit %d: %s", r.code, r.stdout)
	}
	if r := ctl(t, "runtime", "install"); r.code != 0 {
		t.Fatalf("install: exit %d: %s", r.code, r.stderr)
	}
	text, err := os.ReadFile(config)
	if err != nil || !strings.Contains(string(text), `"labels": ["a=b"]`) || !strings.Contains(string(text), `"max-concurrent-downloads": 5`) {
		t.Errorf("the configuration is %s, %v", text, err)
	}

	registered := run("--runtime", "checkpointctl")
	was := registered.await(8)
	registered.checkpoint("--leave-running=false")
	registered.restore()
	registered.goesOn(was)
	registered.kill()
	if r := ctl(t, "runtime", "uninstall"); r.code != 11 || !strings.Contains(r.stderr, registered.name) {
		t.Errorf("uninstall: exit %d: %s", r.code, r.stderr)
	}
	registered.restore()
	registered.goesOn(was)

	if r := ctl(t, "runtime", "install", "--default"); r.code != 0 {
		t.Fatalf("install --default: exit %d: %s", r.code, r.stderr)
	}
	if r := ctl(t, "check"); r.code != 0 || !strings.Contains(r.stdout, "by runtime checkpointctl") {
		t.Errorf("check: exit %d: %s", r.code, r.stdout)
	}
	byDefault := run()
	was = byDefault.await(8)
	byDefault.checkpoint("--leave-running=false")
	byDefault.restore()
	byDefault.goesOn(was)

	registered.remove()
	byDefault.remove()
	if r := ctl(t, "runtime", "uninstall"); r.code != 0 {
		t.Fatalf("uninstall: exit %d: %s", r.code, r.stderr)
	}
	if text, err = os.ReadFile(config); err != nil || string(text) != settings {
		t.Errorf("the configuration was %s and is %s, %v", settings, text, err)
	}
	if r := exec.Command("docker", "run", "--rm", "--runtime", "checkpointctl", "--network", "none", baseImage, "true"); r.Run() == nil {
		t.Error("the runtime is still known")
	}
	run().await(1)

	plain.await(at)
	if now := plain.pid(); now != before {
		t.Errorf("pid was %s, is %s", before, now)
	}
	if !alive(d.cmd.Process.Pid) {
		t.Error("dockerd has ended")
	}
	// What had no link before has none now.
	plain.kill()
	if r := plain.must(20, "restore", plain.name); !strings.Contains(r.stderr, "is read-only") {
		t.Errorf("stderr: %s", r.stderr)
	}
}

// The shims of a containerd that dockerd did not start have that one's PATH.
func TestContainerdOfTheSystem(t *testing.T) {
	d := newDockerd(t)
	theirs, other := t.TempDir(), t.TempDir()
	socket, log := filepath.Join(d.dir, "containerd.sock"), filepath.Join(d.dir, "containerd.log")
	config := filepath.Join(d.dir, "containerd.toml")
	if err := os.WriteFile(config, []byte("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// In the directory of the daemon, which ends what runs there.
	c := exec.Command("sh", "-c", `exec containerd --config "$1" --address "$2" --root "$3" --state "$4" >"$5" 2>&1`, "containerd",
		config, socket, filepath.Join(d.dir, "root"), filepath.Join(d.exec, "state"), log)
	c.Env = append(os.Environ(), "PATH="+theirs+":"+system)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	if !until(20*time.Second, func() bool { return exists(socket) }) {
		text, _ := os.ReadFile(log)
		t.Fatalf("containerd does not start: %s", text)
	}
	d.args = append(d.args, "--containerd", socket)
	d.path = other + ":" + system
	d.up()
	b := start(t, "--network", "none", baseImage, "sh", "-c", counting)
	at := b.await(8)
	b.checkpoint("--leave-running=false")
	if plan := b.must(0, "restore", b.name, "--dry-run").stdout; !strings.Contains(plan, theirs+"/runc") {
		t.Errorf("no link in containerd's PATH: %s", plan)
	}
	b.restore()
	b.goesOn(at)
	for _, dir := range []string{theirs, other} {
		if exists(filepath.Join(dir, "runc")) {
			t.Errorf("the link is left over in %s", dir)
		}
	}
	b.remove() // before its containerd ends
}

// What cannot be restored is refused by name. Docker is not asked to start it.
func TestDockersThatCannotRestore(t *testing.T) {
	origin := start(t, "--network", "none", baseImage, "sh", "-c", counting)
	origin.await(8)
	origin.checkpoint()
	refused := func(t *testing.T, b *box, state, message string, args ...string) {
		t.Helper()
		if r := b.must(20, append([]string{"restore"}, args...)...); !strings.Contains(r.stderr, message) {
			t.Errorf("stderr: %s", r.stderr)
		}
		if now := b.state(); now != state {
			t.Errorf("it is %s", now)
		}
	}
	checked := func(t *testing.T, message string) {
		t.Helper()
		if r := ctl(t, "check"); r.code != 20 || !strings.Contains(r.stdout, message) {
			t.Errorf("check: exit %d: %s", r.code, r.stdout)
		}
	}
	t.Run("crun", func(t *testing.T) {
		crun, err := exec.LookPath("crun")
		if err != nil {
			// It is refused by its name. The roots of test/dockers have the real one.
			crun = filepath.Join(t.TempDir(), "crun")
			if runc, err := exec.LookPath("runc"); err != nil || os.Symlink(runc, crun) != nil {
				t.Fatal(err)
			}
		}
		d := ownDockerd(t, "--add-runtime", "crun="+crun)
		// CRIU cannot dump how crun hides paths.
		b := start(t, "--runtime", "crun", "--security-opt", "systempaths=unconfined", "--network", "none", baseImage, "sh", "-c", counting)
		b.await(8)
		b.checkpoint("--leave-running=false")
		refused(t, b, "exited", "runtime crun is "+crun, b.name)
		d.kill()
		d.args = append(d.args, "--default-runtime", "crun")
		d.start()
		checked(t, "runtime crun is "+crun)
	})
	t.Run("userns-remap", func(t *testing.T) {
		ids := filepath.Join(t.TempDir(), "ids")
		if err := os.WriteFile(ids, []byte("nobody:100000:65536\nnogroup:100000:65536\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		d := newDockerd(t, "--userns-remap", "nobody:nogroup")
		if err := os.Chmod(d.dir, 0o711); err != nil {
			t.Fatal(err)
		}
		// Nothing but dockerd sees the file.
		d.before = `exec unshare --mount sh -c 'mount --bind ` + ids + ` /etc/subuid && mount --bind ` + ids + ` /etc/subgid && exec dockerd "$@"' dockerd "$@";`
		d.up()
		b := &box{t: t, name: prefix + "remapped", store: origin.store}
		t.Cleanup(b.remove)
		docker(t, "create", "--name", b.name, "--network", "none", baseImage, "sh", "-c", counting)
		refused(t, b, "created", "Docker runs with userns-remap", origin.name, "--into", b.name)
		checked(t, "Docker runs with userns-remap")
	})
	t.Run("rootless", func(t *testing.T) {
		d := newDockerd(t, "--rootless", "--group", "root")
		// What rootlesskit does, as far as dockerd needs it to answer.
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "rootlesskit-docker-proxy"), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		d.path = bin + ":" + system
		l, err := net.Listen("unix", filepath.Join(d.dir, "api.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"apiVersion": "1.1.1", "version": "2.0.0", "networkDriver": {"driver": "none"}, "portDriver": {"driver": "none"}}`))
			}))
		}()
		d.before = `exec unshare --user --map-root-user --mount env ROOTLESSKIT_STATE_DIR="` + d.dir + `" XDG_RUNTIME_DIR="` + d.exec + `" dockerd "$@";`
		d.start()
		t.Setenv("DOCKER_HOST", "unix://"+d.dir+"/sock")
		checked(t, "Docker runs rootless")
	})
}
