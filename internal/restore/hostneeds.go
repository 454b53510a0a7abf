package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/sys/mountinfo"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// hostGives says what this host cannot give of what the tasks had; empty for
// nothing.
func hostGives(needs criuimg.HostNeeds, possibleCPUs int, freeHugePages func(size int64) int64) string {
	for size, n := range needs.HugePages {
		if free := freeHugePages(size); n > free {
			return fmt.Sprintf("needs %d huge pages of %s, and %d are free here (vm.nr_hugepages)", n, units.BytesSize(float64(size)), max(free, 0))
		}
	}
	for _, r := range needs.Rings {
		if size := ringSize(r.Requests, possibleCPUs); size != r.Bytes {
			return fmt.Sprintf("has a ring for asynchronous I/O (io_setup) of %s; a kernel for %d CPUs, as this one is, makes one of %s",
				units.BytesSize(float64(r.Bytes)), possibleCPUs, units.BytesSize(float64(size)))
		}
	}
	return ""
}

// ringSize is how many bytes the kernel gives a ring for so many requests
// (ioctx_alloc and aio_setup_ring in fs/aio.c).
func ringSize(requests, possibleCPUs int) int64 {
	const header, event = 32, 32 // struct aio_ring, struct io_event
	events := 2*max(requests, 4*possibleCPUs) + 2
	page := os.Getpagesize()
	return int64((header + event*events + page - 1) / page * page)
}

// hostFitsImages returns ErrIncompatible if this host cannot give the tasks their huge
// pages, their rings for asynchronous I/O in their size, or mounts that get the changes
// of the host's.
func hostFitsImages(from source) error {
	images := criuimg.Dir(from.dir)
	needs, err := criuimg.ReadHostNeeds(images)
	if err != nil {
		return from.Damaged(err.Error())
	}
	cpus := 0
	if needs.Rings != nil {
		if cpus, err = linux.PossibleCPUs(); err != nil {
			return err
		}
	}
	why := hostGives(needs, cpus, linux.FreeHugePages)
	if why == "" {
		slaves, err := criuimg.Slaves(images)
		if err != nil {
			return from.Damaged(err.Error())
		}
		list, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
		if err != nil {
			return err
		}
		why = privateHere(from.Mounts, slaves, list)
	}
	if why != "" {
		return fmt.Errorf("%w: %s/%s %s", ErrIncompatible, from.Name, from.Checkpoint, why)
	}
	return nil
}

// privateHere says which hierarchy of cgroups v1, bound by the runtime, is a private mount
// here, while the container's mount of it got the changes of the host's: CRIU fails to
// make such a mount from a private one (restore_one_sharing in criu/mount-v2.c). Empty is
// for none.
func privateHere(mounts []metadata.Mount, slaves map[string]bool, list []*mountinfo.Info) string {
	for _, m := range mounts {
		if m.FSType != "cgroup" || !slaves[m.Path] {
			continue
		}
		controller, _, _ := strings.Cut(filepath.Base(m.Path), ",")
		for _, host := range list {
			if host.Optional == "" && (linux.IsHierarchy(host, controller) || linux.IsHierarchy(host, "name="+controller)) {
				return fmt.Sprintf("has a mount of %s that gets the changes of the host's, which is private here (mount --make-rshared %s)", m.Path, filepath.Dir(host.Mountpoint))
			}
		}
	}
	return ""
}
