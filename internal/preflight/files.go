package preflight

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/docker/go-units"

	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

// MaxGhost is the largest file without a name, in bytes, that is put into the
// images without being asked for by --ghost-limit. It is written while the
// container is frozen.
const MaxGhost = 256 << 20

// criuGhost is what CRIU takes if it is told nothing.
const criuGhost = 1 << 20

// nameless is a file that a task uses and whose name was removed.
type nameless struct {
	task tasks.Task
	path string
	tasks.Unlinked
}

func (f Facts) nameless() (list []nameless) {
	for _, t := range f.Tasks {
		for _, file := range t.Files {
			if file.Unlinked != nil {
				list = append(list, nameless{t, file.Path(), *file.Unlinked})
			}
		}
		for _, m := range t.Maps {
			if m.Unlinked != nil {
				list = append(list, nameless{t, m.Path, *m.Unlinked})
			}
		}
	}
	return list
}

// ofImage says whether a file is one of the image, which is still there, below
// what removed or replaced it. Its links are those of the layer. CRIU puts it
// into the images like one that is gone, if --link-remap allows the attempt to
// link it again (check_overlayfs_fallback in criu/files-reg.c).
func (f Facts) ofImage(n nameless) bool {
	inode, known := f.InImage[n.path]
	return known && n.Links == 1 && inode == n.Inode
}

// InImages says whether a file lies in memory that goes into the images, with the
// name that --link-remap gives it: every restore finds it. glibc's named semaphores
// are such files, whose first name is removed at once.
func InImages(plan mounts.Plan, path string) bool {
	i := plan.At(path)
	return i.Action == mounts.Dump && i.Mount.FSType == "tmpfs"
}

// unlinked are open or mapped files without a name that do not go into the images:
// those that are too large, and those that have another name. CRIU gives the
// latter a name that a restore takes away, and the end of a dump, too, if the
// container runs on.
func unlinked(f Facts, o Options) (list []Refusal) {
	limit := int64(o.GhostLimit)
	if limit == 0 {
		limit = MaxGhost
	}
	for _, n := range f.nameless() {
		switch {
		case n.Links > 0 && InImages(f.Plan, n.path):
		case n.Links > 0 && !f.ofImage(n):
			if !o.LinkRemap || o.LeaveRunning {
				r := of(n.task, "CRIU can keep it only for a container that does not run on",
					"--link-remap --leave-running=false, for one restore; or have the program open the file anew",
					"uses %s, whose name was removed, but which has another one (a hard link)", n.path)
				r.With = "--link-remap --leave-running=false"
				list = append(list, r)
			}
		case n.Size > limit:
			r := of(n.task, fmt.Sprintf("it is larger than the %s that are put into the images", units.BytesSize(float64(limit))),
				fmt.Sprintf("--ghost-limit %d", n.Size), "uses %s (%s), whose name was removed", n.path, units.BytesSize(float64(n.Size)))
			if n.Size <= math.MaxUint32 {
				r.With = r.Hint
			} else {
				r.Hint = "have the program close the file: CRIU's limit ends at 4 GiB"
			}
			list = append(list, r)
		}
	}
	return list
}

// lostWatches are of files that no path leads to, by which alone a restore can
// watch them again.
func lostWatches(f Facts, _ Options) (list []Refusal) {
	for _, t := range f.Tasks {
		for _, file := range t.Files {
			for _, w := range file.Watches {
				if f.Lost[w] {
					list = append(list, of(t, "CRIU cannot dump the watch", "have the program end the watch, or start it again",
						"watches a file whose name was removed (descriptor %d, inode %d)", file.FD, w.Inode))
				}
			}
		}
	}
	return list
}

// Paths are those that CRIU is to look at for watched files, see Facts.Watched.
func (f Facts) Paths() []string { return slices.Sorted(maps.Values(f.Watched)) }

// Adapt returns the options with what the container needs, and says what that is.
func Adapt(f Facts, o Options) (Options, []string) {
	var said []string
	var most nameless
	for _, n := range f.nameless() {
		o.LinkRemap = o.LinkRemap || f.ofImage(n) || n.Links > 0 && InImages(f.Plan, n.path)
		if n.Size > most.Size && (n.Links == 0 || f.ofImage(n)) {
			most = n
		}
	}
	if o.GhostLimit == 0 && most.Size > criuGhost {
		o.GhostLimit = uint32(min(most.Size, MaxGhost))
		said = append(said, fmt.Sprintf("deleted files that are open go into the images, up to %s for %s of process %d (%s)",
			units.BytesSize(float64(most.Size)), most.path, most.task.PID, most.task.Name))
	}
	return o, said
}
