package restore

import (
	"fmt"
	"os"

	"github.com/docker/go-units"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/linux"
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

// hostFitsMemory returns ErrIncompatible if this host cannot give the tasks their
// huge pages, or their rings for asynchronous I/O in their size.
func hostFitsMemory(from source) error {
	needs, err := criuimg.ReadHostNeeds(criuimg.Dir(from.dir))
	if err != nil {
		return damaged(from.Record, []string{err.Error()})
	}
	cpus := 0
	if needs.Rings != nil {
		if cpus, err = linux.PossibleCPUs(); err != nil {
			return err
		}
	}
	if why := hostGives(needs, cpus, linux.FreeHugePages); why != "" {
		return fmt.Errorf("%w: %s/%s %s", ErrIncompatible, from.Name, from.Checkpoint, why)
	}
	return nil
}
