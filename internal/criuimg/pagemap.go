package criuimg

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Bits of a pagemap entry's flags, criu/include/pagemap.h.
const (
	pageInParent = 1 << 0
	pageLazy     = 1 << 1 // a lazy restore leaves it for later
	pagePresent  = 1 << 2
)

// pageCountField is nr_pages since CRIU 4.2; go-criu (v7.2.0) knows the older
// field of 32 bits alone, in which CRIU then writes 0.
const pageCountField = 5

// maxPages is more than any memory has, and small enough not to overflow.
const maxPages = 1 << 48

// nrPages is how many pages an entry stands for.
func nrPages(e *pagemap.PagemapEntry) (uint64, error) {
	n := uint64(e.GetNrPages())
	for unknown := e.ProtoReflect().GetUnknown(); len(unknown) > 0; {
		field, kind, used := protowire.ConsumeTag(unknown)
		length := protowire.ConsumeFieldValue(field, kind, unknown[max(used, 0):])
		if used < 0 || length < 0 {
			return 0, errors.New("bad field")
		}
		if field == pageCountField && kind == protowire.VarintType {
			n, _ = protowire.ConsumeVarint(unknown[used:])
		}
		unknown = unknown[used+length:]
	}
	if n > maxPages {
		return 0, fmt.Errorf("has %d pages", n)
	}
	return n, nil
}

func pageFlags(e *pagemap.PagemapEntry) uint32 {
	switch {
	case e.GetInParent():
		return pageInParent
	case e.Flags == nil: // CRIU before 2.12
		return pagePresent
	}
	return e.GetFlags()
}

// maxRuns is how many entries of a pagemap are read: enough for 32 GiB of which every
// other page is there.
const maxRuns = 4 << 20

// span is an entry of a pagemap.
type span struct {
	start, end uint64 // addresses in bytes; in shared memory, offsets
	flags      uint32
}

// readPagemap returns the entries of a pagemap image, which are in order and do not
// overlap, and the ID of its pages image.
func readPagemap(images fs.FS, name string) ([]span, uint32, error) {
	var (
		list []span
		id   uint32
		end  uint64
	)
	err := Decode(images, name, func(m proto.Message) error {
		if h, ok := m.(*pagemap.PagemapHead); ok {
			id = h.GetPagesId()
			return nil
		}
		e, ok := m.(*pagemap.PagemapEntry)
		if !ok {
			return nil
		}
		n, err := nrPages(e)
		if err != nil {
			return err
		}
		s := span{start: e.GetVaddr(), flags: pageFlags(e)}
		s.end = s.start + n*PageSize
		switch {
		case s.start%PageSize != 0 || s.end < s.start || s.start < end:
			return errors.New("its pages are not in order")
		case len(list) >= maxRuns:
			return fmt.Errorf("is one of more than %d", maxRuns)
		}
		if end = s.end; n > 0 {
			list = append(list, s)
		}
		return nil
	})
	return list, id, err
}
