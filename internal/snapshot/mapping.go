package snapshot

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// Kind is what memory a mapping shows.
type Kind string

// Kinds of mappings.
const (
	Anonymous Kind = "anonymous" // the process's own
	Heap      Kind = "heap"
	Stack     Kind = "stack"
	File      Kind = "file"        // a private mapping of one; what was written to is the process's own
	SharedMap Kind = "shared file" // a shared mapping of a file
	Shared    Kind = "shared"      // anonymous, with other processes
	SysV      Kind = "sysv"        // shared, of System V
	Kernel    Kind = "kernel"      // vdso, vvar and the like
	Other     Kind = "other"
)

// Mapping is an area of the memory of a process.
type Mapping struct {
	Start  uint64 `json:"start"`
	End    uint64 `json:"end"`
	Perms  string `json:"perms"` // as in rw-p, proc_pid_maps(5)
	Kind   Kind   `json:"kind"`
	Path   string `json:"path,omitempty"`
	Offset uint64 `json:"offset"` // in the file or in the shared memory, in bytes

	shared string // name of the pagemap of shared memory; empty for other memory
}

// Name is the path of the file, or the kind in brackets.
func (m Mapping) Name() string {
	if m.Path != "" {
		return m.Path
	}
	return "[" + string(m.Kind) + "]"
}

// IsShared says whether it shows memory that is not the process's own, nor a file's.
func (m Mapping) IsShared() bool { return m.shared != "" }

// The status of a VMA, criu/include/image.h.
const (
	vmaStack       = 1 << 1
	vmaVsyscall    = 1 << 2
	vmaVDSO        = 1 << 3
	vmaHeap        = 1 << 5
	vmaFilePrivate = 1 << 6
	vmaFileShared  = 1 << 7
	vmaAnonShared  = 1 << 8
	vmaAnonPrivate = 1 << 9
	vmaSysV        = 1 << 10
	vmaVVAR        = 1 << 12
	vmaMemfd       = 1 << 14
)

func (s *Snapshot) mapping(p *Process, v *vma.VmaEntry) Mapping {
	m := Mapping{Start: v.GetStart(), End: max(v.GetStart(), v.GetEnd()), Perms: perms(v), Offset: v.GetPgoff()}
	switch status := v.GetStatus(); {
	case status&(vmaVDSO|vmaVVAR|vmaVsyscall) != 0:
		m.Kind = Kernel
	case status&vmaSysV != 0:
		m.Kind, m.shared = SysV, sharedImage(v.GetShmid())
	case status&vmaAnonShared != 0:
		m.Kind, m.shared = Shared, sharedImage(v.GetShmid())
	case status&vmaFileShared != 0:
		m.Kind, m.Path = SharedMap, s.pathOf(uint32(v.GetShmid()))
	case status&vmaFilePrivate != 0:
		m.Kind, m.Path = File, s.pathOf(uint32(v.GetShmid()))
	case status&vmaHeap != 0, p.brk > p.brkStart && m.Start < p.brk && m.End > p.brkStart:
		m.Kind = Heap
	case status&vmaStack != 0, m.Start <= p.stack && p.stack < m.End:
		m.Kind = Stack
	case status&vmaAnonPrivate != 0:
		m.Kind = Anonymous
	default:
		m.Kind = Other
	}
	// CRIU dumps anonymous shared memory as a memfd of the kernel's, too.
	if f := s.files[uint32(v.GetShmid())].GetMemfd(); f != nil && v.GetStatus()&vmaMemfd != 0 {
		inode := s.memfd[f.GetInodeId()]
		m.Path = "memfd:" + inode.GetName()
		if m.Kind == SharedMap {
			m.Kind, m.shared = Shared, sharedImage(uint64(inode.GetShmid()))
		}
	}
	return m
}

func sharedImage(id uint64) string { return fmt.Sprintf("pagemap-shmem-%d.img", id) }

func perms(v *vma.VmaEntry) string {
	text := []byte("---p")
	for i, bit := range [...]uint32{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if v.GetProt()&bit != 0 {
			text[i] = "rwx"[i]
		}
	}
	if v.GetFlags()&unix.MAP_SHARED != 0 {
		text[3] = 's'
	}
	return string(text)
}

// Pages are how much of a mapping is where, in pages.
type Pages struct {
	Total   uint64 `json:"total"`
	Present uint64 `json:"present"`   // in the images of the dump itself: changed since its parent, if it has one
	Parent  uint64 `json:"in_parent"` // in those of a parent
	Zero    uint64 `json:"zero"`      // never written to
	OfFile  uint64 `json:"of_file"`   // as the file has them
	Missing uint64 `json:"missing"`   // should be in an image, and are not
}

// Add adds what another mapping has.
func (p *Pages) Add(o Pages) {
	p.Total += o.Total
	p.Present += o.Present
	p.Parent += o.Parent
	p.Zero += o.Zero
	p.OfFile += o.OfFile
	p.Missing += o.Missing
}

// Memory is the memory of one process, private and shared. It is to be closed.
type Memory struct {
	chain  criuimg.Chain
	own    *criuimg.Memory
	shared map[string]*criuimg.Memory
}

// Memory opens the memory of a process. That of one that has none is empty.
func (s *Snapshot) Memory(p *Process) (*Memory, error) {
	m := &Memory{chain: s.chain, shared: map[string]*criuimg.Memory{}}
	own, err := openIfThere(s.chain, fmt.Sprintf("pagemap-%d.img", p.PID))
	m.own = own
	return m, err
}

func openIfThere(chain criuimg.Chain, name string) (*criuimg.Memory, error) {
	m, err := criuimg.OpenMemory(chain, name)
	if errors.Is(err, fs.ErrNotExist) {
		return &criuimg.Memory{}, nil
	}
	return m, err
}

// Own returns the memory that is the process's alone.
func (m *Memory) Own() *criuimg.Memory { return m.own }

// Of returns the memory that a mapping shows, and the address or offset there at which
// the mapping begins.
func (m *Memory) Of(a Mapping) (*criuimg.Memory, uint64, error) {
	if a.shared == "" {
		return m.own, a.Start, nil
	}
	if m.shared[a.shared] == nil {
		opened, err := openIfThere(m.chain, a.shared)
		if err != nil {
			return nil, 0, err
		}
		m.shared[a.shared] = opened
	}
	return m.shared[a.shared], a.Offset, nil
}

// Pages counts the pages of a mapping.
func (m *Memory) Pages(a Mapping) (Pages, error) {
	from, start, err := m.Of(a)
	if err != nil {
		return Pages{}, err
	}
	return count(from, start, a.End-a.Start, a.Kind), nil
}

func count(from *criuimg.Memory, start, length uint64, kind Kind) Pages {
	n := Pages{Total: length / criuimg.PageSize}
	for _, r := range from.Within(start, start+length) {
		pages := (r.End - r.Start) / criuimg.PageSize
		switch {
		case r.Link < 0:
			n.Missing += pages
		case r.Link == 0:
			n.Present += pages
		default:
			n.Parent += pages
		}
	}
	rest := n.Total - min(n.Total, n.Present+n.Parent+n.Missing)
	switch kind {
	case File, SharedMap, Kernel:
		n.OfFile = rest
	default:
		n.Zero = rest
	}
	return n
}

// Close closes all images.
func (m *Memory) Close() error {
	err := m.own.Close()
	for _, s := range m.shared {
		err = errors.Join(err, s.Close())
	}
	return err
}
