package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// ErrEntering is a container that a process is always just about to enter.
var ErrEntering = errors.New("a docker exec is being started in it all the time")

// Freezer is a container's cgroup, see linux.Freezer.
type Freezer interface {
	Hold(context.Context) error
	Thaw() error
	Tasks() ([]int, error)
}

// Freeze freezes a container. A `runc init` of an exec is let through first: while
// that is frozen, everybody waits who asks containerd for something about the
// container. It returns the processes that are frozen. After an error the
// container is thawed.
func Freeze(ctx context.Context, f Freezer) (pids []int, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Thaw())
		}
	}()
	for {
		if err := f.Hold(ctx); err != nil {
			return nil, err
		}
		pids, err := f.Tasks()
		if err != nil || !entered(pids) {
			return pids, err
		}
		if err := f.Thaw(); err != nil {
			return nil, err
		}
		if err := AwaitEntered(ctx, f); err != nil {
			return nil, err
		}
	}
}

// AwaitEntered waits until no `runc init` is in a container that is not frozen.
// The error is ErrEntering when the context ends before.
func AwaitEntered(ctx context.Context, f Freezer) error {
	for {
		pids, err := f.Tasks()
		if err != nil || !entered(pids) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrEntering, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// entered says whether one of a container's processes is runc itself, on its way
// to become what was to be executed. Those of a runc that runs in the container
// have their parent there.
func entered(pids []int) bool {
	return slices.ContainsFunc(pids, func(pid int) bool {
		return isRunc(linux.Command(pid), linux.Executable(pid)) && !slices.Contains(pids, linux.Parent(pid))
	})
}

// isRunc knows runc by the name that its init gives itself (libcontainer/nsenter),
// and by its program, which may be a sealed copy in memory (runc_cloned).
func isRunc(command, executable string) bool {
	name := filepath.Base(strings.TrimSuffix(executable, " (deleted)"))
	return strings.HasPrefix(command, "runc:[") || name == "runc" || strings.HasPrefix(executable, "/memfd:runc_cloned")
}
