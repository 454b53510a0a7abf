package checkpoint

import (
	"fmt"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux/sockopt"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// leftOut is what CRIU's images do not have of the tasks, and a restore gives them. It is
// read after the dump, when CRIU is done with the tasks.
type leftOut struct {
	tuning  []tasks.Tuning
	sockets []sockopt.Socket
}

// hasInet says whether images have sockets of IPv4 or IPv6: to look for those of many
// processes takes milliseconds.
func hasInet(dir string) bool {
	found, err := criuimg.HasInet(criuimg.Dir(dir))
	return found || err != nil
}

// read returns as warnings what it cannot read: the checkpoint is good without it.
func (l *leftOut) read(c docker.Container, inet bool) (warnings []string) {
	cpus, err := c.Cgroups.CPUs(c.ID)
	if err == nil {
		l.tuning, err = tasks.ReadTuning(c.PID, cpus)
	}
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("container %s: a restore cannot bind threads to CPUs: %v", c.Name, err))
	}
	if !inet {
		return warnings
	}
	processes, err := tasks.Processes(c.PID)
	if err == nil {
		l.sockets, err = sockopt.Read(c.PID, processes)
	}
	if err != nil {
		warnings = append(warnings, fmt.Sprintf("container %s: a restore cannot bring back all options of its sockets: %v", c.Name, err))
	}
	return warnings
}

// into completes a record by what is known so far.
func (l *leftOut) into(r *metadata.Record) {
	r.Tuning, r.Sockets = nil, nil
	for _, t := range l.tuning {
		r.Tuning = append(r.Tuning, metadata.Tuning(t))
	}
	for _, s := range l.sockets {
		r.Sockets = append(r.Sockets, metadata.Socket(s))
	}
}
