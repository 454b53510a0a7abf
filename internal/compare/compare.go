// Package compare tells what differs between two checkpoints.
package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/redact"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// What became of something from the first checkpoint to the second.
const (
	Gone    = "gone"
	New     = "new"
	Changed = "changed"
)

// Result is what differs. Of what is in both alike, nothing is told, but for the pages
// of mappings.
type Result struct {
	A string `json:"a"`
	B string `json:"b"`
	// Names are of processes by their PID, as the second checkpoint has them if it does.
	Names     map[uint32]string `json:"process_names"`
	Processes []Difference      `json:"processes"`
	FDs       []Difference      `json:"fds"`
	Sockets   []Difference      `json:"sockets"`
	Env       []Difference      `json:"env"`
	Memory    []Memory          `json:"memory"`
	// Files are of the container's writable layer. FilesCompared says whether both
	// checkpoints have one that can be read.
	Files         []Difference `json:"files"`
	FilesCompared bool         `json:"files_compared"`
}

// Difference is one thing that is not as it was.
type Difference struct {
	PID    uint32 `json:"pid,omitempty"`
	Name   string `json:"name"` // of a process or a variable; number of a descriptor; path of a file
	Change string `json:"change"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Equal says whether nothing differs.
func (r *Result) Equal() bool {
	return !slices.ContainsFunc(r.Memory, Memory.Differs) && len(r.Processes)+len(r.FDs)+len(r.Sockets)+len(r.Env)+len(r.Files) == 0
}

// Run compares two checkpoints. Processes are the same if they have the same PID.
// Values that look secret are hidden in the result unless secrets is set.
func Run(ctx context.Context, a, b *contents.Contents, secrets bool) (*Result, error) {
	from, err := snapshot.Read(a.Images)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Name, err)
	}
	to, err := snapshot.Read(b.Images)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Name, err)
	}
	r := &Result{A: a.Name, B: b.Name, Names: map[uint32]string{}, Processes: []Difference{}, FDs: []Difference{}, Sockets: []Difference{}, Env: []Difference{}, Memory: []Memory{}, Files: []Difference{}}
	hide := func(list []string, of func([]string) []string) []string {
		if secrets {
			return list
		}
		return of(list)
	}
	for _, pid := range pids(from, to) {
		p, q := from.Process(pid), to.Process(pid)
		r.Names[pid] = cmp.Or(q, p).Name
		before, err := textOf(from, p)
		if err != nil {
			return nil, err
		}
		after, err := textOf(to, q)
		if err != nil {
			return nil, err
		}
		if p != nil && q != nil && (!before.known || !after.known) { // what one of them lacks did not change
			before, after = text{}, text{}
		}
		args := func(t text) []string { return hide(t.args, redact.Args) }
		r.process(pid, state(p, args(before)), state(q, args(after)), !slices.Equal(before.args, after.args))
		if p == nil || q == nil {
			continue
		}
		r.env(pid, before.env, after.env, func(list []string) []string { return hide(list, redact.Env) })
		r.FDs = append(r.FDs, differences(pid, descriptors(p), descriptors(q))...)
		if err := r.memory(ctx, from, to, p, q); err != nil {
			return nil, err
		}
	}
	if err := r.shared(ctx, from, to); err != nil {
		return nil, err
	}
	if err := r.sockets(from, to); err != nil {
		return nil, err
	}
	return r, r.files(ctx, a, b)
}

// pids are those of both, in order.
func pids(from, to *snapshot.Snapshot) []uint32 {
	var list []uint32
	for _, s := range []*snapshot.Snapshot{from, to} {
		for _, p := range s.Processes {
			list = append(list, p.PID)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// text are the arguments and the environment of a process.
type text struct {
	args, env []string
	known     bool
}

// textOf is not known where the images do not have them.
func textOf(s *snapshot.Snapshot, p *snapshot.Process) (text, error) {
	if p == nil {
		return text{}, nil
	}
	args, env, err := s.Text(p)
	if errors.Is(err, snapshot.ErrNoText) {
		return text{}, nil
	}
	return text{args, env, true}, err
}

// state is what is compared of a process; empty for none.
func state(p *snapshot.Process, args []string) string {
	if p == nil {
		return ""
	}
	command := "[" + p.Name + "]"
	if len(args) > 0 {
		command = strings.Join(args, " ")
	}
	threads := "1 thread"
	if n := len(p.Threads); n != 1 {
		threads = fmt.Sprintf("%d threads", n)
	}
	return fmt.Sprintf("%s, %s, %s, user %d, in %s", command, p.State, threads, p.UID, p.Cwd)
}

// process notes what became of a process. Arguments may differ that are hidden.
func (r *Result) process(pid uint32, before, after string, argsDiffer bool) {
	d := Difference{PID: pid, Name: fmt.Sprint(pid), Before: before, After: after}
	switch {
	case before == "":
		d.Change = New
	case after == "":
		d.Change = Gone
	case before != after || argsDiffer:
		d.Change = Changed
	default:
		return
	}
	r.Processes = append(r.Processes, d)
}

func (r *Result) env(pid uint32, before, after []string, hide func([]string) []string) {
	list := differences(pid, variables(before), variables(after))
	for i := range list {
		for _, value := range []*string{&list[i].Before, &list[i].After} {
			if *value != "" {
				_, *value, _ = strings.Cut(hide([]string{list[i].Name + "=" + *value})[0], "=")
			}
		}
	}
	r.Env = append(r.Env, list...)
}

func variables(list []string) map[string]string {
	values := map[string]string{}
	for _, v := range list {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
	}
	return values
}

// descriptors are those of a process by their number.
func descriptors(p *snapshot.Process) map[string]string {
	list := map[string]string{}
	for _, d := range p.Descriptors {
		what := strings.TrimSpace(d.Type + " " + d.Name)
		if d.Deleted {
			what += " (deleted)"
		}
		if d.Type == "file" {
			what += fmt.Sprintf(", at %d", d.Position)
		}
		list[fmt.Sprint(d.FD)] = what
	}
	return list
}

func (r *Result) sockets(from, to *snapshot.Snapshot) error {
	a, err := from.Sockets()
	if err != nil {
		return err
	}
	b, err := to.Sockets()
	if err != nil {
		return err
	}
	r.Sockets = differences(0, bySocket(a), bySocket(b))
	return nil
}

// bySocket has the state of sockets by their addresses. Those that have the same ones
// are numbered.
func bySocket(list []snapshot.Socket) map[string]string {
	states, count := map[string]string{}, map[string]int{}
	for _, s := range list {
		name := strings.TrimSpace(s.Protocol + " " + s.Local)
		if s.Remote != "" {
			name += " to " + s.Remote
		}
		if count[name]++; count[name] > 1 {
			name = fmt.Sprintf("%s (%d)", name, count[name])
		}
		state := fmt.Sprintf("%s, %d bytes received, %d to send", s.State, s.ReceiveQueue, s.SendQueue)
		states[name] = strings.Join(append([]string{state}, s.Options...), ", ")
	}
	return states
}

// differences compares values by their names, and sorts what differs by them.
func differences(pid uint32, before, after map[string]string) []Difference {
	list := []Difference{}
	for name, was := range before {
		is, there := after[name]
		switch {
		case !there:
			list = append(list, Difference{pid, name, Gone, was, ""})
		case is != was:
			list = append(list, Difference{pid, name, Changed, was, is})
		}
	}
	for name, is := range after {
		if _, was := before[name]; !was {
			list = append(list, Difference{pid, name, New, "", is})
		}
	}
	slices.SortFunc(list, func(a, b Difference) int {
		if n := len(a.Name) - len(b.Name); n != 0 && pid != 0 && isNumber(a.Name) && isNumber(b.Name) {
			return n
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

func isNumber(text string) bool { return strings.Trim(text, "0123456789") == "" }
