package preflight

import (
	"fmt"
	"slices"

	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
)

// traced tasks have a tracer, and the kernel allows one.
func traced(f Facts, _ Options) (list []Refusal) {
	for _, t := range f.Tasks {
		if t.Tracer != 0 {
			list = append(list, of(t, "CRIU cannot trace it, too", "detach it, or wait until it is done", "is traced by process %d (%s)", t.Tracer, t.TracerName))
		}
	}
	return list
}

// foreignNamespaces are those of a task that are not init's. CRIU restores
// nested network and mount namespaces (CLONE_SUBNS in criu/include/namespaces.h),
// and no others. It refuses them at the dump (generate_ns_id), unless they are its
// own, the host's: then at the restore only (prepare_pstree_kobj_ids). That is
// where docker exec puts a process into a restored container's time namespace.
func foreignNamespaces(f Facts, _ Options) (list []Refusal) {
	for _, t := range f.Tasks {
		for _, kind := range [...]string{"pid", "user", "ipc", "uts", "cgroup", "time"} {
			want, have := f.Tasks[0].Namespaces[kind], t.Namespaces[kind]
			if want != "" && have != "" && want != have {
				list = append(list, of(t, cannotRestore, "stop the process; docker exec, nsenter or unshare moved it there",
					"is in another %s namespace than the container's first process", kind))
			}
		}
	}
	return list
}

// descriptors are of kinds that CRIU does not know.
func descriptors(f Facts, _ Options) (list []Refusal) {
	for _, t := range f.Tasks {
		for _, file := range t.Files {
			if object, reason, hint := f.descriptor(file); object != "" {
				list = append(list, of(t, reason, hint, "has %s (descriptor %d)", object, file.FD))
			}
		}
	}
	return list
}

// descriptor says what it is and why it stands against a checkpoint; no object
// for one that does not.
func (f Facts) descriptor(file tasks.File) (object, reason, hint string) {
	if address, ok := f.MPTCP[file.Socket()]; ok {
		return fmt.Sprintf("an MPTCP socket at %s", address), cannotDump, MPTCPHint
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

// maxPipes is how many pipes CRIU takes the data of, those without any among them
// (NR_PIPES_WITH_DATA in criu/include/pipes.h).
const maxPipes = 1024

// ManyPipes says whether the tasks may have too many pipes, so that tasks.MarkReadable
// has to tell those that count.
func ManyPipes(list []tasks.Task) bool {
	found := map[string]bool{}
	for _, t := range list {
		for _, file := range t.Files {
			if file.Pipe() {
				found[file.Target] = true
			}
		}
	}
	return len(found) > maxPipes
}

func pipes(f Facts, _ Options) []Refusal {
	found, most := map[string]bool{}, 0
	var holder tasks.Task
	for _, t := range f.Tasks {
		before := len(found)
		for _, file := range t.Files {
			if file.Readable {
				found[file.Target] = true
			}
		}
		if n := len(found) - before; n > most {
			most, holder = n, t
		}
	}
	if len(found) <= maxPipes {
		return nil
	}
	return []Refusal{{
		Object: fmt.Sprintf("%d pipes, %d of them in process %d (%s)", len(found), most, holder.PID, holder.Name),
		Reason: fmt.Sprintf("CRIU dumps up to %d", maxPipes), Hint: "make the program open fewer pipes, for example with fewer workers",
	}}
}

// segments are System V shared memory of a namespace that is not the container's.
// CRIU restores a mapping only of a segment that it has made.
func segments(f Facts, _ Options) (list []Refusal) {
	if f.SharedIPC == "" {
		return nil
	}
	owner := "container " + f.SharedIPC
	if f.SharedIPC == "host" {
		owner = "the host"
	}
	for _, t := range f.Tasks {
		if slices.ContainsFunc(t.Maps, func(m tasks.Mapping) bool { return m.SysV }) {
			list = append(list, of(t, cannotRestore, "give the container an IPC namespace of its own (docker run --ipc private or shareable), or detach the segment",
				"has mapped a System V segment of the IPC namespace of %s", owner))
		}
	}
	return list
}

// otherUsers are tasks whose limits CRIU may not read (check_prlimit_permission in
// the kernel).
func otherUsers(f Facts, _ Options) []Refusal {
	if !f.Confined {
		return nil
	}
	for _, t := range f.Tasks {
		if t.UIDs != [3]int{} {
			return []Refusal{of(t, "CRIU cannot read its limits without CAP_SYS_RESOURCE, which root does not have here",
				"run checkpointctl with CAP_SYS_RESOURCE: outside of a container, or in one that has it", "runs as user %d", t.UIDs[1])}
		}
	}
	return nil
}

// Notes are what a checkpoint will not bring back, though it can be made.
func Notes(f Facts) (list []string) {
	for _, b := range f.Beside {
		list = append(list, fmt.Sprintf("process %d (%s), which docker exec started, is not part of the checkpoint", b.PID, b.Name))
	}
	return list
}
