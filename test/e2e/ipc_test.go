//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// The System V objects of a shared IPC namespace are its owner's: a member brings
// none of them back, and comes back all the same, alone or with the owner.
func TestObjectsOfASharedIPCNamespace(t *testing.T) {
	t.Parallel()
	owner := start(t, append([]string{"--ipc", "shareable"}, python(`
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
a = libc.shmat(libc.shmget(77, 4096, 0o1600), None, 0); ctypes.memset(a, 65, 16)
libc.shmget(78, 4096, 0o1600); libc.semget(79, 2, 0o1600); libc.msgget(80, 0o1600)`)...)...)
	owner.await(3)
	member := start(t, append([]string{"--ipc", "container:" + owner.name}, python("")...)...)
	member.store = owner.store
	objects := func() string {
		return docker(t, "exec", owner.name, "sh", "-c", `for k in shm sem msg; do awk 'NR > 1 { print $1 }' /proc/sysvipc/$k; done`)
	}
	const all = "77\n78\n79\n80"
	if got := objects(); got != all {
		t.Fatalf("the objects are %q", got)
	}
	at := member.await(8)
	member.checkpoint("--leave-running=false")
	// What the owner removes meanwhile stays removed, and what it has is its own.
	docker(t, "exec", owner.name, "python3", "-c", "import ctypes; l = ctypes.CDLL(None); l.shmctl(l.shmget(78, 0, 0), 0, None)")
	member.restore()
	member.goesOn(at)
	if got := objects(); got != "77\n79\n80" {
		t.Errorf("the objects are %q", got)
	}

	at, ownerAt := member.await(member.count()), owner.await(8)
	owner.must(0, "checkpoint", owner.name, member.name, "--consistent", "--leave-running=false", "--name", "both")
	owner.must(0, "restore", "--group", owner.name+"/both")
	member.goesOn(at)
	owner.goesOn(ownerAt)
	if got := objects(); got != "77\n79\n80" {
		t.Errorf("the objects are %q", got)
	}

	// A mapping cannot be restored without making the segment.
	mapped := start(t, append([]string{"--ipc", "container:" + owner.name}, python(`
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
libc.shmat(libc.shmget(77, 4096, 0), None, 0)`)...)...)
	mapped.await(3)
	mapped.untouched(func() {
		if r := mapped.must(14, "checkpoint", mapped.name, "--leave-running=false"); !strings.Contains(r.stderr, "has mapped a System V segment of the IPC namespace of container ") {
			t.Errorf("stderr: %s", r.stderr)
		}
	})
}
