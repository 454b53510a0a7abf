package coredump

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// Types of notes, include/uapi/linux/elf.h.
const (
	noteStatus   = 1 // NT_PRSTATUS
	noteFloating = 2 // NT_PRFPREG
	noteProcess  = 3 // NT_PRPSINFO
	noteAuxv     = 6 // NT_AUXV
	noteFile     = 0x46494c45
)

// appendNote appends a note of the kernel's.
func appendNote(out []byte, kind uint32, data []byte) []byte {
	const name = "CORE\x00"
	le := binary.LittleEndian
	out = le.AppendUint32(out, uint32(len(name)))
	out = le.AppendUint32(out, uint32(len(data)))
	out = le.AppendUint32(out, kind)
	out = padded(append(out, name...))
	return padded(append(out, data...))
}

// padded ends at a multiple of 4.
func padded(out []byte) []byte { return append(out, make([]byte, -len(out)&3)...) }

// notes are those of a process, the thread that has its PID first: debuggers take that
// one for the current one.
func notes(p *snapshot.Process, args []string) []byte {
	var out []byte
	for i, t := range leaderFirst(p) {
		if t.Registers == nil {
			continue
		}
		out = appendNote(out, noteStatus, status(p, t))
		if i == 0 {
			out = appendNote(out, noteProcess, processInfo(p, args))
			out = appendNote(out, noteAuxv, words(p.Auxv))
			out = appendNote(out, noteFile, fileTable(p.Mappings))
		}
		out = appendNote(out, noteFloating, t.Registers.Floating[:])
	}
	return out
}

func leaderFirst(p *snapshot.Process) []snapshot.Thread {
	var first, rest []snapshot.Thread
	for _, t := range p.Threads {
		if t.TID == p.PID {
			first = append(first, t)
		} else {
			rest = append(rest, t)
		}
	}
	return append(first, rest...)
}

func words(list []uint64) []byte {
	var out []byte
	for _, w := range list {
		out = binary.LittleEndian.AppendUint64(out, w)
	}
	return out
}

// status is struct elf_prstatus of x86-64 (include/linux/elfcore.h), without times.
func status(p *snapshot.Process, t snapshot.Thread) []byte {
	const size, idsAt, registersAt, floatingAt = 336, 32, 112, 328
	data := make([]byte, size)
	for i, id := range [...]uint32{t.TID, p.PPID, p.PGID, p.SID} {
		binary.LittleEndian.PutUint32(data[idsAt+4*i:], id)
	}
	copy(data[registersAt:], words(t.Registers.General[:]))
	data[floatingAt] = 1 // there are registers of floating point numbers
	return data
}

// processInfo is struct elf_prpsinfo of x86-64 (include/linux/elfcore.h).
func processInfo(p *snapshot.Process, args []string) []byte {
	const size, idsAt, nameAt, nameSize, argsAt, argsSize = 136, 16, 40, 16, 56, 80
	data := make([]byte, size)
	data[1] = 'S'
	for i, id := range [...]uint32{p.UID, p.GID, p.PID, p.PPID, p.PGID, p.SID} {
		binary.LittleEndian.PutUint32(data[idsAt+4*i:], id)
	}
	copy(data[nameAt:nameAt+nameSize-1], p.Name)
	copy(data[argsAt:argsAt+argsSize-1], strings.Join(args, " "))
	return data
}

// fileTable is what NT_FILE has: which file is mapped where (fs/binfmt_elf.c,
// fill_files_note).
func fileTable(list []snapshot.Mapping) []byte {
	var rows []uint64
	var names bytes.Buffer
	n := uint64(0)
	for _, m := range list {
		if m.Path == "" {
			continue
		}
		n++
		rows = append(rows, m.Start, m.End, m.Offset/criuimg.PageSize)
		names.WriteString(m.Path + "\x00")
	}
	return append(words(append([]uint64{n, criuimg.PageSize}, rows...)), names.Bytes()...)
}

// flags are those of a segment, by the permissions of a mapping, as in r-xp.
func flags(perms string) uint32 {
	var f elf.ProgFlag
	for letter, bit := range map[string]elf.ProgFlag{"r": elf.PF_R, "w": elf.PF_W, "x": elf.PF_X} {
		if strings.Contains(perms, letter) {
			f |= bit
		}
	}
	return uint32(f)
}
