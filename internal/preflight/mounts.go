package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

// MaxMountLine is how long a line of the mount table may be for CRIU (BUF_SIZE in
// criu/proc_parse.c).
const MaxMountLine = 4095

func longMounts(f Facts, _ Options) (list []Refusal) {
	for _, path := range f.LongMounts {
		list = append(list, Refusal{
			Object: fmt.Sprintf("the mount at %s", path), Reason: "its line in the mount table is longer than the 4096 bytes that CRIU reads",
			Hint: "make an image with fewer layers: docker export and docker import, or docker build --squash",
		})
	}
	return list
}

// replaced is how the kernel ends the path of a mount whose file was removed on
// the host, or replaced by a rename, as editors do.
const replaced = "//deleted"

func replacedBinds(f Facts, _ Options) (list []Refusal) {
	for _, i := range f.Plan.Items {
		if strings.HasSuffix(i.Mount.Root, replaced) {
			list = append(list, Refusal{
				Object: fmt.Sprintf("%s, mounted at %s", strings.TrimSuffix(i.Mount.Root, replaced), i.Mount.Path),
				Reason: "it was deleted or replaced on the host, and a restore would not find it",
				Hint:   "docker restart mounts the new one; change files that are bind-mounted in place",
			})
		}
	}
	return list
}

// sharedMounts are those between which CRIU cannot make the propagation of changes
// again.
func sharedMounts(f Facts, _ Options) (list []Refusal) {
	refuse := func(m mounts.Mount, reason, hint string) {
		list = append(list, Refusal{Object: fmt.Sprintf("the mount at %s (%s)", m.Path, m.FSType), Reason: reason, Hint: hint})
	}
	const private = "bind it with private propagation: bind-propagation=rprivate"
	for _, i := range f.Plan.Items {
		m := i.Mount
		group, from := f.widest(m.Shared, m.Master), mounts.Mount{}
		if m.Master != 0 {
			from = f.widest(m.Master, -1)
		}
		apart := !within(m.Root, group.Root)
		switch {
		case m.Shared == 0 && m.Master == 0, i.Action == mounts.Refuse:
		case m.Shared != 0 && i.Action == mounts.External && f.HostGroups[m.Shared]:
			refuse(m, "it passes mounts on to the host, which a restored one would not", "bind it with bind-propagation=rslave or rprivate")
		case apart && (m.Shared != 0 || from.Path != ""):
			refuse(m, "it shares changes with a mount of another directory, at "+group.Path, private)
		case from.Path != "" && !within(group.Root, from.Root):
			refuse(m, "it gets its changes from a mount of another directory, at "+from.Path, private)
		case m.Master != 0 && from.Path == "" && !f.fromHost(m):
			refuse(m, "it gets its changes from a mount that is not in the container", private)
		}
	}
	return list
}

// widest returns that mount of a peer group of which CRIU copies to the others:
// the one with the shortest root. Master -1 stands for any.
func (f Facts) widest(shared, master int) (widest mounts.Mount) {
	for _, i := range f.Plan.Items {
		m := i.Mount
		if m.Shared == shared && (master < 0 || m.Master == master) && (widest.Path == "" || len(m.Root) < len(widest.Root)) {
			widest = m
		}
	}
	return widest
}

// fromHost says whether CRIU finds a mount's master on the host: by an external
// mount, or by the root (can_receive_master_from_external and _from_root in
// criu/mount.c).
func (f Facts) fromHost(m mounts.Mount) bool {
	return slices.ContainsFunc(f.Plan.Items, func(i mounts.Item) bool {
		return i.Mount.Master == m.Master && (i.Action == mounts.External || i.Mount.Path == "/")
	})
}

// within says whether a directory is another one or below it.
func within(dir, of string) bool {
	return dir == of || strings.HasPrefix(dir, strings.TrimSuffix(of, "/")+"/")
}
