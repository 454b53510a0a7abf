// Package preflight says what stands against a checkpoint before a container is
// touched: rules over facts that others gathered. It is pure.
package preflight

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

// Facts are what the rules look at.
type Facts struct {
	Tasks []tasks.Task // init first
	// Beside are processes in the container that do not descend from init.
	Beside []Beside
	// MPTCP are the local addresses of MPTCP sockets, by the inode of the socket.
	MPTCP map[uint64]netip.AddrPort
	// LinkLocal are those of established TCP connections of link-local addresses.
	LinkLocal map[uint64]netip.AddrPort
	// Outside are unix sockets of the tasks that are connected to other processes,
	// by their inodes.
	Outside map[uint64]Outside
	// InImage are the inodes of files of the image, by path, for the files that
	// the tasks use and whose name was removed.
	InImage map[string]uint64
	// SharedIPC is whose the IPC namespace is: host, or the name of a container.
	// It is empty for one of the container's own.
	SharedIPC string
	Plan      mounts.Plan
	// LongMounts are mounts whose line in the mount table is too long for CRIU.
	LongMounts []string
	// HostGroups are the peer groups of the host's mounts.
	HostGroups map[int]bool
	// Confined is a caller without CAP_SYS_RESOURCE.
	Confined bool
}

// Beside is a process that CRIU does not see.
type Beside struct {
	PID  int
	Name string
}

// Outside is the other end of a unix socket's connection.
type Outside struct {
	PID    int
	Name   string // of its process
	Stream bool   // or SOCK_SEQPACKET: a connection between two
	// Path is the name that it is bound to: where its own process sees it.
	Path string
	// Near is one in the same network namespace, and There one that the container
	// has a socket for at that path.
	Near, There bool
}

// Options are those of a dump that a rule depends on.
type Options struct {
	LeaveRunning, TCPEstablished, ExtUnixSk, LinkRemap bool
	GhostLimit                                         uint32 // bytes; 0 is as much as is needed, up to MaxGhost
}

// Refusal is one thing that CRIU cannot dump, or not restore.
type Refusal struct {
	PID     int    `json:"pid,omitempty"` // on the host; none for what is the container's
	Process string `json:"process,omitempty"`
	Object  string `json:"object"` // what it has, or how it is
	Reason  string `json:"reason"`
	Hint    string `json:"hint"` // the way on
	// With are the flags that make a checkpoint possible all the same, if any do.
	With string `json:"with,omitempty"`
}

func (r Refusal) String() string {
	if r.PID == 0 {
		return r.Object + ": " + r.Reason
	}
	return fmt.Sprintf("process %d (%s) %s: %s", r.PID, r.Process, r.Object, r.Reason)
}

const (
	cannotDump    = "CRIU cannot dump it"
	cannotRestore = "CRIU cannot restore it"
)

// Check returns what stands against a checkpoint, in the order of the rules and
// the tasks; nothing means that no rule knows of anything.
func Check(f Facts, o Options) []Refusal {
	if len(f.Tasks) == 0 {
		return nil
	}
	var list []Refusal
	for _, rule := range [...]func(Facts, Options) []Refusal{
		traced, foreignNamespaces, descriptors, pipes, unixSockets, linkLocal, unlinked, segments, otherUsers,
		longMounts, replacedBinds, sharedMounts,
	} {
		list = append(list, rule(f, o)...)
	}
	return list
}

// of is a refusal of a task.
func of(t tasks.Task, reason, hint, object string, args ...any) Refusal {
	return Refusal{PID: t.PID, Process: t.Name, Object: fmt.Sprintf(object, args...), Reason: reason, Hint: hint}
}

// With returns the flags with which the container can be checkpointed all the
// same; none if there is a refusal that no flag helps against.
func With(list []Refusal) string {
	var flags []string
	for _, r := range list {
		if r.With == "" {
			return ""
		}
		for _, flag := range strings.Fields(r.With) {
			if !slices.Contains(flags, flag) {
				flags = append(flags, flag)
			}
		}
	}
	return strings.Join(flags, " ")
}

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
