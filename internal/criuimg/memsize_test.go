package criuimg

import (
	"os"
	"slices"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Private memory of all tasks counts, whichever CRIU wrote its number of pages;
// shared memory and what is restored at once does not.
func TestLazyBytes(t *testing.T) {
	entry := func(pages, flags uint32) []byte {
		return frame(t, &pagemap.PagemapEntry{Vaddr: proto.Uint64(1), NrPages: proto.Uint32(pages), Flags: proto.Uint32(flags)}, 0)
	}
	newer := &pagemap.PagemapEntry{Vaddr: proto.Uint64(2), NrPages: proto.Uint32(0), Flags: proto.Uint32(pageLazy | pagePresent)}
	newer.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, pageCountField, protowire.VarintType), 20))
	image := func(entries ...[]byte) []byte {
		all := slices.Concat(head("PAGEMAP"), frame(t, &pagemap.PagemapHead{PagesId: proto.Uint32(1)}, 0))
		return append(all, slices.Concat(entries...)...)
	}
	dir := write(t, map[string][]byte{
		"pagemap-1.img":       image(entry(3, pageLazy|pagePresent), entry(500, pagePresent), frame(t, newer, 0)),
		"pagemap-12.img":      image(entry(100, pageLazy|pagePresent)),
		"pagemap-shmem-1.img": image(entry(1000, pageLazy|pagePresent)),
	})
	got, err := LazyBytes(Dir(dir))
	if want := int64(123 * os.Getpagesize()); err != nil || got != want {
		t.Errorf("%d, want %d: %v", got, want, err)
	}
	dir = write(t, map[string][]byte{"pagemap-1.img": append(image(entry(1, pageLazy)), 9, 9)})
	if _, err := LazyBytes(Dir(dir)); err == nil {
		t.Error("no error for an image that is cut")
	}
}
