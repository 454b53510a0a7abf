package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Member is one of several containers, and the checkpoint that it is started
// from.
type Member struct {
	Container docker.Container
	Record    metadata.Record
}

// ErrCircle is containers of which each has a namespace of the next.
var ErrCircle = errors.New("the containers share namespaces in a circle")

// Ordered returns the members so that the owner of a namespace comes before
// those that share it, and otherwise in their order. ErrCircle if there is none.
func Ordered(members []Member) ([]Member, error) {
	list, circle := Sorted(members, func(a, b Member) bool { return Needs(a.Container, b.Container) })
	if circle != nil {
		return nil, ErrCircle
	}
	return list, nil
}

// Sorted returns a list so that each element comes after those that it needs, and
// otherwise in its order. circle is what cannot be sorted, nil if all can be.
func Sorted[T any](list []T, needs func(a, b T) bool) (sorted, circle []T) {
	left := slices.Clone(list)
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(a T) bool {
			return !slices.ContainsFunc(left, func(b T) bool { return needs(a, b) })
		})
		if i < 0 {
			return sorted, left
		}
		sorted, left = append(sorted, left[i]), slices.Delete(left, i, i+1)
	}
	return sorted, nil
}

// Needs says whether a has a namespace of b.
func Needs(a, b docker.Container) bool {
	for _, mode := range []string{a.NetworkMode, a.Settings.IPCMode, a.PIDMode} {
		if of, ok := strings.CutPrefix(mode, "container:"); ok && (of == b.ID || of == b.Name) {
			return true
		}
	}
	return false
}

// RestoreAll restores all members, in the order of Ordered, or none: all are
// planned, verified and refused before the first starts, and when one fails
// those that were started are killed again.
func (r *Restorer) RestoreAll(ctx context.Context, members []Member, o Options) error {
	members, err := Ordered(members)
	if err != nil {
		return err
	}
	for _, m := range members {
		unlock, err := r.Store.Lock(m.Record.Name)
		if err != nil {
			return err
		}
		defer unlock()
	}
	ready := make([]prepared, len(members))
	for i, m := range members {
		if ready[i], err = r.prepare(ctx, m.Container, m.Record, o); err != nil {
			return err
		}
		defer ready[i].close()
	}
	held := holdPackets(members, ready)
	backs := make([]*rolled, len(members))
	for i, m := range members {
		if err = ctx.Err(); err == nil {
			backs[i], err = r.rollBack(ctx, m.Container, ready[i].from, ready[i].fills)
		}
		if err == nil {
			err = r.start(ctx, m.Container, ready[i].plan, ready[i].from)
		}
		if err != nil {
			err = r.undo(ctx, members[:i], fmt.Errorf("%s: %w", m.Container.Name, err))
			for _, back := range backs {
				err = errors.Join(err, back.undo())
			}
			return err
		}
	}
	var errs []error
	for _, back := range backs {
		errs = append(errs, back.finish(context.WithoutCancel(ctx)))
	}
	for _, m := range held {
		errs = append(errs, r.letIn(ctx, m.Container))
	}
	return errors.Join(errs...)
}

// holdPackets keeps from the owners of network namespaces what arrives there until those
// who share them are back: the kernel would answer in the place of a socket that
// is not there yet, and end its connection. It returns these owners.
func holdPackets(members []Member, ready []prepared) (owners []Member) {
	for i, owner := range members {
		q := &ready[i].plan.Request
		for j, m := range members {
			if m.Container.NetworkMode == "container:"+owner.Container.ID && (q.TCPEstablished || ready[j].plan.Request.TCPEstablished) {
				q.HoldPackets, q.KeepHold = true, true
			}
		}
		if q.KeepHold {
			owners = append(owners, owner)
		}
	}
	return owners
}

func (r *Restorer) letIn(ctx context.Context, owner docker.Container) error {
	now, err := r.Docker.Inspect(context.WithoutCancel(ctx), owner.ID)
	if err == nil && now.PID != 0 {
		err = linux.UnlockInput(now.PID)
	}
	if err != nil {
		return fmt.Errorf("all are restored, but %s gets no packets (checkpointctl repair ends that): %w", owner.Name, err)
	}
	return nil
}

// undo kills what was started. A signal to end would let the programs write.
func (r *Restorer) undo(ctx context.Context, started []Member, cause error) error {
	ctx = context.WithoutCancel(ctx)
	var killed []string
	var errs []error
	for _, m := range slices.Backward(started) {
		if err := r.Docker.Kill(ctx, m.Container.ID); err != nil {
			errs = append(errs, fmt.Errorf("container %s was restored and runs on (docker kill %s): %w", m.Container.Name, m.Container.Name, err))
			continue
		}
		killed = append(killed, m.Container.Name)
	}
	if killed != nil {
		cause = fmt.Errorf("%w; the containers restored before it are stopped again: %s", cause, strings.Join(killed, ", "))
	}
	return errors.Join(append([]error{cause}, errs...)...)
}

// DryRunAll is DryRun of several, in the order in which they would be restored.
func (r *Restorer) DryRunAll(ctx context.Context, members []Member, o Options) ([]Plan, error) {
	members, err := Ordered(members)
	if err != nil {
		return nil, err
	}
	var plans []Plan
	for _, m := range members {
		p, err := r.DryRun(ctx, m.Container, m.Record, o)
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	return plans, nil
}
