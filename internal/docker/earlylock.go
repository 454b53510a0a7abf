package docker

import (
	"fmt"
	"os"
	"strings"
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
		if l.over = nsLink(l.pid, "net") == nsLink(os.Getpid(), "net"); !l.over {
			l.rule("-I ")
		}
	case strings.HasPrefix(text, "Running post-setup-namespaces"):
		l.unlock()
	}
}

// unlock does nothing the second time, or when CRIU did not come that far.
func (l *earlyLock) unlock() {
	if !l.over && l.pid != 0 {
		l.rule("-D ")
	}
	l.over = true
}

// rule leaves out what fails: without iptables the restore is as good as CRIU
// makes it.
func (l *earlyLock) rule(action string) {
	_ = inNetNS(l.pid, func() {
		for _, tool := range [...]string{"iptables", "ip6tables"} {
			_ = filter(tool, action+"INPUT -m mark ! "+criuMark+" -j DROP")
		}
	})
}
