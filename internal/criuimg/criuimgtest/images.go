// Package criuimgtest writes images for tests, in CRIU's format.
package criuimgtest

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v7/magic"
	"google.golang.org/protobuf/proto"
)

// PageSize is that of the pages in images, in bytes.
const PageSize = 4096

// Image is an image of a kind, as CORE, with these entries.
func Image(t testing.TB, kind string, entries ...proto.Message) []byte {
	t.Helper()
	names := magic.LoadMagic().ByName
	var out []byte
	if kind != "INVENTORY" {
		out = binary.LittleEndian.AppendUint32(out, uint32(names["IMG_COMMON"]))
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(names[kind]))
	for _, e := range entries {
		msg, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(msg))), msg...)
	}
	return out
}

// Write writes files into a directory.
func Write(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// InMemory returns the files of a directory, without those below it.
func InMemory(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, e := range list {
		if !e.Type().IsRegular() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = &fstest.MapFile{Data: data, Mode: 0o600}
	}
	return files
}

// Flags of a Run.
const (
	InParent = 1
	Present  = 4
)

// Run are pages of a pagemap. Data is what is in the pages image, in whole pages; for
// those in a parent, its size alone counts.
type Run struct {
	Start uint64
	Data  []byte
	Flags uint32
}

// Memory returns a pagemap image and its pages image.
func Memory(t testing.TB, id uint32, runs ...Run) (pagemapImage, pages []byte) {
	t.Helper()
	entries := []proto.Message{&pagemap.PagemapHead{PagesId: &id}}
	for _, r := range runs {
		n := uint32((len(r.Data) + PageSize - 1) / PageSize)
		entries = append(entries, &pagemap.PagemapEntry{Vaddr: proto.Uint64(r.Start), NrPages: &n, Flags: proto.Uint32(r.Flags)})
		if r.Flags&Present != 0 {
			pages = append(pages, slices.Concat(r.Data, make([]byte, int(n)*PageSize-len(r.Data)))...)
		}
	}
	return Image(t, "PAGEMAP", entries...), pages
}
