package criuimg

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

func TestReadHostNeeds(t *testing.T) {
	mapped := func(start, end uint64, flags uint32) *vma.VmaEntry {
		return &vma.VmaEntry{
			Start: &start, End: &end, Pgoff: proto.Uint64(0), Shmid: proto.Uint64(0), Prot: proto.Uint32(unix.PROT_READ), Flags: &flags,
			Status: proto.Uint32(1), Fd: proto.Int64(-1),
		}
	}
	const huge2M, huge1G = unix.MAP_HUGETLB | 21<<26, unix.MAP_HUGETLB | 30<<26
	parent, child := emptyMemory(), emptyMemory()
	parent.Aios = []*mm.AioRingEntry{{Id: proto.Uint64(1), NrReq: proto.Uint32(63), RingLen: proto.Uint32(8192)}}
	parent.Vmas = []*vma.VmaEntry{mapped(0, 4<<20, huge2M), mapped(1<<30, 2<<30, huge1G), mapped(4<<30, 4<<30+4096, unix.MAP_PRIVATE)}
	child.Vmas = []*vma.VmaEntry{mapped(0, 4<<20, huge2M), mapped(8<<20, 10<<20, huge2M)}
	images := map[string][]byte{
		"mm-1.img": slices.Concat(head("MM"), frame(t, parent, 0)),
		"mm-2.img": slices.Concat(head("MM"), frame(t, child, 0)),
	}
	got, err := ReadHostNeeds(Dir(write(t, images)))
	want := HostNeeds{Rings: []Ring{{63, 8192}}, HugePages: map[int64]int64{2 << 20: 3, 1 << 30: 1}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	images["mm-2.img"] = images["mm-2.img"][:20]
	if _, err := ReadHostNeeds(Dir(write(t, images))); err == nil || !strings.HasPrefix(err.Error(), "mm-2.img: entry 1") {
		t.Error(err)
	}
}
