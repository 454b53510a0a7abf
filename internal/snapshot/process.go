package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	images_fs "github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"google.golang.org/protobuf/proto"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// Process is a process of a dump. IDs are those in the container.
type Process struct {
	PID   uint32 `json:"pid"`
	PPID  uint32 `json:"ppid"`
	PGID  uint32 `json:"pgid"`
	SID   uint32 `json:"sid"`
	Depth int    `json:"-"` // in the tree; 0 for who has no parent in it
	Name  string `json:"name"`
	// State is running, stopped, zombie, dead or the like.
	State    string   `json:"state"`
	ExitCode uint32   `json:"exit_code,omitempty"` // as wait(2) has it, of a zombie
	Exe      string   `json:"exe,omitempty"`
	Cwd      string   `json:"cwd,omitempty"`
	Root     string   `json:"root,omitempty"`
	Umask    string   `json:"umask,omitempty"`   // as in 0022
	Caught   []string `json:"caught,omitempty"`  // signals with a handler
	Ignored  []string `json:"ignored,omitempty"` // signals
	Pending  []string `json:"pending,omitempty"` // signals, of the process
	Timers   []Timer  `json:"timers,omitempty"`
	Credentials
	Threads     []Thread     `json:"threads"`
	Descriptors []Descriptor `json:"-"`
	Mappings    []Mapping    `json:"-"`
	// Auxv are words of the auxiliary vector, getauxval(3).
	Auxv []uint64 `json:"-"`

	filesID              uint32
	argStart, argEnd     uint64
	envStart, envEnd     uint64
	brkStart, brk, stack uint64
	text                 *text
}

// Credentials are what a thread may do.
type Credentials struct {
	UID          uint32   `json:"uid"`
	EUID         uint32   `json:"euid"`
	GID          uint32   `json:"gid"`
	EGID         uint32   `json:"egid"`
	Groups       []uint32 `json:"groups,omitempty"`
	Capabilities []string `json:"capabilities"` // effective
	Permitted    []string `json:"capabilities_permitted,omitempty"`
	Inheritable  []string `json:"capabilities_inheritable,omitempty"`
	Ambient      []string `json:"capabilities_ambient,omitempty"`
	Bounding     []string `json:"capabilities_bounding,omitempty"`
	NoNewPrivs   bool     `json:"no_new_privs"`
	Seccomp      string   `json:"seccomp"` // disabled, strict or filter
	LSM          string   `json:"lsm_profile,omitempty"`
}

// Thread is one of a process, the first of which has the process's PID.
type Thread struct {
	TID     uint32   `json:"tid"`
	Name    string   `json:"name"`
	Nice    int32    `json:"nice"`
	Blocked []string `json:"blocked,omitempty"` // signals
	Pending []string `json:"pending,omitempty"` // signals
	Credentials
	Registers *Registers `json:"-"` // nil if not known
}

// hasMemory says whether a task has memory and files: a zombie has none.
func hasMemory(state uint32) bool { return state == stateAlive || state == stateStopped }

// fill reads what the images say of a process.
func (s *Snapshot) fill(p *Process) error {
	state, leader := uint32(0), &criu_core.CoreEntry{}
	err := criuimg.Decode(s.chain[0], fmt.Sprintf("core-%d.img", p.PID), func(m proto.Message) error {
		e, ok := m.(*criu_core.CoreEntry)
		if !ok {
			return nil
		}
		state, leader = e.GetTc().GetTaskState(), e
		p.core(e)
		if e.GetIds() != nil {
			p.filesID = e.GetIds().GetFilesId()
		}
		return nil
	})
	if err != nil || !hasMemory(state) {
		p.Threads = nil // CRIU writes any number there
		return err
	}
	for i := range p.Threads {
		if tid := p.Threads[i].TID; s.tids[tid] {
			return fmt.Errorf("pstree.img: thread %d is there twice", tid)
		}
		s.tids[p.Threads[i].TID] = true
		if err := s.thread(p, &p.Threads[i], leader); err != nil {
			return err
		}
	}
	for _, image := range []struct {
		name string
		read func(proto.Message) error
	}{
		{fmt.Sprintf("ids-%d.img", p.PID), func(m proto.Message) error {
			if e, ok := m.(*criu_core.TaskKobjIdsEntry); ok {
				p.filesID = e.GetFilesId()
			}
			return nil
		}},
		{fmt.Sprintf("fs-%d.img", p.PID), func(m proto.Message) error {
			if e, ok := m.(*images_fs.FsEntry); ok {
				p.Cwd, p.Root, p.Umask = s.pathOf(e.GetCwdId()), s.pathOf(e.GetRootId()), fmt.Sprintf("%04o", e.GetUmask())
			}
			return nil
		}},
		{fmt.Sprintf("mm-%d.img", p.PID), func(m proto.Message) error {
			if e, ok := m.(*mm.MmEntry); ok {
				return s.mm(p, e)
			}
			return nil
		}},
	} {
		if err := criuimg.Decode(s.chain[0], image.name, image.read); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err = criuimg.Decode(s.chain[0], fmt.Sprintf("fdinfo-%d.img", p.filesID), func(m proto.Message) error {
		if e, ok := m.(*fdinfo.FdinfoEntry); ok {
			if s.descriptors++; s.descriptors > maxFiles {
				return fmt.Errorf("is one of more than %d open files of the processes", maxFiles)
			}
			p.Descriptors = append(p.Descriptors, s.descriptor(e))
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// core takes what a core image says of the process as a whole.
func (p *Process) core(e *criu_core.CoreEntry) {
	tc := e.GetTc()
	p.Name, p.State, p.ExitCode = tc.GetComm(), stateName(tc.GetTaskState()), tc.GetExitCode()
	p.Credentials = credentials(e)
	p.Caught, p.Ignored = handlers(tc.GetSigactions())
	p.Pending = pending(tc.GetSignalsS())
	p.Timers = timers(tc.GetTimers())
}

// thread reads the image of a thread. That of the first one is the process's.
func (s *Snapshot) thread(p *Process, t *Thread, leader *criu_core.CoreEntry) error {
	if t.TID == p.PID {
		t.fill(p, leader)
		return nil
	}
	return criuimg.Decode(s.chain[0], fmt.Sprintf("core-%d.img", t.TID), func(m proto.Message) error {
		e, ok := m.(*criu_core.CoreEntry)
		if !ok {
			return nil
		}
		t.fill(p, e)
		return nil
	})
}

func (t *Thread) fill(p *Process, e *criu_core.CoreEntry) {
	c := e.GetThreadCore()
	t.Name, t.Nice = c.GetComm(), c.GetSchedNice()
	if t.Name == "" {
		t.Name = p.Name
	}
	blocked := c.GetBlkSigset()
	if t.TID == p.PID {
		blocked = e.GetTc().GetBlkSigset()
	}
	t.Blocked, t.Pending = signalSet(blocked), pending(c.GetSignalsP())
	t.Credentials, t.Registers = credentials(e), registers(e)
}

func credentials(e *criu_core.CoreEntry) Credentials {
	c := e.GetThreadCore().GetCreds()
	names := func(words []uint32) []string { return linux.CapabilityNames(criuimg.CapabilitySet(words)) }
	mode := e.GetThreadCore().GetSeccompMode()
	if e.GetThreadCore() == nil || e.GetThreadCore().SeccompMode == nil {
		mode = e.GetTc().GetOldSeccompMode()
	}
	list := Credentials{
		UID: c.GetUid(), EUID: c.GetEuid(), GID: c.GetGid(), EGID: c.GetEgid(), Groups: c.GetGroups(),
		Capabilities: names(c.GetCapEff()), Permitted: names(c.GetCapPrm()), Inheritable: names(c.GetCapInh()), Bounding: names(c.GetCapBnd()),
		Ambient: ambient(c), NoNewPrivs: c != nil && criuimg.NoNewPrivs(c), Seccomp: mode.String(), LSM: c.GetLsmProfile(),
	}
	if list.Capabilities == nil {
		list.Capabilities = []string{}
	}
	return list
}

func ambient(c *creds.CredsEntry) []string {
	if c == nil {
		return nil
	}
	return linux.CapabilityNames(criuimg.AmbientCapabilities(c))
}

// pathOf is the path of a file in the container; empty for none.
func (s *Snapshot) pathOf(id uint32) string {
	reg := s.files[id].GetReg()
	if reg == nil {
		return ""
	}
	return path.Join("/", reg.GetName())
}

// mm takes what an image says of the memory of a process.
func (s *Snapshot) mm(p *Process, e *mm.MmEntry) error {
	p.Exe = s.pathOf(e.GetExeFileId())
	p.argStart, p.argEnd, p.envStart, p.envEnd = e.GetMmArgStart(), e.GetMmArgEnd(), e.GetMmEnvStart(), e.GetMmEnvEnd()
	p.brkStart, p.brk, p.stack = e.GetMmStartBrk(), e.GetMmBrk(), e.GetMmStartStack()
	p.Auxv = e.GetMmSavedAuxv()
	for _, v := range e.GetVmas() {
		m := s.mapping(p, v)
		if n := len(p.Mappings); n > 0 && m.Start < p.Mappings[n-1].End {
			return fmt.Errorf("its mapping %x-%x is not behind the one before it", m.Start, m.End)
		}
		p.Mappings = append(p.Mappings, m)
	}
	return nil
}
