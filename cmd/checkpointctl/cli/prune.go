package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/metrics"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// errIncomplete marks a run in which some things failed and others did not.
var errIncomplete = errors.New("incomplete")

func newPruneCmd(d *deps) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune [CONTAINER...]",
		Short: "Remove old checkpoints by keep rules",
		Long: `Remove the checkpoints that no rule keeps, of the given containers or of all in the
store. The rules apply to each container separately. No container is touched.

A checkpoint is kept if any rule keeps it. The newest checkpoint of a container is
always kept, and so are the parents of kept checkpoints and checkpoints from which a
container still fetches its memory or a parked container is to be restored. --max-size
removes the oldest checkpoints of a container until the rest fits. Times are in UTC.
` + exits(exitNoCheckpoint, exitExists, exitCRIU),
		Example: `  checkpointctl prune --keep-daily 7 --keep-weekly 4 --dry-run
  checkpointctl prune myapp --keep-last 3 --max-size 20GiB`,
		ValidArgsFunction: d.completeContainers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.measured(cmd.Context(), metrics.Run{Operation: opPrune}, args, dryRun, func() error {
				return runPrune(cmd.Context(), d, args, dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&dryRun, "dry-run", "n", false, "only print what would be removed")
	f.Int("keep-last", 0, "keep the newest `N` checkpoints")
	f.Int("keep-hourly", 0, "keep the newest checkpoint of each of the last `N` hours that have one")
	f.Int("keep-daily", 0, "the same for the last `N` days")
	f.Int("keep-weekly", 0, "the same for the last `N` ISO weeks")
	f.Duration("keep-within", 0, "keep checkpoints at most this much older than the newest, such as 48h")
	f.String("max-size", "", "keep at most this much of each container, such as 20GiB")
	d.bind(f, map[string]string{
		"prune.keep_last": "keep-last", "prune.keep_hourly": "keep-hourly", "prune.keep_daily": "keep-daily",
		"prune.keep_weekly": "keep-weekly", "prune.keep_within": "keep-within", "prune.max_size": "max-size",
	})
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the names of removed checkpoints")
	return cmd
}

func runPrune(ctx context.Context, d *deps, refs []string, dryRun bool) error {
	keep := keepRules(d.cfg.Prune)
	if keep.Empty() {
		return fmt.Errorf("%w: prune needs a keep rule, such as --keep-last", config.ErrInvalid)
	}
	store := d.store()
	if err := store.CheckAccess(); err != nil {
		return err
	}
	containers := store.Containers()
	if len(refs) > 0 {
		containers = nil
	}
	for _, ref := range refs {
		name, err := d.storedName(ctx, ref)
		if err != nil {
			return err
		}
		containers = append(containers, name)
	}
	index := store.Index()
	defer index.Save()
	var (
		all  []metadata.Verdict
		errs []error
	)
	for _, name := range containers {
		began := time.Now()
		list, err := pruneOne(store, index, name, keep, dryRun)
		d.ran(opPrune, name, time.Since(began), exitStatus(ctx, err), nil)
		all = append(all, list...)
		if err != nil {
			errs = append(errs, fmt.Errorf("container %s: %w", name, err))
		}
	}
	if err := printVerdicts(d, all, dryRun); err != nil {
		return err
	}
	if errs != nil && len(containers) > 1 {
		errs = append(errs, errIncomplete)
	}
	return errors.Join(errs...)
}

func pruneOne(store metadata.Store, index *metadata.Index, container string, keep metadata.Keep, dryRun bool) ([]metadata.Verdict, error) {
	unlock, err := store.Lock(container)
	if err != nil {
		return nil, err
	}
	defer unlock()
	list, err := index.Summaries(container)
	if err != nil {
		// What cannot be read may be a parent, or the newest.
		return nil, err
	}
	parked, _, err := store.Parked(container)
	if err != nil {
		return nil, err
	}
	running := fetches()
	verdicts := keep.Apply(list, func(s metadata.Summary) string {
		if f := fetchFrom(running, store.Path(s.Name, s.Checkpoint)); f != nil && f.State == runtime.Fetching {
			return "being fetched by container " + f.Container
		}
		if parked.Checkpoint == s.Checkpoint {
			return "container " + s.Name + " is parked with it"
		}
		return ""
	})
	var gone []string // newest first, so that a child goes before its parent
	for _, v := range verdicts {
		if !v.Keep && !dryRun {
			gone = append(gone, v.Summary.Checkpoint)
		}
	}
	if gone == nil {
		return verdicts, nil
	}
	return verdicts, store.Remove(container, gone...)
}

func printVerdicts(d *deps, list []metadata.Verdict, dryRun bool) error {
	type row struct {
		Container  string `json:"container"`
		Checkpoint string `json:"checkpoint"`
		SizeBytes  int64  `json:"size_bytes"`
		metadata.Verdict
	}
	rows := make([]row, 0, len(list))
	var freed int64
	for _, v := range list {
		rows = append(rows, row{v.Summary.Name, v.Summary.Checkpoint, v.Summary.SizeBytes, v})
		if !v.Keep {
			freed += v.Summary.SizeBytes
		}
	}
	if d.json {
		return printJSON(d.out, rows)
	}
	if d.quiet {
		for _, r := range rows {
			if !r.Keep {
				fmt.Fprintf(d.out, "%s/%s\n", r.Container, r.Checkpoint)
			}
		}
		return nil
	}
	removed, would := "removed", ""
	if dryRun {
		removed, would = "would remove", "would be "
	}
	err := table(d.out, func(w io.Writer) {
		fmt.Fprint(w, "CONTAINER\tCHECKPOINT\tCREATED\tSIZE\tACTION\tREASON\n")
		for _, r := range rows {
			action := "kept"
			if !r.Keep {
				action = removed
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Container, r.Checkpoint, age(r.Summary.Timestamp), size(r.SizeBytes), action, strings.Join(r.Reasons, ", "))
		}
	})
	fmt.Fprintf(d.errOut, "%s %sfreed\n", size(freed), would)
	return err
}

func keepRules(c config.Prune) metadata.Keep {
	maxSize, _ := units.RAMInBytes(c.MaxSize) // Validate has seen it; empty is none
	return metadata.Keep{
		Last: c.KeepLast, Hourly: c.KeepHourly, Daily: c.KeepDaily, Weekly: c.KeepWeekly, Within: c.KeepWithin, MaxSize: max(maxSize, 0),
	}
}
