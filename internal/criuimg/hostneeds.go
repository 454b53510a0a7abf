package criuimg

import (
	"io/fs"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// Ring is one for asynchronous I/O, io_setup(2). How large the kernel makes it
// depends on the number of CPUs, and CRIU restores it in its size of then only.
type Ring struct {
	Requests int
	Bytes    int64
}

// HostNeeds is memory of the tasks of a dump that not every host can give.
type HostNeeds struct {
	Rings []Ring
	// HugePages are at least so many, by their size in bytes. What several tasks have
	// mapped at one address counts once: a child may share it with its parent.
	HugePages map[int64]int64
}

// hugePageShift is where the flags of a mapping have the logarithm of the size of
// its pages (MAP_HUGE_SHIFT in mmap(2)).
const hugePageShift, hugePageMask = 26, 0x3f

// ReadHostNeeds reads the images of a dump. An error names the image that does not
// decode.
func ReadHostNeeds(images fs.FS) (HostNeeds, error) {
	needs := HostNeeds{HugePages: map[int64]int64{}}
	names, err := fs.Glob(images, "mm-*.img")
	if err != nil {
		return needs, err
	}
	type area struct{ start, end uint64 }
	seen := map[area]bool{}
	for _, name := range names {
		err := Decode(images, name, func(m proto.Message) error {
			e, _ := m.(*mm.MmEntry)
			for _, r := range e.GetAios() {
				needs.Rings = append(needs.Rings, Ring{int(r.GetNrReq()), int64(r.GetRingLen())})
			}
			for _, v := range e.GetVmas() {
				size := int64(1) << (v.GetFlags() >> hugePageShift & hugePageMask)
				at := area{v.GetStart(), v.GetEnd()}
				if v.GetFlags()&unix.MAP_HUGETLB != 0 && size > 1 && !seen[at] {
					seen[at] = true
					needs.HugePages[size] += int64(at.end-at.start) / size
				}
			}
			return nil
		})
		if err != nil {
			return needs, err
		}
	}
	return needs, nil
}
