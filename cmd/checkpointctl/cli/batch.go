package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/batch"
	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// batchError says how many of several failed, and carries the exit status.
type batchError struct{ failed, of, code int }

func (e *batchError) Error() string {
	return fmt.Sprintf("%d of %d containers failed", e.failed, e.of)
}

// outcome is what became of one container.
type outcome struct {
	Container string           `json:"container"`
	OK        bool             `json:"ok"`
	Record    *metadata.Record `json:"record,omitempty"`
	Removed   []string         `json:"removed,omitempty"` // by the batch's keep rules
	failure
}

// outcomeOf is what became of the container that was named, and its record if err is nil.
func outcomeOf(named string, r metadata.Record, err error) outcome {
	if err != nil {
		return outcome{Container: named, failure: failureOf(err)}
	}
	return outcome{Container: r.Name, OK: true, Record: &r}
}

// failure is why nothing came of one container; empty if something did.
type failure struct {
	Error string `json:"error,omitempty"`
	Code  int    `json:"code,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func failureOf(err error) (f failure) {
	if err == nil {
		return f
	}
	f.Error = oneLine(err)
	f.Code, f.Hint = classify(err, true)
	if e := excerptOf(err); e.Hint != "" {
		f.Hint = e.Hint
	}
	return f
}

// batchRun is one run over several containers.
type batchRun struct {
	*maker
	o       checkpointOptions
	batch   config.Batch
	began   time.Time
	results []outcome
	saying  sync.Mutex // what became of a container
}

func runBatch(ctx context.Context, d *deps, o checkpointOptions) error {
	if o.name != "" {
		if err := metadata.CheckName(o.name); err != nil {
			return err
		}
	}
	b, err := o.theBatch(d.cfg.Config)
	if err != nil {
		return err
	}
	if !o.dryRun {
		if err := d.requireRoot(); err != nil {
			return err
		}
	}
	m, err := d.maker(ctx, o)
	if err != nil {
		return err
	}
	picks, err := o.pick(ctx, m, b.Select)
	if err != nil {
		return err
	}
	if o.dryRun {
		if err := printPicks(d, picks); err != nil {
			return err
		}
	}
	chosen := slices.DeleteFunc(slices.Clone(picks), func(p batch.Pick) bool { return !p.Selected })
	switch {
	case len(chosen) == 0 && !b.AllowEmpty:
		return fmt.Errorf("%w: no container to checkpoint: %d match, and none of them is running", docker.ErrNoSuchContainer, len(picks))
	case o.dryRun:
		return nil
	}
	run := &batchRun{maker: m, o: o, batch: b, began: time.Now()}
	for _, p := range chosen {
		run.results = append(run.results, outcome{Container: p.Name})
	}
	run.all(ctx)
	return run.report()
}

func (r *batchRun) all(ctx context.Context) {
	limit := cmp.Or(r.batch.Concurrency, runtime.NumCPU())
	one := r.checkpoint
	if r.batch.Consistent {
		records, errs := r.group(ctx, limit)
		ctx = context.WithoutCancel(ctx) // they are made
		one = func(_ context.Context, i int) (metadata.Record, error) {
			if errs[i] != nil {
				return metadata.Record{}, errs[i]
			}
			return records[i], nil
		}
	}
	errs := batch.Run(ctx, len(r.results), limit, func(i int) error {
		began := time.Now()
		if r.batch.Consistent {
			began = r.began
		}
		rec, err := one(ctx, i)
		if err == nil {
			r.results[i].Container, r.results[i].Record = rec.Name, &rec
			r.results[i].Removed, err = r.prune(rec.Name)
		}
		r.done(i, err, time.Since(began))
		return err
	})
	for i, err := range errs {
		if errors.Is(err, batch.ErrNotStarted) {
			r.done(i, err, 0)
		}
	}
}

// request is what is to be done with one container.
func (r *batchRun) request(ctx context.Context, i int) (checkpoint.Request, error) {
	c, err := r.container(ctx, r.results[i].Container)
	if err != nil {
		return checkpoint.Request{}, err
	}
	if res := &r.results[i]; res.Container != c.Name { // named by its ID
		r.shown(res.Container).rename(c.Name)
		res.Container = c.Name
	}
	o := r.o
	if o.name == "" && r.batch.NameTemplate != "" {
		if o.name, err = r.batch.CheckpointName(c.Name, r.began); err != nil {
			return checkpoint.Request{}, err
		}
	}
	return r.maker.request(ctx, r.cfg.For(r.batch, c.Name), c, o), nil
}

func (r *batchRun) checkpoint(ctx context.Context, i int) (metadata.Record, error) {
	defer r.begin(r.results[i].Container, "preparing").end()
	req, err := r.request(ctx, i)
	if err != nil {
		return metadata.Record{}, err
	}
	return r.creator.Create(ctx, req)
}

// group takes all at one moment, or none.
func (r *batchRun) group(ctx context.Context, limit int) ([]metadata.Record, []error) {
	req := checkpoint.GroupRequest{Batch: r.batch.Name, Members: make([]checkpoint.Request, len(r.results)), Limit: limit}
	errs := batch.Run(ctx, len(r.results), limit, func(i int) (err error) {
		r.begin(r.results[i].Container, "preparing")
		req.Members[i], err = r.request(ctx, i)
		return err
	})
	defer func() {
		for _, res := range r.results {
			r.shown(res.Container).end()
		}
	}()
	for i, err := range errs {
		for n := 0; err == nil && n < i; n++ {
			if req.Members[n].Container.ID == req.Members[i].Container.ID {
				errs[i] = fmt.Errorf("%w: container %s is named twice", config.ErrInvalid, req.Members[i].Container.Name)
			}
		}
	}
	if errors.Join(errs...) != nil {
		names := make([]string, len(r.results))
		for i, res := range r.results {
			names[i] = res.Container
		}
		return nil, checkpoint.Blame(names, errs)
	}
	return r.creator.CreateGroup(ctx, req)
}

// prune applies the batch's keep rules to a container that was checkpointed.
func (r *batchRun) prune(container string) ([]string, error) {
	keep := keepRules(r.batch.Keep)
	if keep.Empty() {
		return nil, nil
	}
	store := r.store()
	verdicts, err := pruneOne(store, store.Index(), container, keep, false)
	if err != nil {
		return nil, fmt.Errorf("the checkpoint is made, but the keep rules were not applied: %w", err)
	}
	var removed []string
	for _, v := range verdicts {
		if !v.Keep {
			removed = append(removed, v.Summary.Checkpoint)
		}
	}
	return removed, nil
}

// done notes and prints what became of one container.
func (r *batchRun) done(i int, err error, took time.Duration) {
	r.saying.Lock()
	defer r.saying.Unlock()
	res := &r.results[i]
	res.OK, res.failure = err == nil, failureOf(err)
	r.ran(opCheckpoint, res.Container, took, res.Code, res.Record)
	if r.json {
		return
	}
	if res.Record != nil {
		fmt.Fprintln(r.notes(), summary(*res.Record))
		fmt.Fprintf(r.out, "%s/%s\n", res.Record.Name, res.Record.Checkpoint)
	}
	if err != nil {
		fmt.Fprintf(r.errOut, "%s: %s\n", res.Container, res.Error)
	}
	for _, name := range res.Removed {
		fmt.Fprintf(r.notes(), "removed %s/%s: no rule keeps it\n", res.Container, name)
	}
}

// report sums up, and fails if one has failed.
func (r *batchRun) report() error {
	var codes []int
	for _, res := range r.results {
		if !res.OK {
			codes = append(codes, res.Code)
		}
	}
	sum := sumUp(codes, len(r.results))
	var err error
	if r.json {
		err = printJSON(r.out, append([]outcome{}, r.results...))
	} else {
		err = r.summarize()
	}
	if err == nil && sum.failed > 0 {
		return sum
	}
	return err
}

// sumUp returns what a run over several ends with, by the exit statuses of those that
// failed: their own if all failed by it.
func sumUp(codes []int, of int) *batchError {
	sum := &batchError{failed: len(codes), of: of, code: exitOther}
	switch {
	case len(codes) > 0 && len(codes) < of:
		sum.code = exitIncomplete
	case len(slices.Compact(codes)) == 1:
		sum.code = codes[0]
	}
	return sum
}

func (r *batchRun) summarize() error {
	if len(r.results) == 0 {
		fmt.Fprintln(r.notes(), "no container to checkpoint")
		return nil
	}
	err := table(r.notes(), func(w io.Writer) {
		fmt.Fprint(w, "CONTAINER\tCHECKPOINT\tSIZE\tFROZEN\tRESULT\n")
		for _, res := range r.results {
			name, bytes, stood, result := "-", "-", "-", "ok"
			if rec := res.Record; rec != nil {
				name, bytes, stood = rec.Checkpoint, size(rec.SizeBytes), frozen(*rec)
			}
			if !res.OK {
				result = fmt.Sprintf("failed (%d)", res.Code)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", res.Container, name, bytes, stood, result)
		}
	})
	for _, res := range r.results {
		if res.Hint != "" {
			fmt.Fprintf(r.notes(), "checkpointctl: hint: %s: %s\n", res.Container, res.Hint)
		}
	}
	return err
}
