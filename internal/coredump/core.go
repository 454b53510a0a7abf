// Package coredump writes memory of a checkpoint into files: as it is, or as a core file
// for a debugger.
package coredump

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// ErrNoRegisters is a process of which no core file can be made: a zombie, a program of
// 32 bits, or one of another architecture than x86-64.
var ErrNoRegisters = errors.New("the checkpoint has no registers of x86-64 for the process")

// segment is a piece of memory as a core file has it.
type segment struct {
	flags      uint32
	start, end uint64 // addresses
	size       uint64 // in the file: 0, or all of it
	of         snapshot.Mapping
}

// Write writes the process as a core file of Linux on x86-64: registers of all threads,
// and its memory. Memory that was never written to takes no space in the file, and pages
// of files are left out: a debugger reads them from the files.
func Write(out *os.File, s *snapshot.Snapshot, p *snapshot.Process) (err error) {
	if threads := leaderFirst(p); len(threads) == 0 || threads[0].Registers == nil {
		return fmt.Errorf("%w: %d (%s)", ErrNoRegisters, p.PID, p.State)
	}
	args, _, err := s.Text(p)
	if err != nil && !errors.Is(err, snapshot.ErrNoText) {
		return err
	}
	m, err := s.Memory(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	var list []segment
	for _, a := range p.Mappings {
		more, err := segments(m, a)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	text := notes(p, args)
	head := header(list, uint64(len(text)))
	w := newWriter(out)
	if _, err := w.Write(append(head, text...)); err != nil {
		return err
	}
	w.Skip(-w.Size() & (criuimg.PageSize - 1))
	for _, g := range list {
		if g.size > 0 {
			if err := w.memory(m, g.of, g.start, g.end); err != nil {
				return err
			}
		}
	}
	return w.Finish()
}

// segments cuts a mapping into what is in the images, and what is not. Zeros count as
// there, as in the kernel's core files, if something of the mapping was ever written.
func segments(m *snapshot.Memory, a snapshot.Mapping) ([]segment, error) {
	from, start, err := m.Of(a)
	if err != nil {
		return nil, err
	}
	length := a.End - a.Start
	runs := from.Within(start, start+length)
	f := flags(a.Perms)
	ofFile := a.Path != "" && !a.IsShared() || a.Kind == snapshot.Kernel
	if !ofFile {
		size := length
		if len(runs) == 0 {
			size = 0
		}
		return []segment{{f, a.Start, a.End, size, a}}, nil
	}
	var list []segment
	at := a.Start
	for _, r := range runs {
		from, to := a.Start+(r.Start-start), a.Start+(r.End-start)
		if from > at {
			list = append(list, segment{f, at, from, 0, a})
		}
		list = append(list, segment{f, from, to, to - from, a})
		at = to
	}
	if at < a.End {
		list = append(list, segment{f, at, a.End, 0, a})
	}
	return list, nil
}

// Sizes of structures of ELF64, elf(5).
const (
	headerSize  = 64
	programSize = 56
	sectionSize = 64
)

// header is the ELF header, a program header for the notes and for every segment, and
// the section header that has their number if that is too large for the ELF header.
func header(list []segment, notes uint64) []byte {
	count := len(list) + 1
	h := elf.Header64{
		Type: uint16(elf.ET_CORE), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: headerSize, Ehsize: headerSize, Phentsize: programSize, Phnum: uint16(count),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	at := uint64(headerSize + count*programSize)
	const extended = 0xffff // PN_XNUM
	if count >= extended {
		h.Phnum, h.Shoff, h.Shentsize, h.Shnum = extended, at, sectionSize, 1
		at += sectionSize
	}
	programs := []elf.Prog64{{Type: uint32(elf.PT_NOTE), Off: at, Filesz: notes}}
	at = (at + notes + criuimg.PageSize - 1) &^ (criuimg.PageSize - 1)
	for _, g := range list {
		programs = append(programs, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: g.flags, Off: at, Vaddr: g.start, Filesz: g.size, Memsz: g.end - g.start, Align: criuimg.PageSize})
		at += g.size
	}
	out, err := binary.Append(nil, binary.LittleEndian, h)
	if err == nil {
		out, err = binary.Append(out, binary.LittleEndian, programs)
	}
	if err == nil && count >= extended {
		out, err = binary.Append(out, binary.LittleEndian, elf.Section64{Info: uint32(count)})
	}
	if err != nil {
		panic(err) // structures of a fixed size
	}
	return out
}
