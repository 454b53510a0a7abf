//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"
)

// python is a program that does something and then counts.
func python(text string) []string {
	return []string{appsImage, "python3", "-c", "import ctypes, os, socket, time\n" + text + "\nfor n in range(10 ** 6): print(n, flush=True); time.sleep(0.1)"}
}

// What CRIU would fail on is named before the container is touched, alone and in
// a group, and by inspect.
func TestRefusedBeforeTheFreeze(t *testing.T) {
	t.Parallel()
	other := counter(t)
	for name, test := range map[string]struct {
		stderr, hint string
		run          []string
	}{
		"mptcp": {"has an MPTCP socket at 0.0.0.0:7000 (descriptor ", "docker run --sysctl net.mptcp.enabled=0",
			python(`s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); s.bind(("", 7000)); s.listen()`)},
		"tracer": {"is traced by process ", "detach it", append([]string{"--cap-add", "SYS_PTRACE"}, python(`
c = os.fork()
if c == 0: time.sleep(10 ** 6)
ctypes.CDLL(None).ptrace(0x4206, c, 0, 0)`)...)},
		"io_uring": {"has an io_uring (descriptor ", "turn io_uring off", append([]string{"--security-opt", "seccomp=unconfined"}, python(`
if ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)) < 0: time.sleep(10 ** 6)`)...)},
		"uts namespace": {"is in another uts namespace than the container's first process", "unshare", append([]string{"--cap-add", "SYS_ADMIN"}, python(`
if os.fork() == 0: ctypes.CDLL(None).unshare(0x04000000); time.sleep(10 ** 6)`)...)},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, test.run...)
			b.await(3)
			b.untouched(func() {
				for _, args := range [][]string{{}, {"--leave-running=false"}, {other.name, "--consistent"}} {
					r := b.must(14, append([]string{"checkpoint", b.name}, args...)...)
					if !strings.Contains(r.stderr, test.stderr) || !strings.Contains(r.stderr, test.hint) {
						t.Errorf("stderr: %s", r.stderr)
					}
				}
			})
			if out := b.must(0, "inspect", b.name).stdout; !strings.Contains(out, "Can be checkpointed: no, because") || !strings.Contains(out, test.stderr) {
				t.Errorf("inspect: %s", out)
			}
		})
	}
	var view struct {
		Can *bool `json:"can_be_checkpointed"`
	}
	out := other.must(0, "inspect", other.name, "--json").stdout
	if err := json.Unmarshal([]byte(out), &view); err != nil || view.Can == nil || !*view.Can {
		t.Errorf("%v: %s", err, out)
	}
}

// A Go server can be checkpointed as it is, if its container has no MPTCP.
func TestGoServerWithoutMPTCP(t *testing.T) {
	t.Parallel()
	b := start(t, "--sysctl", "net.mptcp.enabled=0", baseImage, "/workload", "server")
	address := net.JoinHostPort(b.address(), "7000")
	if !until(10*time.Second, func() bool {
		c, err := net.Dial("tcp", address)
		return err == nil && c.Close() == nil
	}) {
		t.Fatalf("the server does not listen: %s", b.logs("5"))
	}
	b.checkpoint()
}
