package cli

import (
	"context"
	"errors"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/metrics"
)

// Operations in metrics.
const (
	opCheckpoint = "checkpoint"
	opPreDump    = "pre-dump"
	opRestore    = "restore" // of a checkpoint of the container, into whatever container
	opPrune      = "prune"
)

// measured runs a command that is an operation on containers, which calls ran for
// each that it has worked on, and writes what became of them into the file of
// metrics, if there is one. If it fails before it has worked on any, those that the user
// named failed. Of a dry run nothing is noted and told.
func (d *deps) measured(ctx context.Context, whole metrics.Run, refs []string, dryRun bool, do func() error) error {
	if dryRun {
		return do()
	}
	d.measuring = true
	began := time.Now()
	err := do()
	if d.cfg.Metrics.File == "" && d.events == nil {
		return err
	}
	whole.Ended, whole.Took, whole.ExitStatus = time.Now(), time.Since(began), exitStatus(ctx, err)
	if whole.ExitStatus == exitUsage {
		return err // nothing was tried
	}
	if whole.Batch != "" {
		d.runs = append(d.runs, whole)
	} else if err != nil && len(d.runs) == 0 {
		for _, ref := range refs {
			d.failed(ctx, whole, ref)
		}
	}
	if len(d.runs) == 0 || d.cfg.Metrics.File == "" {
		return err
	}
	if writeErr := metrics.Update(d.cfg.Metrics.File, d.runs, func(container string) bool { return !d.isStored(container) }); writeErr != nil {
		d.warn("the metrics are not written: " + writeErr.Error())
	}
	return err
}

// failed notes the failure of a container that the user named. Only a checkpoint or a
// pre-dump can be tried of one that is not in the store, and a misspelt name is none.
func (d *deps) failed(ctx context.Context, r metrics.Run, ref string) {
	name, err := d.storedName(context.WithoutCancel(ctx), ref)
	if err != nil {
		name = ref
	}
	tried := (r.Operation == opCheckpoint || r.Operation == opPreDump) && r.ExitStatus != exitNoContainer && metadata.CheckName(name) == nil
	if !tried && !d.isStored(name) {
		return
	}
	d.ran(r.Operation, name, r.Took, r.ExitStatus, nil)
}

// ran notes and tells what became of a container, and the checkpoint that was made of
// it, if one was; nothing in a dry run.
func (d *deps) ran(operation, container string, took time.Duration, status int, made *metadata.Record) {
	if !d.measuring {
		return
	}
	r := metrics.Run{Operation: operation, Container: container, Ended: time.Now(), Took: took, ExitStatus: status}
	if made != nil {
		r.Made = &metrics.Checkpoint{SizeBytes: made.SizeBytes, Frozen: time.Duration(made.Summary().FrozenUS) * time.Microsecond}
	}
	d.runs = append(d.runs, r)
	d.ended(operation, container, took, status, made)
}

// exitStatus is that of a command which ends with this error.
func exitStatus(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil, errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	code, _ := classify(err, true)
	return code
}
