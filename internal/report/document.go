// Package report puts together what is shown of a checkpoint: as one document, of which
// parts are printed, or as a page of HTML.
package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/redact"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// View is a part of the document.
type View string

// Views.
const (
	Overall   View = "overview"
	Processes View = "ps"
	Maps      View = "maps"
	FDs       View = "fds"
	Sockets   View = "sockets"
	Mounts    View = "mounts"
	Env       View = "env"
	All       View = "all"
)

// Views are all of them, in the order of their help.
func Views() []string {
	return []string{string(Processes), string(Maps), string(FDs), string(Sockets), string(Mounts), string(Env), string(All)}
}

// Document is what a checkpoint holds. Parts that were not asked for are nil.
type Document struct {
	Overview  *Overview         `json:"overview,omitempty"`
	Processes []Process         `json:"processes,omitzero"`
	Maps      []ProcessMaps     `json:"maps,omitzero"`
	FDs       []ProcessFDs      `json:"fds,omitzero"`
	Sockets   []snapshot.Socket `json:"sockets,omitzero"`
	Mounts    []snapshot.Mount  `json:"mounts,omitzero"`
	Env       []ProcessEnv      `json:"env,omitzero"`
}

// Process is a process with its command line.
type Process struct {
	*snapshot.Process
	// Args are nil if they are not in the images.
	Args []string `json:"args"`
}

// Command is the command line, or the name in brackets if it is not known.
func (p Process) Command() string {
	if len(p.Args) == 0 {
		return "[" + p.Name + "]"
	}
	return strings.Join(p.Args, " ")
}

// ProcessMaps are the mappings of a process.
type ProcessMaps struct {
	PID      uint32         `json:"pid"`
	Name     string         `json:"name"`
	Mappings []Mapping      `json:"mappings"`
	Pages    snapshot.Pages `json:"pages"` // of all of them
}

// Mapping is one of a process, and where its pages are.
type Mapping struct {
	snapshot.Mapping
	Pages snapshot.Pages `json:"pages"`
}

// ProcessFDs are the descriptors of a process.
type ProcessFDs struct {
	PID         uint32                `json:"pid"`
	Name        string                `json:"name"`
	Descriptors []snapshot.Descriptor `json:"fds"`
}

// ProcessEnv is the environment of a process.
type ProcessEnv struct {
	PID  uint32   `json:"pid"`
	Name string   `json:"name"`
	Env  []string `json:"env"`
}

// Options say what goes into a document.
type Options struct {
	View    View
	PID     uint32 // of the only process that is shown; 0 for all
	Secrets bool   // show values that look secret
}

// ErrNoProcess is a PID that no process of the checkpoint has.
var ErrNoProcess = errors.New("no such process in the checkpoint")

// Make reads what is asked for.
func Make(c *contents.Contents, o Options) (*Document, error) {
	s, err := snapshot.Read(c.Images)
	if err != nil {
		return nil, err
	}
	list := s.Processes
	if o.PID != 0 {
		p := s.Process(o.PID)
		if p == nil {
			return nil, fmt.Errorf("%w: %d", ErrNoProcess, o.PID)
		}
		list = []*snapshot.Process{p}
	}
	d := &Document{}
	for _, part := range []struct {
		view View
		make func() error
	}{
		{Overall, func() error { return d.overview(c, s) }},
		{Processes, func() error { return d.processes(s, list, o.Secrets) }},
		{Maps, func() error { return d.maps(s, list) }},
		{FDs, func() error { d.fds(list); return nil }},
		{Sockets, func() error { return d.sockets(s, list, o.PID) }},
		{Mounts, func() error { d.Mounts = append([]snapshot.Mount{}, s.Mounts...); return nil }},
		{Env, func() error { return d.env(s, list, o.Secrets) }},
	} {
		if o.View == part.view || o.View == All {
			if err := part.make(); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

func (d *Document) processes(s *snapshot.Snapshot, list []*snapshot.Process, secrets bool) error {
	d.Processes = []Process{}
	for _, p := range list {
		args, _, err := s.Text(p)
		if err != nil && !errors.Is(err, snapshot.ErrNoText) {
			return err
		}
		if !secrets {
			args = redact.Args(args)
		}
		d.Processes = append(d.Processes, Process{p, args})
	}
	return nil
}

func (d *Document) env(s *snapshot.Snapshot, list []*snapshot.Process, secrets bool) error {
	d.Env = []ProcessEnv{}
	for _, p := range list {
		_, env, err := s.Text(p)
		if err != nil && !errors.Is(err, snapshot.ErrNoText) {
			return err
		}
		if !secrets {
			env = redact.Env(env)
		}
		d.Env = append(d.Env, ProcessEnv{p.PID, p.Name, append([]string{}, env...)})
	}
	return nil
}

func (d *Document) maps(s *snapshot.Snapshot, list []*snapshot.Process) error {
	d.Maps = []ProcessMaps{}
	for _, p := range list {
		maps, err := mapsOf(s, p)
		if err != nil {
			return err
		}
		d.Maps = append(d.Maps, maps)
	}
	return nil
}

func mapsOf(s *snapshot.Snapshot, p *snapshot.Process) (ProcessMaps, error) {
	maps := ProcessMaps{PID: p.PID, Name: p.Name, Mappings: []Mapping{}}
	m, err := s.Memory(p)
	if err != nil {
		return maps, err
	}
	for _, a := range p.Mappings {
		pages, err := m.Pages(a)
		if err != nil {
			return maps, errors.Join(err, m.Close())
		}
		maps.Mappings = append(maps.Mappings, Mapping{a, pages})
		maps.Pages.Add(pages)
	}
	return maps, m.Close()
}

func (d *Document) fds(list []*snapshot.Process) {
	d.FDs = []ProcessFDs{}
	for _, p := range list {
		d.FDs = append(d.FDs, ProcessFDs{p.PID, p.Name, append([]snapshot.Descriptor{}, p.Descriptors...)})
	}
}

func (d *Document) sockets(s *snapshot.Snapshot, list []*snapshot.Process, pid uint32) error {
	all, err := s.Sockets()
	d.Sockets = []snapshot.Socket{}
	for _, socket := range all {
		if pid == 0 || slices.ContainsFunc(socket.Owners, func(o string) bool { return ownedBy(o, list[0].PID) }) {
			d.Sockets = append(d.Sockets, socket)
		}
	}
	return err
}

// ownedBy says whether an owner, as in 12/3, is a process.
func ownedBy(owner string, pid uint32) bool {
	var got, fd uint32
	_, err := fmt.Sscanf(owner, "%d/%d", &got, &fd)
	return err == nil && got == pid
}
