package restore

import (
	"github.com/checkpointctl/checkpointctl/internal/linux/sockopt"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// complete gives restored tasks, of which this is the first, what CRIU does not, and
// returns what they lack.
func complete(init int, rec metadata.Record) (warnings []string) {
	var tuning []tasks.Tuning
	for _, t := range rec.Tuning {
		tuning = append(tuning, tasks.Tuning(t))
	}
	failed := tasks.Tune(init, tuning)
	var sockets []sockopt.Socket
	for _, s := range rec.Sockets {
		sockets = append(sockets, sockopt.Socket(s))
	}
	if len(sockets) > 0 {
		processes, err := tasks.Processes(init)
		if err != nil {
			failed = append(failed, err)
		}
		failed = append(failed, sockopt.Set(init, processes, sockets)...)
	}
	for _, err := range failed {
		warnings = append(warnings, err.Error())
	}
	return warnings
}
