// Package preflight says what stands against a checkpoint before a container is
// touched: rules over facts that others gathered. It is pure.
package preflight

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
)

// Facts are what the rules look at.
type Facts struct {
	Tasks []tasks.Task // init first
	// MPTCP are the local addresses of MPTCP sockets, by the inode of the socket.
	MPTCP map[uint64]netip.AddrPort
}

// Refusal is one thing that CRIU cannot dump, or not restore.
type Refusal struct {
	PID     int    `json:"pid"`     // on the host
	Process string `json:"process"` // the name of its program
	Object  string `json:"object"`  // what it has, or how it is
	Reason  string `json:"reason"`
	Hint    string `json:"hint"` // the way on
}

func (r Refusal) String() string {
	return fmt.Sprintf("process %d (%s) %s: %s", r.PID, r.Process, r.Object, r.Reason)
}

const (
	cannotDump    = "CRIU cannot dump it"
	cannotRestore = "CRIU cannot restore it"
)

// Check returns what stands against a checkpoint, in the order of the tasks;
// nothing means that no rule knows of anything.
func Check(f Facts) []Refusal {
	var list []Refusal
	for _, t := range f.Tasks {
		refuse := func(reason, hint, object string, args ...any) {
			list = append(list, Refusal{PID: t.PID, Process: t.Name, Object: fmt.Sprintf(object, args...), Reason: reason, Hint: hint})
		}
		if t.Tracer != 0 {
			refuse("CRIU cannot trace it, too", "detach it, or wait until it is done", "is traced by process %d (%s)", t.Tracer, t.TracerName)
		}
		for _, kind := range foreign(f.Tasks[0], t) {
			refuse(cannotRestore, "end it: a process that docker exec or nsenter started, or that unshare moved",
				"is in another %s namespace than the container's first process", kind)
		}
		for _, file := range t.Files {
			if object, reason, hint := f.file(file); object != "" {
				refuse(reason, hint, "has %s (descriptor %d)", object, file.FD)
			}
		}
	}
	return list
}

// foreign are the namespaces of a task that are not those of init. CRIU restores
// nested network and mount namespaces (CLONE_SUBNS in criu/include/namespaces.h),
// and no others. It refuses them at the dump (generate_ns_id), unless they are its
// own, the host's: then at the restore only (prepare_pstree_kobj_ids). That is
// where docker exec puts a process into a restored container's time namespace.
func foreign(init, t tasks.Task) []string {
	var kinds []string
	for _, kind := range [...]string{"pid", "user", "ipc", "uts", "cgroup", "time"} {
		want, have := init.Namespaces[kind], t.Namespaces[kind]
		if want != "" && have != "" && want != have {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// file says what a descriptor is and why it stands against a checkpoint; no
// object for one that does not.
func (f Facts) file(file tasks.File) (object, reason, hint string) {
	var inode uint64
	if _, err := fmt.Sscanf(file.Target, "socket:[%d]", &inode); err == nil {
		if address, ok := f.MPTCP[inode]; ok {
			return fmt.Sprintf("an MPTCP socket at %s", address), cannotDump, MPTCPHint
		}
		return "", "", ""
	}
	switch {
	case file.Target == "anon_inode:[io_uring]":
		return "an io_uring", cannotDump, "turn io_uring off in the program: innodb_use_native_aio=0 for MariaDB, UV_USE_IO_URING=0 for Node.js"
	case file.Target == "/dev/fuse":
		return "/dev/fuse open", cannotDump, "unmount what the container mounts by FUSE, or mount it on the host and bind it into the container"
	case file.Interface != "":
		return "the TUN interface " + file.Interface, cannotRestore + ": Docker makes the network anew, without it", "end the program that has it, and start it again after the checkpoint"
	}
	return "", "", ""
}

// MPTCPHint is the way on for a server that listens by MPTCP.
const MPTCPHint = "Go servers listen by MPTCP (Go 1.24 and newer): docker run --sysctl net.mptcp.enabled=0 turns it off without touching the program; GODEBUG=multipathtcp=0 in a Go program's environment does so, too"

// RefusedError is a container with at least one refusal.
type RefusedError struct {
	Container string
	Refusals  []Refusal
}

// shown refusals are enough to read; inspect lists all.
const shown = 3

func (e *RefusedError) Error() string {
	var text []string
	for _, r := range e.Refusals[:min(len(e.Refusals), shown)] {
		text = append(text, r.String())
	}
	if more := len(e.Refusals) - shown; more > 0 {
		text = append(text, fmt.Sprintf("and %d more, see checkpointctl inspect %s", more, e.Container))
	}
	return fmt.Sprintf("container %s cannot be checkpointed: %s", e.Container, strings.Join(text, "; "))
}

// Hint is the way on for the first refusal.
func (e *RefusedError) Hint() string { return e.Refusals[0].Hint }
