package checkpoint

import (
	"context"
	"errors"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

// retries is how often a dump is tried again that failed for a reason that
// passes, and firstPause how long the container runs before; each pause is twice
// the one before.
const (
	retries    = 3
	firstPause = 100 * time.Millisecond
)

// dumpAgain dumps, and tries again what another try can mend: a connection that
// was made while none was expected, and what passes by itself. The container runs
// in between. An error is the last one.
func (m *Creator) dumpAgain(ctx context.Context, j *job, req Request, plan mounts.Plan) (criu.Result, error) {
	pause := firstPause
	for left := retries; ; {
		result, err := m.dump(ctx, j, req, plan)
		switch {
		case errors.Is(err, errConnected):
			j.options.NetworkLock, j.lockChosen = lockIptables, false
		case left > 0 && !j.ended && mendable(req, err):
			left--
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return result, err
			}
			pause *= 2
			if m.stillRuns(req.Container)(ctx) != nil {
				return result, err
			}
		default:
			return result, err
		}
		if err := j.empty(); err != nil {
			return result, err
		}
	}
}

// mendable says whether another try may succeed. A member of a group stays
// frozen, and so stays as it is. With a parent the first try may have reset what
// the kernel counts of memory changes since: another one would miss pages.
func mendable(req Request, err error) bool {
	return criu.Transient(err) && req.member == nil && req.Parent == ""
}
