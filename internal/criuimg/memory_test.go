package criuimg

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
)

// page is one full of a letter.
func page(letter byte) []byte { return bytes.Repeat([]byte{letter}, PageSize) }

// layer writes a pagemap and its pages.
func layer(t testing.TB, runs ...criuimgtest.Run) fs.FS {
	t.Helper()
	dir := t.TempDir()
	pagemapImage, pages := criuimgtest.Memory(t, 1, runs...)
	criuimgtest.Write(t, dir, map[string][]byte{"pagemap-1.img": pagemapImage, "pages-1.img": pages})
	return Dir(dir)
}

const present, parent = criuimgtest.Present, criuimgtest.InParent

// Pages come from the newest images that have them, also from the middle of a run of
// an older one.
func TestMemoryOfAChain(t *testing.T) {
	oldest := layer(t, criuimgtest.Run{Start: 0x1000, Data: bytes.Join([][]byte{page('a'), page('b'), page('c'), page('d')}, nil), Flags: present})
	middle := layer(t, criuimgtest.Run{Start: 0x1000, Data: page(0), Flags: parent}, criuimgtest.Run{Start: 0x2000, Data: page('B'), Flags: present},
		criuimgtest.Run{Start: 0x3000, Data: make([]byte, 2*PageSize), Flags: parent})
	newest := layer(t, criuimgtest.Run{Start: 0x1000, Data: make([]byte, 3*PageSize), Flags: parent}, criuimgtest.Run{Start: 0x4000, Data: page('D'), Flags: present},
		criuimgtest.Run{Start: 0x8000, Data: page(0), Flags: parent})
	m, err := OpenMemory(Chain{newest, middle, oldest}, "pagemap-1.img")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	got := make([]byte, 4*PageSize)
	if err := m.Read(got, 0x1000); err != nil {
		t.Fatal(err)
	}
	if want := bytes.Join([][]byte{page('a'), page('B'), page('c'), page('D')}, nil); !bytes.Equal(got, want) {
		t.Errorf("got %c %c %c %c", got[0], got[PageSize], got[2*PageSize], got[3*PageSize])
	}
	part := make([]byte, 4)
	if err := m.Read(part, 0x2ffe); err != nil || string(part) != "BBcc" {
		t.Errorf("across pages: %q, %v", part, err)
	}
	if err := m.Read(part, 0x6000); err != nil || string(part) != "\x00\x00\x00\x00" {
		t.Errorf("of no image: %q, %v", part, err)
	}
	if err := m.Read(part, 0x8000); !errors.Is(err, ErrNotThere) {
		t.Errorf("of a parent that lacks it: %v", err)
	}
	if err := m.Read(part, ^uint64(0)); !errors.Is(err, ErrNotThere) {
		t.Errorf("behind the end: %v", err)
	}
}

// A process that did not live at an earlier round has no pagemap there.
func TestMemoryOfANewProcess(t *testing.T) {
	m, err := OpenMemory(Chain{layer(t, criuimgtest.Run{Start: 0x1000, Data: page('a'), Flags: present}), Dir(t.TempDir())}, "pagemap-1.img")
	if err != nil || len(m.Runs) != 1 || m.Runs[0].Link != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := OpenMemory(Chain{Dir(t.TempDir())}, "pagemap-1.img"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestMemoryThatIsDamaged(t *testing.T) {
	a := criuimgtest.Run{Start: 0x1000, Data: page('a'), Flags: present}
	for name, images := range map[string]fs.FS{
		"overlap":     layer(t, criuimgtest.Run{Start: 0x1000, Data: make([]byte, 2*PageSize), Flags: present}, criuimgtest.Run{Start: 0x2000, Data: page(0), Flags: present}),
		"backwards":   layer(t, criuimgtest.Run{Start: 0x2000, Data: page(0), Flags: present}, a),
		"within":      layer(t, criuimgtest.Run{Start: 0x1001, Data: page(0), Flags: present}),
		"past memory": layer(t, criuimgtest.Run{Start: ^uint64(0) &^ 0xfff, Data: make([]byte, 2*PageSize), Flags: present}),
	} {
		if _, err := OpenMemory(Chain{images}, "pagemap-1.img"); err == nil || !strings.Contains(err.Error(), "not in order") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	pagemapImage, _ := criuimgtest.Memory(t, 1, a)
	criuimgtest.Write(t, dir, map[string][]byte{"pagemap-1.img": pagemapImage, "pages-1.img": []byte("short")})
	m, err := OpenMemory(Chain{Dir(dir)}, "pagemap-1.img")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if err := m.Read(make([]byte, PageSize), 0x1000); !errors.Is(err, ErrNotThere) {
		t.Error(err)
	}
}

// Whatever a pagemap says, memory is read or it is not.
func FuzzOpenMemory(f *testing.F) {
	image, pages := criuimgtest.Memory(f, 1, criuimgtest.Run{Start: 0x1000, Data: page('a'), Flags: present}, criuimgtest.Run{Start: 0x5000, Data: page('a'), Flags: parent})
	f.Add(image, image)
	f.Fuzz(func(t *testing.T, newest, oldest []byte) {
		var chain Chain
		for _, data := range [][]byte{newest, oldest} {
			dir := t.TempDir()
			criuimgtest.Write(t, dir, map[string][]byte{"pagemap-1.img": data, "pages-1.img": pages})
			chain = append(chain, Dir(dir))
		}
		m, err := OpenMemory(chain, "pagemap-1.img")
		if err != nil {
			return
		}
		defer func() { _ = m.Close() }()
		end := uint64(0)
		for _, r := range m.Runs {
			if r.Start < end || r.End <= r.Start {
				t.Errorf("run %x-%x behind %x", r.Start, r.End, end)
			}
			end = r.End
			_ = m.Read(make([]byte, 16), r.Start)
		}
	})
}
