package recovery

import (
	"context"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// stagedForDocker finds what a killed restore through Docker left.
func (r *Recoverer) stagedForDocker(ctx context.Context, c container) ([]Finding, error) {
	found, err := r.docker.Findings(ctx, c.id)
	var list []Finding
	for _, f := range found {
		list = append(list, Finding{What: f.What, Path: f.Path, Action: Remove, do: f.Recover})
	}
	return list, err
}

// killedStarts finds what runc left of starts that ended with Docker.
func killedStarts(_ context.Context, c container) ([]Finding, error) {
	var list []Finding
	for _, dir := range runtime.KilledStarts(c.id) {
		list = append(list, Finding{What: "runc's directory of a start that was killed", Path: dir, Action: Remove, do: func(context.Context) error {
			return runtime.RemoveKilledStart(dir)
		}})
	}
	return list, nil
}
