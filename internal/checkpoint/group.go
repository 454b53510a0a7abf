package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// GroupRequest are containers to dump as they are at one moment.
type GroupRequest struct {
	Batch   string // for the records
	Members []Request
	Limit   int // so many are dumped at once
}

// CreateGroup freezes all members before it dumps the first one. All their
// checkpoints are published, or none: then every member has an error, and runs.
func (m *Creator) CreateGroup(ctx context.Context, req GroupRequest) ([]metadata.Record, []error) {
	g, errs := m.gather(ctx, req)
	if errors.Join(errs...) != nil {
		return nil, Blame(g.info.Members, errs)
	}
	run, runCtx := errgroup.WithContext(ctx)
	for i, member := range g.members {
		run.Go(func() error {
			errs[i] = member.take(runCtx)
			return errs[i] // ends the others
		})
	}
	_ = run.Wait()
	g.thawAll(errs)
	for _, member := range g.members {
		defer member.taken.unlock()
	}
	if errors.Join(errs...) == nil {
		g.publish(ctx, errs)
	} else {
		g.discard(errs)
	}
	if errors.Join(errs...) != nil {
		for i, member := range g.members {
			errs[i] = m.stateAfter(ctx, member.req.Container, errs[i])
		}
		return nil, Blame(g.info.Members, errs)
	}
	records := make([]metadata.Record, len(g.members))
	for i, member := range g.members {
		records[i] = member.taken.record
	}
	return records, errs
}

// group is one CreateGroup.
type group struct {
	creator *Creator
	info    metadata.Group
	members []*member
	limit   int
	ready   meeting       // the rounds of all are over; it ends when all are frozen
	whole   meeting       // the images of all are complete
	slots   chan struct{} // a dump takes one
	mu      sync.Mutex    // who may be thawed
}

type member struct {
	group     *group
	req       Request
	cgroup    freezer
	taken     taken
	noted     bool // in the store, as frozen
	held      bool // by us
	connected bool // when it was frozen
	shares    bool // files that are taken, with another member
	dumped    bool
	released  bool // it was decided to thaw it
	frozen    time.Time
	thawed    time.Time // or ended
}

// gather refuses what can be refused before any container is touched.
func (m *Creator) gather(ctx context.Context, req GroupRequest) (*group, []error) {
	n := len(req.Members)
	g := &group{
		creator: m, limit: max(req.Limit, 1), ready: newMeeting(n), whole: newMeeting(n),
		info: metadata.Group{ID: rand.Text(), Batch: req.Batch},
	}
	slots, errs := g.limit, make([]error, n)
	for _, r := range req.Members {
		member := &member{group: g, req: r}
		member.req.member, member.taken.unlock = member, func() {}
		g.members = append(g.members, member)
		g.info.Members = append(g.info.Members, r.Container.Name)
		if !r.Options.LeaveRunning {
			slots = n // see commit
		}
	}
	for i, member := range g.members { // which know each other now
		if _, errs[i] = m.refuse(ctx, member.req); errs[i] == nil {
			member.cgroup, errs[i] = m.freezerOf(member.req.Container)
		}
	}
	g.slots = make(chan struct{}, slots)
	return g, errs
}

// take dumps one member. A panic becomes an error, so that the others are
// undone before all are thawed: left alone, CRIU would freeze its tasks again.
func (m *member) take(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if m.taken, err = m.group.creator.take(ctx, m.req); err != nil {
		return err
	}
	<-m.group.slots
	if m.req.Options.LeaveRunning {
		m.group.isWhole()
	}
	m.group.release(m)
	return nil
}

// freeze runs when the member's rounds are over. It returns when all members
// are frozen and it is this one's turn to be dumped.
func (m *member) freeze(ctx context.Context) error {
	g := m.group
	if g.ready.arrive() {
		if err := g.freezeAll(ctx); err != nil {
			return err
		}
		g.ready.end()
	}
	if err := g.ready.await(ctx); err != nil {
		return err
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commit holds back CRIU, which is about to kill the member, until the images
// of all others are complete, too.
func (m *member) commit(ctx context.Context) error {
	m.group.isWhole()
	return m.group.whole.await(ctx)
}

func (g *group) isWhole() {
	if g.whole.arrive() {
		g.whole.end()
	}
}

func (g *group) each(do func(*member) error) error {
	var all errgroup.Group
	for _, m := range g.members {
		all.Go(func() error { return do(m) })
	}
	return all.Wait()
}

// bound says whether others of the group see what the member does when it runs
// on.
func (m *member) bound() bool { return m.connected || m.shares }

// release thaws the members for which nothing speaks against it any more, now
// that this one is dumped. A peer of connections waits until the last of them
// is dumped: what it sent after its own dump, the kernel of a frozen one would
// take, and in the checkpoints the two ends would not agree.
func (g *group) release(dumped *member) {
	g.mu.Lock()
	dumped.dumped = true
	var free []*member
	connectedLeft := false
	for _, m := range g.members {
		connectedLeft = connectedLeft || m.bound() && !m.dumped
	}
	for _, m := range g.members {
		if m.dumped && !m.released && (!m.bound() || !connectedLeft) {
			m.released = true
			free = append(free, m)
		}
	}
	g.mu.Unlock()
	for _, m := range free {
		_ = m.thaw() // thawAll tries again
	}
}

// thawAll thaws whatever is not thawed yet, and gives an error to those that
// cannot be.
func (g *group) thawAll(errs []error) {
	var all sync.WaitGroup
	for i, m := range g.members {
		all.Add(1)
		go func() {
			defer all.Done()
			errs[i] = errors.Join(errs[i], m.thaw())
		}()
	}
	all.Wait()
}

// publish lets all checkpoints appear, or none of the containers that run on.
func (g *group) publish(ctx context.Context, errs []error) {
	var all errgroup.Group
	all.SetLimit(g.limit)
	for i, m := range g.members {
		info := g.info
		info.FrozenUS = m.thawed.Sub(m.frozen).Microseconds()
		m.taken.record.Group = &info
		all.Go(func() error {
			errs[i] = m.taken.publish(ctx, &m.taken.record)
			return nil
		})
	}
	_ = all.Wait()
	if errors.Join(errs...) == nil {
		return
	}
	for i, m := range g.members {
		if errs[i] == nil && m.req.Options.LeaveRunning {
			errs[i] = g.creator.Store.Remove(m.req.Container.Name, m.taken.name)
		}
	}
}

// discard drops the images of members that were dumped while another failed.
func (g *group) discard(errs []error) {
	for i, m := range g.members {
		switch {
		case m.taken.draft == nil || !m.dumped:
		case m.req.Options.LeaveRunning:
			m.taken.discard(nil)
		default: // CRIU failed on another at the very last
			errs[i] = errors.Join(errs[i], fmt.Errorf("the container is stopped and its images are kept in %s", m.taken.draft.Keep()))
		}
	}
}

// Blame gives the errors of those that failed to those that were given up.
func Blame(names []string, errs []error) []error {
	var cause error
	for i, err := range errs {
		if err != nil && (cause == nil || errors.Is(cause, context.Canceled)) {
			cause = fmt.Errorf("not taken, since %s of its group was not: %w", names[i], err)
		}
	}
	for i, err := range errs {
		if err == nil || errors.Is(err, context.Canceled) {
			errs[i] = cause
		}
	}
	return errs
}

// meeting lets a number of members wait for each other.
type meeting struct {
	left  *atomic.Int64
	ended chan struct{}
}

func newMeeting(n int) meeting {
	m := meeting{left: &atomic.Int64{}, ended: make(chan struct{})}
	m.left.Store(int64(n))
	return m
}

// arrive says whether this one is the last.
func (m meeting) arrive() bool { return m.left.Add(-1) == 0 }

func (m meeting) end() { close(m.ended) }

func (m meeting) await(ctx context.Context) error {
	select {
	case <-m.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
