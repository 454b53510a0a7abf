package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/recovery"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

func newRepairCmd(d *deps) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Clean up after interrupted runs",
		Long: `Find what a killed checkpointctl, CRIU or Docker left behind in the store, on the
host and in running containers, and clean it up: incomplete checkpoints, unfinished
restores with their link to checkpointctl-runtime, runc's directory of a start that
was killed, network locks, TCP sockets in repair mode, frozen cgroups, paused
containers, records of lazy restores that failed, unfinished rollbacks of files, and
files of unfinished pushes and pulls, and containers of unfinished restores with --name.
A complete checkpoint for which a container was killed is published.

What belongs to a run that is still alive is left alone. Logs of failures, and images
that may be all that is left of a container, are kept. The next checkpoint or restore
of a container does the same for that container.
` + exits(exitExists, exitDocker, exitCRIU),
		Example: "  checkpointctl repair --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRepair(cmd.Context(), d, dryRun)
		},
	}
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only print what would be done")
	d.jsonFlag(cmd)
	return cmd
}

func runRepair(ctx context.Context, d *deps, dryRun bool) error {
	if err := d.requireRoot(); err != nil {
		return err
	}
	client, err := d.docker()
	if err != nil {
		return err
	}
	if _, err := client.Daemon(ctx); err != nil {
		return err
	}
	list, err := recovery.New(client, d.store(), d.cfg.Encrypt.Stage).All(ctx, dryRun)
	if printErr := printFindings(d, list); printErr != nil {
		return errors.Join(err, printErr)
	}
	if err != nil {
		return errors.Join(err, errIncomplete)
	}
	return nil
}

func printFindings(d *deps, list []recovery.Finding) error {
	if d.json {
		return printJSON(d.out, append([]recovery.Finding{}, list...))
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(d.errOut, "nothing to repair")
		return err
	}
	return table(d.out, func(w io.Writer) {
		fmt.Fprint(w, "WHAT\tCONTAINER\tPATH\tACTION\n")
		for _, f := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.What, dash(f.Container), dash(f.Path), f.Action)
		}
	})
}

// recovery is for the next run on a container: it says what was recovered.
func (d *deps) recovery(client *docker.Client) *recovery.Recoverer {
	r := recovery.New(client, d.store(), d.cfg.Encrypt.Stage)
	r.Recovered = d.recovered
	r.Fetching = func(f runtime.Fetch) {
		d.log.Warnf("container %s: its memory is still being fetched from %s (%d %%): waiting until it is complete",
			f.Container, f.Checkpoint, runtime.Percent(f.FetchedBytes(), f.TotalBytes))
	}
	return r
}

// recoverStages is for what opens or makes encrypted checkpoints. What cannot be
// removed is no reason not to go on.
func (d *deps) recoverStages(ctx context.Context) {
	for _, f := range recovery.Stages(ctx, d.cfg.Encrypt.Stage) {
		if f.Recover(ctx) == nil {
			d.recovered(f)
		}
	}
}

func (d *deps) recovered(f recovery.Finding) {
	d.log.Warnf("recovered from a run that was killed: %s: %s %s", f, f.Action, f.Path)
}
