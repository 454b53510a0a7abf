package recovery

import (
	"context"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// killedRestores finds restores that nobody is at work on any more.
func killedRestores(_ context.Context, c container) ([]Finding, error) {
	var list []Finding
	for _, a := range runtime.FindAbandoned(c.id) {
		list = append(list, Finding{What: "restore that was killed", Container: a.ID, Path: a.Dir, Action: Remove, do: func(context.Context) error { return a.Recover() }})
	}
	return list, nil
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
