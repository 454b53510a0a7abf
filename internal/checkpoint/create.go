// Package checkpoint makes checkpoints of containers and brings them back: it
// puts the dump, the record and Docker's restore in their order.
package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
)

type dumper interface {
	Version() (criu.Version, error)
	DirtyTracking(context.Context) error
	Dump(context.Context, criu.Request) (criu.Result, error)
	PreDump(context.Context, criu.Request) (criu.Result, error)
}

type engine interface {
	Inspect(context.Context, string) (docker.Container, error)
	Daemon(context.Context) (docker.Daemon, error)
}

// Creator makes checkpoints.
type Creator struct {
	Dumper  dumper
	Docker  engine
	Store   metadata.Store
	Policy  mounts.Policy
	Version string // of this program, for the record
}

// Request is one checkpoint to make.
type Request struct {
	Container docker.Container
	Name      string // empty: the next free one
	Options   criu.Options
	// Parent is a checkpoint of the container to continue, empty for none.
	Parent string
	// Rounds, if set, are made first, while the container runs.
	Rounds *criu.Policy
	// RoundsOnly leaves the rounds to a later checkpoint, without a final dump.
	RoundsOnly bool
	// Progress, if set, hears of every round.
	Progress func(criu.Round, criu.Stop)
}

func (r Request) tracked() bool { return r.Rounds != nil || r.Parent != "" }

// Create dumps a running container into the store. Everything that can be
// refused is refused before the container is touched. After an error the
// store lists nothing new and the container is as before, or as the error
// says; the log of a failed dump is kept (see metadata.Store.Log).
func (m *Creator) Create(ctx context.Context, req Request) (metadata.Record, error) {
	none, c := metadata.Record{}, req.Container
	if err := ready(c, req.Options); err != nil {
		return none, err
	}
	plan := m.Policy.Plan(c.Mounts, c.MountFacts)
	if err := plan.Refused(); err != nil {
		return none, err
	}
	version, err := m.Dumper.Version()
	if err != nil {
		return none, err
	}
	if req.tracked() {
		if err := m.Dumper.DirtyTracking(ctx); err != nil {
			return none, err
		}
	}
	unlock, err := m.Store.Lock(c.Name)
	if err != nil {
		return none, err
	}
	defer unlock()
	job, err := m.begin(req)
	if err != nil {
		return none, err
	}
	asked := m.askDaemon(ctx)
	began := time.Now().UTC()
	result, err := m.dump(ctx, job, req, plan)
	if errors.Is(err, errConnected) {
		job.options.NetworkLock = lockIptables
		if err = job.draft.Empty(); err == nil {
			result, err = m.dump(ctx, job, req, plan)
		}
	}
	if err != nil {
		var failed *criu.DumpError
		if errors.As(err, &failed) {
			job.draft.Discard(criu.LogFile, failed.Log)
		} else {
			job.draft.Discard("", "")
		}
		return none, m.stateAfter(ctx, c, err)
	}
	if !req.Options.LeaveRunning {
		m.awaitStop(ctx, c.ID)
	}
	record := m.record(c, plan, <-asked)
	record.Checkpoint, record.Kind, record.Parent, record.TrackID = job.name, job.kind, req.Parent, job.trackID
	record.Versions.CRIU, record.Timestamp = version.String(), began
	record.Options, record.Stats = metadata.Options(job.options), metadata.Stats(result.Stats)
	if req.Rounds != nil {
		record.PreDump = preDump(job.policy, result)
	}
	err = publish(job.draft, &record)
	switch {
	case err == nil:
		return record, nil
	case req.Options.LeaveRunning:
		job.draft.Discard("", "")
		return none, err
	default:
		// The container has ended: these images are all there is of it.
		return none, fmt.Errorf("the container is stopped and its images are kept in %s: %w", job.draft.Keep(), err)
	}
}

// job is a checkpoint under way.
type job struct {
	name, kind, trackID string
	draft               *metadata.Draft
	parentDir           string // relative to the draft's
	options             criu.Options
	lockChosen          bool // by LockAuto
	policy              criu.Policy
}

// LockAuto holds packets off by iptables if the container has connections, and
// else not at all: the two runs of iptables-restore, with the container frozen,
// take as long as the rest of a small dump.
const LockAuto = "auto"

const (
	lockSkip     = "skip"
	lockIptables = "iptables"
)

// errConnected ends a dump without a network lock that met a connection, made
// since the container was inspected.
var errConnected = errors.New("a TCP connection was made meanwhile")

// hasStreams says whether the images hold an established connection: CRIU
// writes a tcp-stream image for each.
func hasStreams(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "tcp-stream-*"))
	return err != nil || found != nil
}

// begin settles what the store has to say: name, parent, a place for the images.
func (m *Creator) begin(req Request) (job, error) {
	j := job{kind: metadata.KindCheckpoint, options: req.Options}
	if req.RoundsOnly {
		j.kind = metadata.KindPreDump
	}
	if req.Parent != "" {
		parent, err := m.Store.Get(req.Container.Name, req.Parent)
		if err == nil {
			err = continues(req.Container, parent, m.Store.Tracked(req.Container.Name))
		}
		if err != nil {
			return j, err
		}
		j.parentDir = filepath.Join("..", req.Parent, parent.Last())
	}
	if req.Rounds != nil {
		j.policy = *req.Rounds
		// Best known from the container's last checkpoint, if it has one.
		if last, err := m.Store.Find(req.Container.Name, ""); err == nil {
			j.policy.Fixed = criu.Stats(last.Stats).Fixed()
		}
	}
	if j.options.NetworkLock == LockAuto {
		j.lockChosen, j.options.NetworkLock = true, lockIptables
		if _, own := namespaces(req.Container); own && !req.Container.Connected {
			j.options.NetworkLock = lockSkip
		}
	}
	var err error
	if j.name, err = m.Store.Free(req.Container.Name, req.Name); err != nil {
		return j, err
	}
	if j.draft, err = m.Store.Begin(req.Container.Name, j.name); err != nil || !req.tracked() {
		return j, err
	}
	// From here on the kernel counts for this chain, even if it fails.
	j.trackID, j.options.TrackMem = rand.Text(), true
	return j, m.Store.Track(req.Container.Name, j.trackID)
}

// continues refuses a parent whose memory changes were not counted up to now:
// the images would silently lack pages.
func continues(c docker.Container, parent metadata.Record, tracked string) error {
	why := ""
	switch {
	case parent.TrackID == "":
		why = "it was made without tracking memory changes"
	case parent.ID != c.ID || parent.PID != c.PID || !parent.StartedAt.Equal(c.StartedAt):
		why = "the container was started again since"
	case parent.TrackID != tracked:
		why = "another one tracked memory changes since"
	default:
		return nil
	}
	return &docker.StateError{Name: c.Name, Is: "cannot continue " + parent.Checkpoint + ": " + why, Hint: "begin a new chain: checkpointctl pre-dump " + c.Name}
}

// dump writes the images. The container runs again afterwards, or has been
// killed if that was asked for and all went well.
func (m *Creator) dump(ctx context.Context, j job, req Request, plan mounts.Plan) (criu.Result, error) {
	c := req.Container
	ns, emptyNet := namespaces(c)
	r := criu.Request{
		PID: c.PID, Root: c.RootFS, ImageDir: j.draft.Dir, External: plan.External(),
		ExternalNS: ns, EmptyNetNS: emptyNet, Parent: j.parentDir, Options: j.options,
	}
	if req.Rounds != nil {
		r.Rounds = &criu.Rounds{Policy: j.policy, Before: m.stillRuns(c), Done: req.Progress}
	}
	if req.RoundsOnly {
		return m.Dumper.PreDump(ctx, r)
	}
	if err := writeDescriptors(j.draft.Dir, c.PID); err != nil {
		return criu.Result{}, err
	}
	r.PostDump = func() error {
		if r.Options.NetworkLock == lockSkip && j.lockChosen && hasStreams(j.draft.Dir) {
			return errConnected
		}
		if req.Options.LeaveRunning {
			return nil
		}
		// The last moment at which CRIU can still resume the container.
		return j.draft.Sync()
	}
	return m.Dumper.Dump(ctx, r)
}

// stillRuns asks, between rounds, whether the container is what it was: CRIU
// would wait for a paused one in vain.
func (m *Creator) stillRuns(c docker.Container) func(context.Context) error {
	return func(ctx context.Context) error {
		now, err := m.Docker.Inspect(ctx, c.ID)
		if err == nil && (now.State != "running" || now.PID != c.PID) {
			err = &docker.StateError{Name: c.Name, Is: "was running when its rounds began and is " + now.State + " now", Hint: "docker ps -a shows its state"}
		}
		return err
	}
}

// stateAfter adds to the error of a dump how the container is now.
func (m *Creator) stateAfter(ctx context.Context, c docker.Container, err error) error {
	now, inspectErr := m.Docker.Inspect(context.WithoutCancel(ctx), c.ID)
	switch {
	case inspectErr != nil:
		return fmt.Errorf("%w; the container's state is unknown: %w", err, inspectErr)
	case now.State == "running" && now.PID == c.PID:
		return fmt.Errorf("%w; the container runs on", err)
	default:
		return fmt.Errorf("%w; the container is %s", err, now.State)
	}
}

// preDump is the record of rounds.
func preDump(p criu.Policy, res criu.Result) *metadata.PreDump {
	out := &metadata.PreDump{
		MaxDowntimeUS: p.MaxDowntime.Microseconds(), MinRounds: p.MinRounds, MaxRounds: p.MaxRounds, MaxTimeUS: p.MaxTime.Microseconds(), MinPages: p.MinPages,
		Stop: string(res.Stop), ExpectedUS: p.Expect(res.Rounds).Microseconds(), MeasuredUS: res.Stats.Downtime().Microseconds(),
		Explanation: p.Explain(res.Stop, p.Expect(res.Rounds)),
	}
	for _, r := range res.Rounds {
		out.Rounds = append(out.Rounds, metadata.Round{
			Number: r.Number, Stats: metadata.Stats(r.Stats), TookUS: r.Took.Microseconds(), ExpectedUS: r.Expected.Microseconds(),
		})
	}
	return out
}

// record gathers what a reader and a restore need to know of the container
// and this host.
func (m *Creator) record(c docker.Container, plan mounts.Plan, d docker.Daemon) metadata.Record {
	h := thisHost()
	return metadata.Record{
		SchemaVersion: metadata.SchemaVersion, Container: Describe(c, plan),
		Architecture: h.architecture, CPUFeatures: h.cpuFeatures,
		Versions: metadata.Versions{Checkpointctl: m.Version, Kernel: h.kernel, Docker: d.Version, Runc: d.Runc},
	}
}

// askDaemon asks while CRIU dumps. Versions are for a reader: a daemon that
// does not answer costs them, not the checkpoint.
func (m *Creator) askDaemon(ctx context.Context) <-chan docker.Daemon {
	answer := make(chan docker.Daemon, 1)
	go func() {
		d, _ := m.Docker.Daemon(ctx)
		answer <- d
	}()
	return answer
}

func publish(draft *metadata.Draft, r *metadata.Record) (err error) {
	if r.Files, r.SizeBytes, err = metadata.Hash(draft.Dir); err != nil {
		return err
	}
	return draft.Publish(*r)
}

// awaitStop gives Docker the time to see that the container has ended, so
// that a restore right after is not refused.
func (m *Creator) awaitStop(ctx context.Context, id string) {
	for range 500 {
		if c, err := m.Docker.Inspect(ctx, id); err == nil && c.State != "running" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
