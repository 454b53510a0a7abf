// Package checkpoint makes checkpoints of containers and brings them back: it
// puts the dump, the record and Docker's restore in their order.
package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/linux/sysctl"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/preflight"
	"github.com/checkpointctl/checkpointctl/internal/recovery"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

type dumper interface {
	Version() (criu.Version, error)
	DirtyTracking(context.Context) error
	Dump(context.Context, criu.Request) (criu.Result, error)
	PreDump(context.Context, criu.Request) (criu.Result, error)
}

type engine interface {
	Versions(context.Context) (docker.Daemon, error)
	ImageLayers(ctx context.Context, image string) ([]string, error)
	Inspect(context.Context, string) (docker.Container, error)
	Kill(context.Context, string) error
}

type recoverer interface {
	BeforeDump(context.Context, docker.Container) error
	AfterDump(context.Context, docker.Container) ([]recovery.Finding, error)
}

// Creator makes checkpoints.
type Creator struct {
	Dumper   dumper
	Docker   engine
	Store    metadata.Store
	Recovery recoverer
	Policy   mounts.Policy
	Version  string // of this program, for the record
	// MadeBy is who asked, for the record.
	MadeBy *metadata.Maker
	// Facts, if set, gathers what the rules of preflight look at; see Facts.
	Facts func(docker.Container, mounts.Plan) (preflight.Facts, error)
	// Volumes, if set, returns what volumes a container mounts; without it none is
	// taken.
	Volumes func(ctx context.Context, id string) ([]docker.Volume, error)
	// Warned, if set, hears of what a checkpoint cannot bring back.
	Warned func(string)
	// Happened, if set, hears what checkpoints come to, several at once.
	Happened func(Event)

	sysctls sysctl.Reader
	// For tests: nil is what the container has.
	freezer   func(docker.Container) (freezer, error)
	connected func(docker.Container) bool
}

// Request is one checkpoint to make.
type Request struct {
	Container docker.Container
	Name      string // empty: the next free one
	Comment   string // for the record
	Options   criu.Options
	// Parent is a checkpoint of the container to continue, empty for none.
	Parent string
	// Rounds, if set, are made first, while the container runs.
	Rounds *criu.Policy
	// RoundsOnly leaves the rounds to a later checkpoint, without a final dump.
	RoundsOnly bool
	// Seal, if set, encrypts the images to these recipients; they pass through
	// StageDir, or through memory when it is empty. It goes with no Parent.
	Seal     *seal.Recipients
	StageDir string
	// NoSync leaves it to the kernel when the checkpoint reaches the disk, unless it
	// kills its container.
	NoSync bool
	// Files are taken with the memory.
	Files Files
	// Progress, if set, hears of the bytes that are read for the checksums, after the
	// dump, and of how many there are, from several goroutines at once.
	Progress func(done, total int64)

	member  *member  // of a group, nil for one alone
	watched []string // paths of files that inotify or fanotify watches
}

func (r Request) tracked() bool { return r.Rounds != nil || r.Parent != "" }

// Create dumps a running container into the store. Everything that can be
// refused is refused before the container is touched. After an error the
// store lists nothing new and the container is as before, or as the error
// says; the log of a failed dump is kept (see metadata.Store.Log).
func (m *Creator) Create(ctx context.Context, req Request) (metadata.Record, error) {
	t, err := m.take(ctx, req)
	defer t.unlock()
	if err != nil {
		return metadata.Record{}, m.stateAfter(ctx, req.Container, err)
	}
	return t.record, t.publish(ctx, &t.record)
}

// taken is a checkpoint that is whole and not yet published.
type taken struct {
	job
	record metadata.Record
	unlock func()
}

// take does all that comes before publishing. The caller unlocks, also after an
// error.
func (m *Creator) take(ctx context.Context, req Request) (t taken, err error) {
	c := req.Container
	t.unlock = func() {}
	plan, err := m.refuse(ctx, req)
	if err != nil {
		return t, err
	}
	unlock, err := m.Store.Lock(c.Name)
	if err != nil {
		return t, err
	}
	t.unlock = unlock
	if err := m.Recovery.BeforeDump(ctx, c); err != nil {
		return t, err
	}
	if err := m.preflight(&req, plan); err != nil {
		return t, err
	}
	trees, warnings, err := m.trees(ctx, req)
	if err != nil {
		return t, err
	}
	m.warn(warnings)
	t.job, err = m.begin(ctx, req)
	t.files.trees = trees
	t.unlock = func() {
		if t.asideDone != nil { // it may be at work in the container
			<-t.asideDone
		}
		t.removeStage()
		unlock()
	}
	if err != nil {
		return t, err
	}
	m.happened(Event{Container: c.Name, Checkpoint: t.name, State: StateRunning, Images: t.images})
	if err := m.beginFiles(ctx, &t.job, req); err != nil {
		t.discard(err)
		return t, err
	}
	result, err := m.dumpAgain(ctx, &t.job, req, plan)
	if err != nil && t.ended {
		m.warn([]string{fmt.Sprintf("container %s: CRIU failed after its images were complete: %v", c.Name, err)})
	} else if err != nil {
		t.discard(err)
		return t, &dumpFailed{err}
	}
	m.dumped(req, t.name, time.Duration(result.Stats.FrozenUS)*time.Microsecond)
	if n := criu.LostEvents(t.images); n > 0 {
		m.warn([]string{fmt.Sprintf("container %s: the checkpoint does not include the unread events of %s", c.Name, count(n, "inotify or fanotify descriptor", "inotify or fanotify descriptors"))})
	}
	t.asked = m.askDaemon(ctx, c.ImageDigest)
	if !req.Options.LeaveRunning {
		m.awaitStop(ctx, c.ID)
	}
	t.record = m.record(req, t.job, plan)
	if req.Options.LeaveRunning && !req.RoundsOnly {
		t.asideDone = m.aside(ctx, t.job, c)
	}
	t.record.Stats = metadata.Stats(result.Stats)
	if req.Rounds != nil {
		t.record.PreDump = preDump(t.policy, result)
	}
	return t, nil
}

// dumpFailed is an error after the container was touched.
type dumpFailed struct{ error }

func (e *dumpFailed) Unwrap() error { return e.error }

// refuse returns the mount plan, or why the container cannot be dumped.
func (m *Creator) refuse(ctx context.Context, req Request) (mounts.Plan, error) {
	if err := ready(req.Container, req.Options); err != nil {
		return mounts.Plan{}, err
	}
	plan := m.Policy.Plan(req.Container.Mounts, req.Container.MountFacts)
	if err := plan.Refused(); err != nil {
		return plan, err
	}
	if _, err := m.Dumper.Version(); err != nil {
		return plan, err
	}
	if _, _, err := m.trees(ctx, req); err != nil {
		return plan, err
	}
	if req.tracked() {
		return plan, m.Dumper.DirtyTracking(ctx)
	}
	return plan, nil
}

// dump writes the images. The container runs again afterwards, or has been
// killed if that was asked for and all went well.
func (m *Creator) dump(ctx context.Context, j *job, req Request, plan mounts.Plan) (criu.Result, error) {
	c := req.Container
	ns, emptyNet := namespaces(c)
	yard, err := linux.CgroupYard()
	if err != nil {
		return criu.Result{}, err
	}
	r := criu.Request{
		PID: c.PID, Root: c.RootFS, ImageDir: j.images, External: plan.External(),
		ExternalNS: ns, EmptyNetNS: emptyNet, CgroupYard: yard, EmptyTmpfs: emptyTmpfs(c, plan), Parent: j.parentDir, Options: j.options, Watched: req.watched,
		// Its tasks would run at once, with their sockets in repair mode. The
		// recovery thaws them last.
		BeforeEnd: func() {
			if f, err := c.Freezer(); err == nil {
				_ = f.Freeze()
			}
		},
	}
	if req.Rounds != nil {
		r.Rounds = &criu.Rounds{Policy: j.policy, Before: m.stillRuns(c), Done: func(round criu.Round, stop criu.Stop) {
			m.happened(Event{Container: c.Name, Checkpoint: j.name, State: StateRound, Took: round.Took, Round: &round, Stop: stop})
		}}
	}
	if req.RoundsOnly {
		return m.Dumper.PreDump(ctx, r)
	}
	if err := errors.Join(writeDescriptors(j.images, c.PID), writeCreation(j.images, c.Creation), keepSpec(j.images, c.BundlePath)); err != nil {
		return criu.Result{}, err
	}
	r.PostDump = func(frozen time.Time) error {
		j.frozen = frozen
		if r.Options.NetworkLock == lockSkip && j.lockChosen && hasStreams(j.images) {
			return errConnected
		}
		if sharesIPC(c) {
			if err := criu.DropSysV(j.images); err != nil {
				return err
			}
		}
		if err := j.files.wait(ctx); err != nil {
			return err
		}
		if req.Options.LeaveRunning {
			return noLinks(j.images, plan)
		}
		// The last moment at which CRIU can still resume the container. From
		// here on these images may be all there is of it. Docker removes its
		// connections' entries when it sees the end.
		m.warn(j.network.readConnections(c, hasStreams(j.images)))
		m.warn(j.leftOut.read(c, hasInet(j.images)))
		err := j.files.write(ctx, j.draft.Dir, j.sealer)
		if err == nil {
			err = j.seal()
		}
		if err == nil {
			err = j.draft.Complete(m.record(req, *j, plan))
		}
		if err == nil && req.member != nil {
			err = req.member.commit(ctx)
		}
		if err == nil {
			m.warn(j.network.hold(c))
		}
		if err == nil && restarts(c) {
			err = m.stop(ctx, c)
			j.ended = err == nil
		}
		return err // then the recovery releases what is held
	}
	r.Frozen = func() {
		if !req.Options.LinkRemap { // by which CRIU makes files in the dump, to be taken, too
			j.files.finishAside(ctx)
		}
		m.happened(Event{Container: c.Name, Checkpoint: j.name, State: StateFrozen})
	}
	ready := m.beforeFreeze(j.network, req)
	r.Ready = func(ctx context.Context) error {
		if err := j.files.update(ctx); err != nil {
			return err
		}
		return ready(ctx)
	}
	if req.member != nil {
		r.FreezeCgroup = req.member.cgroup.Dir()
	}
	return m.Dumper.Dump(ctx, r)
}

// stillRuns asks, between rounds, whether the container is what it was: CRIU
// would wait for a paused one in vain.
func (m *Creator) stillRuns(c docker.Container) func(context.Context) error {
	return func(ctx context.Context) error {
		now, err := m.Docker.Inspect(ctx, c.ID)
		if err == nil && (now.State != "running" || now.PID != c.PID) {
			err = &docker.StateError{Name: c.Name, Is: "was running when its checkpoint began and is " + now.State + " now", Hint: "docker ps -a shows its state"}
		}
		return err
	}
}

// preDump is the record of rounds.
func preDump(p criu.Policy, res criu.Result) *metadata.PreDump {
	expected := p.Expect(res.Rounds)
	out := &metadata.PreDump{
		MaxDowntimeUS: p.MaxDowntime.Microseconds(), MinRounds: p.MinRounds, MaxRounds: p.MaxRounds, MaxTimeUS: p.MaxTime.Microseconds(), MinPages: p.MinPages,
		Stop: string(res.Stop), ExpectedUS: expected.Microseconds(), MeasuredUS: res.Stats.Downtime().Microseconds(),
		Explanation: p.Explain(res.Stop, expected),
	}
	for _, r := range res.Rounds {
		out.Rounds = append(out.Rounds, metadata.Round{
			Number: r.Number, Stats: metadata.Stats(r.Stats), TookUS: r.Took.Microseconds(), ExpectedUS: r.Expected.Microseconds(),
		})
	}
	return out
}

// record gathers what a reader and a restore need to know of the container,
// the dump and this host.
func (m *Creator) record(req Request, j job, plan mounts.Plan) metadata.Record {
	h := linux.ThisHost()
	version, _ := m.Dumper.Version() // refuse has seen it
	r := metadata.Record{
		SchemaVersion: metadata.SchemaVersion, Checkpoint: j.name, Kind: j.kind, Parent: req.Parent, TrackID: j.trackID,
		Comment: req.Comment, MadeBy: m.MadeBy,
		Container: Describe(req.Container, plan), Timestamp: j.began, FrozenAt: j.frozen, Options: metadata.Options(j.options),
		Architecture: h.Architecture, CPUFeatures: h.CPUFeatures,
		Versions: metadata.Versions{
			Checkpointctl: m.Version, CRIU: version.String(), Kernel: h.Kernel,
		},
	}
	r.Parts, r.Binds = j.files.parts(), binds(req.Container)
	if req.Seal != nil {
		r.Encrypted, r.Recipients = true, req.Seal.Names
	}
	j.network.into(&r)
	j.leftOut.into(&r)
	return r
}

// answers are what the daemon is asked for a record.
type answers struct {
	docker.Daemon
	imageLayers []string
}

// askDaemon asks while the images are written through: the programs that Docker
// runs for an answer would take time from CRIU's. Versions are for a reader, and an
// image without layers is compared by its digest: a daemon that does not answer
// costs them, not the checkpoint.
func (m *Creator) askDaemon(ctx context.Context, image string) <-chan answers {
	answer, daemon := make(chan answers, 1), m.Docker
	go func() {
		var a answers
		a.Daemon, _ = daemon.Versions(ctx)
		a.imageLayers, _ = daemon.ImageLayers(ctx, image)
		answer <- a
	}()
	return answer
}
