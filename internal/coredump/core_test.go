package coredump

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

const page = criuimgtest.PageSize

// sample has a heap of a page in a parent, one of its own, and one that was never
// written to.
func sample(t *testing.T) *snapshot.Snapshot {
	t.Helper()
	dir, parent := criuimgtest.Sample{
		Name: "app", Args: []string{"app", "-x"}, Old: 1, Shared: []byte("shared"),
		Heap: append(bytes.Repeat([]byte{'a'}, page), bytes.Repeat([]byte{'b'}, page)...),
	}.Write(t)
	s, err := snapshot.Read(criuimg.Chain{criuimg.Dir(dir), criuimg.Dir(parent)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestWrite(t *testing.T) {
	s, f := sample(t), create(t)
	if err := Write(f, s, s.Process(1)); err != nil {
		t.Fatal(err)
	}
	core, err := elf.NewFile(f)
	if err != nil || core.Type != elf.ET_CORE || core.Machine != elf.EM_X86_64 {
		t.Fatalf("%+v, %v", core, err)
	}
	memory := map[uint64][]byte{}
	for _, p := range core.Progs {
		data, err := io.ReadAll(p.Open())
		if err != nil || uint64(len(data)) != p.Filesz {
			t.Fatalf("segment at %x: %d of %d bytes, %v", p.Vaddr, len(data), p.Filesz, err)
		}
		if p.Type == elf.PT_LOAD {
			memory[p.Vaddr] = data
		}
	}
	heap := memory[criuimgtest.HeapAt]
	if len(heap) != 3*page || heap[0] != 'a' || heap[page] != 'b' || heap[2*page] != 0 {
		t.Errorf("the heap has %d bytes", len(heap))
	}
	if text := memory[criuimgtest.ProgramAt]; text == nil || len(text) != 0 {
		t.Errorf("%d bytes of the program are in the core file, which are in the program's", len(text))
	}
	if !bytes.HasPrefix(memory[criuimgtest.SharedAt], []byte("shared")) || !bytes.HasPrefix(memory[criuimgtest.StackAt], []byte("app\x00-x\x00")) {
		t.Error("shared memory or the stack is not there")
	}
	kinds := notesOf(t, core)
	if want := []uint32{noteStatus, noteProcess, noteAuxv, noteFile, noteFloating, noteStatus, noteFloating}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("notes %v, want %v", kinds, want)
	}
}

// notesOf returns the types of the notes, and checks the registers of both threads.
func notesOf(t *testing.T, core *elf.File) []uint32 {
	t.Helper()
	var kinds []uint32
	data, err := io.ReadAll(core.Progs[0].Open())
	if err != nil {
		t.Fatal(err)
	}
	thread := uint32(1)
	for le := binary.LittleEndian; len(data) > 0; {
		size, kind := le.Uint32(data[4:]), le.Uint32(data[8:])
		desc := data[20 : 20+size]
		kinds = append(kinds, kind)
		if kind == noteStatus {
			if tid, rip, rax := le.Uint32(desc[32:]), le.Uint64(desc[112+8*16:]), le.Uint64(desc[112+8*10:]); tid != thread || rip != 0x400000+uint64(thread) || rax != uint64(thread) {
				t.Errorf("thread %d: rip %x, rax %x", tid, rip, rax)
			}
			thread++
		}
		data = data[20+(size+3)&^3:]
	}
	return kinds
}

func TestWriteOfWhatHasNoRegisters(t *testing.T) {
	s := sample(t)
	if err := Write(create(t), s, s.Process(7)); !errors.Is(err, ErrNoRegisters) {
		t.Error(err)
	}
}

// More mappings than an ELF header can count are counted elsewhere.
func TestHeaderOfManySegments(t *testing.T) {
	data := header(make([]segment, 70000), 0)
	if n := binary.LittleEndian.Uint16(data[56:]); n != 0xffff {
		t.Errorf("the header counts %d", n)
	}
	section := data[binary.LittleEndian.Uint64(data[40:]):]
	if n := binary.LittleEndian.Uint32(section[44:]); n != 70001 || len(section) != sectionSize {
		t.Errorf("counts %d", n)
	}
}

func TestWriteMapping(t *testing.T) {
	s, f := sample(t), create(t)
	m, err := s.Memory(s.Process(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	heap := s.Process(1).Mappings[0]
	got, err := WriteMapping(f, m, heap)
	if want := (Piece{criuimgtest.HeapAt, criuimgtest.HeapAt + 3*page, 0, "[heap]"}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil || len(data) != 3*page || data[0] != 'a' || data[page] != 'b' || data[2*page] != 0 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestWriteAll(t *testing.T) {
	s, f := sample(t), create(t)
	m, err := s.Memory(s.Process(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	pieces, err := WriteAll(f, m, s.Process(1).Mappings)
	want := []Piece{
		{criuimgtest.HeapAt, criuimgtest.HeapAt + page, 0, "[heap]"}, {criuimgtest.HeapAt + page, criuimgtest.HeapAt + 2*page, page, "[heap]"},
		{criuimgtest.SharedAt, criuimgtest.SharedAt + page, 2 * page, "[shared]"}, {criuimgtest.StackAt, criuimgtest.StackAt + page, 3 * page, "[stack]"},
	}
	if err != nil || !reflect.DeepEqual(pieces, want) {
		t.Errorf("%+v, %v", pieces, err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 4*page {
		t.Errorf("%v, %v", info, err)
	}
}

// Whatever images hold, what is written of a process is not more than they have.
func FuzzWrite(f *testing.F) {
	some := criuimgtest.Sample{Name: "app", Args: []string{"a"}, Heap: []byte("heap"), Shared: []byte("s")}
	dir, _ := some.Write(f)
	names := []string{"core-1.img", "core-2.img", "mm-1.img", "pagemap-1.img", "pagemap-shmem-77.img", "pages-1.img"}
	images := criuimgtest.InMemory(f, dir)
	for i, name := range names {
		f.Add(uint8(i), images[name].Data)
	}
	out, err := os.Create(filepath.Join(f.TempDir(), "out"))
	if err != nil {
		f.Fatal(err)
	}
	defer out.Close()
	empty := func(t *testing.T) *os.File {
		if err := out.Truncate(0); err != nil {
			t.Fatal(err)
		}
		return out
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		changed := maps.Clone(images)
		changed[names[int(which)%len(names)]] = &fstest.MapFile{Data: data}
		s, err := snapshot.Read(criuimg.Chain{changed})
		if err != nil {
			return
		}
		for _, p := range s.Processes {
			if Write(empty(t), s, p) == nil {
				if core, err := elf.NewFile(out); err != nil || core.Type != elf.ET_CORE {
					t.Errorf("%+v, %v", core, err)
				}
			}
			m, err := s.Memory(p)
			if err != nil {
				continue
			}
			pieces, err := WriteAll(empty(t), m, p.Mappings)
			info, statErr := out.Stat()
			if err == nil && statErr == nil {
				size := uint64(0)
				for _, piece := range pieces {
					size += piece.End - piece.Start
				}
				if uint64(info.Size()) != size {
					t.Errorf("%d bytes, the pieces have %d", info.Size(), size)
				}
			}
			for _, a := range p.Mappings {
				_, _ = WriteMapping(empty(t), m, a)
			}
			_ = m.Close()
		}
	})
}
