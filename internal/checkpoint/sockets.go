package checkpoint

import (
	"fmt"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux/sockopt"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// socketOptions are those of a container's sockets that CRIU's images do not have.
type socketOptions struct {
	list    []sockopt.Socket
	err     error
	reading <-chan struct{} // nil if nobody has begun
}

// begin reads them beside CRIU, which is at work on the frozen tasks.
func (s *socketOptions) begin(c docker.Container) {
	if s.reading != nil { // by the try before this one
		<-s.reading
	}
	done := make(chan struct{})
	s.reading = done
	go func() {
		defer close(done)
		s.read(c)
	}()
}

// wait returns when they are known, and a warning if they are not: the checkpoint is good
// without them.
func (s *socketOptions) wait(c docker.Container) (warnings []string) {
	if s.reading == nil {
		s.read(c)
	} else {
		<-s.reading
		s.reading = nil // another try begins anew
	}
	if s.err != nil {
		warnings = append(warnings, fmt.Sprintf("container %s: a restore cannot bring back all options of its sockets: %v", c.Name, s.err))
	}
	return warnings
}

func (s *socketOptions) read(c docker.Container) {
	var processes sockopt.Processes
	if processes, s.err = tasks.Processes(c.PID); s.err == nil {
		s.list, s.err = sockopt.Read(c.PID, processes)
	}
}

func (s *socketOptions) into(r *metadata.Record) {
	r.Sockets = nil
	for _, o := range s.list {
		to := metadata.Socket{
			PID: o.PID, FD: o.FD, Domain: o.Domain, Type: o.Type, Protocol: o.Protocol,
			Options: o.Options, Congestion: o.Congestion, Interface: o.Interface,
		}
		for _, g := range o.Groups {
			to.Groups = append(to.Groups, metadata.MulticastGroup(g))
		}
		r.Sockets = append(r.Sockets, to)
	}
}
