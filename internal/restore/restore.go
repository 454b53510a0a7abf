// Package restore brings containers back from checkpoints, by an ordinary
// `docker start`.
package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux/hold"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// ErrIncompatible is a checkpoint that this container or host cannot take.
var ErrIncompatible = errors.New("checkpoint does not fit")

// Error is a restore that failed after Docker was asked to start the container.
type Error struct {
	Err   error
	State string // of the container now, as a message says it
	Log   []byte // of CRIU; nil when it did not come to that
}

func (e *Error) Error() string { return fmt.Sprintf("restore failed, %s: %v", e.State, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

type engine interface {
	Inspect(context.Context, string) (docker.Container, error)
	Daemon(context.Context) (docker.Daemon, error)
	Start(context.Context, string) error
	Kill(context.Context, string) error
	Volumes(ctx context.Context, id string) ([]docker.Volume, error)
	ImageLayers(ctx context.Context, image string) ([]string, error)
	FindLayers(context.Context, docker.Container) (docker.Container, error)
	Socket() string
}

// Restorer brings checkpoints back.
type Restorer struct {
	Docker engine
	Store  metadata.Store
	Opener checkpoint.Opener // of encrypted checkpoints
	// CRIU and StandIn are the paths of the programs that restore.
	CRIU, StandIn string
	// NoVerify compares sizes and links with the record, but reads nothing.
	NoVerify bool
	// canBeLazy says that the kernel and CRIU were asked before.
	canBeLazy bool
	// AllowPrivileges lets an imported checkpoint have what its container is not
	// allowed.
	AllowPrivileges bool
	// Files is what to do when files changed since the checkpoint: RefuseFiles, which
	// is also the empty string, KeepFiles or RollbackFiles.
	Files string
	// KeepChanged, if set, is a directory that gets tars of what a rollback replaced.
	KeepChanged string
	// Warn, if set, hears of what does not stop the restore.
	Warn func(string)
	// Happened, if set, hears what a restore comes to.
	Happened func(Event)
	// Waiting, if set, is called when the context ends while Docker restores,
	// which is waited for all the same.
	Waiting func()
}

// Restore verifies the checkpoint, lets Docker start the stopped container from
// it, and keeps CRIU's log in it. The container may be another one than the
// checkpoint's. After an error the container is stopped, as before, unless the
// error says otherwise; it is a *changes.RefusedError if files do not go with the
// memory any more, and an *AddressError if it will not have an address that is
// needed. When Docker has been asked, its end is waited for even if the context
// ends.
func (r *Restorer) Restore(ctx context.Context, c docker.Container, rec metadata.Record, o Options) error {
	unlock, err := r.Store.Lock(rec.Name)
	if err != nil {
		return err
	}
	defer unlock()
	ready, err := r.prepare(ctx, c, rec, o)
	if err != nil {
		return err
	}
	defer ready.close()
	back, err := r.rollBack(ctx, c, ready.from, ready.fills)
	if err != nil {
		return err
	}
	if err := r.start(ctx, c, ready.plan, ready.from); err != nil {
		return errors.Join(err, back.undo())
	}
	return back.finish(context.WithoutCancel(ctx))
}

// DryRun returns the plan of a restore, or the error with which it would refuse.
// Of the checkpoint's files only sizes and links are verified, and nothing is
// locked or changed; an encrypted one is opened into memory for the while.
func (r *Restorer) DryRun(ctx context.Context, c docker.Container, rec metadata.Record, o Options) (Plan, error) {
	quick := *r
	quick.NoVerify = true
	ready, err := quick.prepare(ctx, c, rec, o)
	if err != nil {
		return Plan{}, err
	}
	ready.close()
	return ready.plan, nil
}

// prepared is a restore of which all is known before Docker is asked.
type prepared struct {
	plan  Plan
	from  source
	fills []fill
	stage *metadata.Stage // of an encrypted checkpoint
}

func (p prepared) close() {
	if p.stage != nil {
		_ = p.stage.Remove()
	}
}

// prepare plans, verifies and refuses. It changes nothing.
func (r *Restorer) prepare(ctx context.Context, c docker.Container, rec metadata.Record, o Options) (_ prepared, err error) {
	var p prepared
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.plan, err = r.plan(ctx, c, rec, o, func() error { return r.verifyChain(ctx, rec) }); err != nil {
		return p, err
	}
	if err := r.open(ctx, &p, rec); err != nil {
		return p, err
	}
	if rec.Encrypted {
		// What the images hold is known only now.
		p.plan.decide(c, p.from.Record, o)
	}
	if err := hostFitsImages(p.from); err != nil {
		return p, err
	}
	if err := addressesFit(c, p.from, o); err != nil {
		return p, err
	}
	if err := r.resourcesFit(ctx, c, p.from, o); err != nil {
		return p, err
	}
	if err := r.contained(ctx, c, p.from); err != nil {
		return p, err
	}
	for _, d := range p.plan.Differences {
		r.warn(d)
	}
	if p.fills, err = r.files(ctx, c, p.from); err != nil {
		return p, err
	}
	for _, f := range p.fills {
		p.plan.RollBack = append(p.plan.RollBack, f.part.Destination)
	}
	if p.fills != nil && !rec.IsOf(c.ID) {
		r.warn(fmt.Sprintf("%s gets the files of %s/%s in %s", c.Name, rec.Name, rec.Checkpoint, strings.Join(p.plan.RollBack, ", ")))
	}
	return p, nil
}

// open finds the images of a checkpoint that was verified.
func (r *Restorer) open(ctx context.Context, p *prepared, rec metadata.Record) error {
	dir := r.Store.Path(rec.Name, rec.Checkpoint)
	p.from = source{Record: rec, dir: dir, open: openPlain(dir), keepLog: func(log []byte) error {
		return os.WriteFile(filepath.Join(dir, runtime.RestoreLog), log, 0o600)
	}}
	if !rec.Encrypted {
		return nil
	}
	stage, sealed, plain, err := r.Opener.Open(ctx, r.Store, rec)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", rec.Name, rec.Checkpoint, err)
	}
	p.stage = stage
	p.from = source{
		Record: plain, dir: stage.Dir, open: sealed.Open, keepLog: func(log []byte) error { return sealed.Add(runtime.RestoreLog, log) },
	}
	if problems := checkpoint.ImageProblems(stage.Dir, plain); problems != nil && !r.NoVerify {
		return rec.Damaged(problems...)
	}
	return nil
}

func (r *Restorer) warn(text string) {
	if r.Warn != nil {
		r.Warn(text)
	}
}

// source is where the images are, as CRIU wrote them, and what to do with the
// log of a restore from them.
type source struct {
	metadata.Record
	dir     string
	open    func(file string) (io.ReadCloser, error)
	keepLog func([]byte) error
}

// start makes the restore pending and starts the container.
func (r *Restorer) start(ctx context.Context, c docker.Container, plan Plan, from source) error {
	dir, err := filepath.Abs(from.dir)
	if err != nil {
		return err
	}
	r.happened(from.Record, StateRestoring, memory(c, from, plan.cgroupDriver, plan.Request.LazyPages != nil))
	req := plan.Request
	req.ImageDir = dir
	if _, ok := from.Part(metadata.PartShm); ok {
		req.Shm = filepath.Join(dir, checkpoint.ShmFile)
	}
	pending, err := runtime.Prepare(ctx, c.ID, req, plan.Link, r.StandIn)
	if errors.Is(err, runtime.ErrBusy) {
		return fmt.Errorf("%w: %s", metadata.ErrLocked, c.Name)
	}
	if err != nil {
		return err
	}
	// Verifying took its time.
	err = r.stopped(ctx, c)
	if err == nil {
		err = r.ask(ctx, c, from.Record, pending)
	}
	if log := pending.Log(); log != nil {
		_ = from.keepLog(log)
	}
	if closeErr := pending.Close(); err == nil && closeErr != nil {
		r.warn(fmt.Sprintf("container %s: it is restored, but checkpointctl repair is needed: %v", c.Name, closeErr))
	} else {
		err = errors.Join(err, closeErr)
	}
	if err != nil {
		r.sayHeld(c)
	}
	return err
}

// sayHeld tells of clients whose packets are dropped after a restore that failed.
// They are let through by one that succeeds: until then the host would answer them
// with a reset, and a connection would be lost that another try can keep.
func (r *Restorer) sayHeld(c docker.Container) {
	if held, err := hold.Held(""); err == nil && held[c.ID] > 0 {
		r.warn(fmt.Sprintf("container %s: what its clients send is dropped until it is restored, or ten minutes after the checkpoint; if it is started without a restore, checkpointctl repair ends that", c.Name))
	}
}

func (r *Restorer) stopped(ctx context.Context, c docker.Container) error {
	now, err := r.Docker.Inspect(ctx, c.ID)
	if err != nil {
		return err
	}
	return stopped(now)
}

// ask lets Docker start the container and finds out what came of it.
func (r *Restorer) ask(ctx context.Context, c docker.Container, rec metadata.Record, pending *runtime.Pending) error {
	// An interrupt must not leave Docker half way: it would go on without us.
	if r.Waiting != nil {
		defer context.AfterFunc(ctx, r.Waiting)()
	}
	ctx = context.WithoutCancel(ctx)
	startErr := r.Docker.Start(ctx, c.ID)
	result, resultErr := pending.Result()
	switch {
	case resultErr == nil && result.Error != "" && (startErr == nil || !result.Aborted):
		startErr = errors.New(result.Error)
	case resultErr == nil && errors.Is(startErr, docker.ErrRunning):
		startErr = nil // somebody else's start has done it
	}
	now, err := r.Docker.Inspect(ctx, c.ID)
	failed := func(err error) error { return &Error{Err: err, State: describe(now), Log: pending.Log()} }
	switch {
	case err != nil:
		return &Error{Err: errors.Join(startErr, err), State: "the container's state is unknown", Log: pending.Log()}
	case errors.Is(startErr, docker.ErrRunning):
		return &docker.StateError{Name: c.Name, Is: "was started by somebody else meanwhile", Hint: "docker stop " + c.Name}
	case startErr != nil:
		return failed(startErr)
	case resultErr != nil:
		return failed(fmt.Errorf("docker started it without calling %s: %w", r.StandIn, resultErr))
	case !result.Init.Alive():
		return failed(errors.New("it was restored and exited at once; see docker logs"))
	case now.PID != result.Init.PID:
		return failed(fmt.Errorf("it runs as process %d, not as the restored one, %d", now.PID, result.Init.PID))
	}
	result.Warnings = append(result.Warnings, complete(now.PID, rec)...)
	if err := hold.Release(checkpoint.DaemonNetNS(now.PID), now.ID); err != nil {
		result.Warnings = append(result.Warnings, fmt.Sprintf("packets of its clients are dropped for some minutes: %v", err))
	}
	if changed := addressChanged(rec, now); changed != "" {
		result.Warnings = append(result.Warnings, changed)
	}
	for _, w := range result.Warnings {
		r.warn("container " + c.Name + ": " + w)
	}
	return nil
}

// describe says how the container is.
func describe(c docker.Container) string {
	if c.State == "running" {
		return "the container is running, but not from the checkpoint"
	}
	return "the container is stopped"
}

// verifyChain verifies the checkpoint and those that it continues.
func (r *Restorer) verifyChain(ctx context.Context, rec metadata.Record) error {
	chain, err := r.Store.Chain(rec)
	if err != nil {
		return err
	}
	depth := metadata.Checksums
	if r.NoVerify {
		depth = metadata.Sizes
	}
	for _, link := range chain {
		if !r.NoVerify {
			r.happened(link, StateVerifying, Progress{})
		}
		// What is inside of an encrypted one is checked when it is open.
		problems, err := checkpoint.Opener{}.Verify(ctx, r.Store, link, depth)
		if problems != nil {
			return link.Damaged(problems...)
		}
		if err != nil {
			return err
		}
	}
	if !r.NoVerify {
		r.happened(rec, StateVerified, Progress{})
	}
	return nil
}
