package docker

import (
	"fmt"
	"os"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// earlyLock keeps packets out of the network namespace of a container that is
// restored until CRIU locks it. Docker gives it an interface before that (see
// ACT_SETUP_NS in criu/cr-restore.c), and a packet for a socket that is not there
// yet is answered with a reset, which ends the peer's connection. It is in the
// form of CRIU's own lock, so that repair finds what a killed run left.
type earlyLock struct {
	pid  int
	over bool // or never wanted
}

// see takes a line of CRIU's log. Docker's hook, which CRIU waits for after the
// line about setup-namespaces, is a program in Go: the lock is there before the
// interface.
func (l *earlyLock) see(line string) {
	_, text, _ := strings.Cut(line, ") ")
	switch {
	case l.over:
	case l.pid == 0 && strings.HasPrefix(text, "PID: real "): // the root task's is first
		_, _ = fmt.Sscanf(text, "PID: real %d", &l.pid)
	case strings.HasPrefix(text, "Running setup-namespaces"):
		// The log lies where a record says: never lock the host.
		if l.over = linux.NamespaceLink(l.pid, "net") == linux.NamespaceLink(os.Getpid(), "net"); !l.over {
			_ = linux.LockInput(l.pid) // without iptables the restore is as good as CRIU makes it
		}
	case strings.HasPrefix(text, "Running post-setup-namespaces"):
		l.unlock()
	}
}

// unlock does nothing the second time, or when CRIU did not come that far.
func (l *earlyLock) unlock() {
	if !l.over && l.pid != 0 {
		_ = linux.UnlockInput(l.pid)
	}
	l.over = true
}
