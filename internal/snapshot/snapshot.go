// Package snapshot shows what the images of a dump hold: processes with their threads
// and memory, descriptors, sockets and mounts, as they were when the dump was made.
package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/utsns"
	"google.golang.org/protobuf/proto"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// Snapshot is what the images of a dump say.
type Snapshot struct {
	Hostname  string     // empty if the processes had the host's
	Processes []*Process // parents before their children
	Mounts    []Mount

	chain criuimg.Chain
	files map[uint32]*fdinfo.FileEntry
	gone  map[uint32]bool // files without a name
	memfd map[uint32]*memfd.MemfdInodeEntry
	ttys  map[uint32]string
	pids  map[uint32]bool
	tids  map[uint32]bool

	descriptors int    // of all processes
	textBytes   uint64 // of all processes, that were read
}

// Most of what is kept in memory of an image, so that no image decides on that.
const (
	maxFiles     = 1 << 20
	maxProcesses = 1 << 18
)

// Read reads the images of a dump. The first of the chain are its own; those behind it
// are read when memory is. An error names the image that does not decode.
func Read(chain criuimg.Chain) (*Snapshot, error) {
	s := &Snapshot{
		chain: chain, files: map[uint32]*fdinfo.FileEntry{}, gone: map[uint32]bool{}, memfd: map[uint32]*memfd.MemfdInodeEntry{}, ttys: map[uint32]string{},
		pids: map[uint32]bool{}, tids: map[uint32]bool{},
	}
	if len(chain) == 0 {
		return nil, errors.New("there are no images")
	}
	if _, err := fs.Stat(chain[0], "pstree.img"); err != nil {
		return nil, fmt.Errorf("pstree.img: missing: the images are not of a whole dump: %w", err)
	}
	for _, image := range []struct {
		pattern string
		read    func(proto.Message) error
	}{
		{"files.img", s.file}, {"remap-fpath.img", s.remap}, {"memfd.img", s.memory}, {"tty-info.img", s.tty},
		{"pstree.img", s.process}, {"utsns-*.img", s.uts}, {"mountpoints-*.img", s.mount},
	} {
		names, err := fs.Glob(chain[0], image.pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if err := criuimg.Decode(chain[0], name, image.read); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range s.Processes {
		if err := s.fill(p); err != nil {
			return nil, err
		}
	}
	s.Processes = inTreeOrder(s.Processes)
	s.join()
	return s, nil
}

func (s *Snapshot) file(m proto.Message) error {
	e, ok := m.(*fdinfo.FileEntry)
	if ok && len(s.files) >= maxFiles {
		return fmt.Errorf("is one of more than %d", maxFiles)
	}
	if ok {
		s.files[e.GetId()] = e
	}
	return nil
}

func (s *Snapshot) remap(m proto.Message) error {
	if e, ok := m.(*remap_file_path.RemapFilePathEntry); ok && len(s.gone) < maxFiles {
		s.gone[e.GetOrigId()] = true
	}
	return nil
}

func (s *Snapshot) memory(m proto.Message) error {
	if e, ok := m.(*memfd.MemfdInodeEntry); ok && len(s.memfd) < maxFiles {
		s.memfd[uint32(e.GetInodeId())] = e
	}
	return nil
}

func (s *Snapshot) tty(m proto.Message) error {
	e, ok := m.(*tty.TtyInfoEntry)
	if !ok || len(s.ttys) >= maxFiles {
		return nil
	}
	switch {
	case e.GetPty() != nil:
		s.ttys[e.GetId()] = fmt.Sprintf("pseudo terminal %d", e.GetPty().GetIndex())
	default:
		s.ttys[e.GetId()] = "terminal"
	}
	return nil
}

func (s *Snapshot) uts(m proto.Message) error {
	if e, ok := m.(*utsns.UtsnsEntry); ok {
		s.Hostname = e.GetNodename()
	}
	return nil
}

func (s *Snapshot) process(m proto.Message) error {
	e, ok := m.(*pstree.PstreeEntry)
	if !ok {
		return nil
	}
	if len(s.Processes) >= maxProcesses || len(e.GetThreads()) > maxProcesses {
		return fmt.Errorf("there are more than %d processes or threads", maxProcesses)
	}
	if s.pids[e.GetPid()] {
		return fmt.Errorf("process %d is there twice", e.GetPid())
	}
	s.pids[e.GetPid()] = true
	p := &Process{PID: e.GetPid(), PPID: e.GetPpid(), PGID: e.GetPgid(), SID: e.GetSid()}
	for _, tid := range e.GetThreads() {
		p.Threads = append(p.Threads, Thread{TID: tid})
	}
	s.Processes = append(s.Processes, p)
	return nil
}

// inTreeOrder sorts processes so that children follow their parents, by PID.
func inTreeOrder(all []*Process) []*Process {
	slices.SortStableFunc(all, func(a, b *Process) int { return int(a.PID) - int(b.PID) })
	children, known := map[uint32][]*Process{}, map[uint32]bool{}
	for _, p := range all {
		known[p.PID] = true
	}
	var roots []*Process
	for _, p := range all {
		if known[p.PPID] && p.PPID != p.PID {
			children[p.PPID] = append(children[p.PPID], p)
		} else {
			roots = append(roots, p)
		}
	}
	ordered, seen := make([]*Process, 0, len(all)), map[*Process]bool{}
	// A tree may be as deep as it has processes: no recursion.
	for stack := reversed(roots); len(stack) > 0; {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[p] {
			continue
		}
		seen[p] = true
		ordered = append(ordered, p)
		for _, c := range reversed(children[p.PID]) {
			c.Depth = p.Depth + 1
			stack = append(stack, c)
		}
	}
	for _, p := range all {
		if !seen[p] { // processes that say to be each other's parents
			ordered = append(ordered, p)
		}
	}
	return ordered
}

func reversed(list []*Process) []*Process {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// Process returns the process with a PID, which is that in the container; nil for none.
func (s *Snapshot) Process(pid uint32) *Process {
	for _, p := range s.Processes {
		if p.PID == pid {
			return p
		}
	}
	return nil
}
