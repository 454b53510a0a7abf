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
		Short: "Undo what runs that were killed left behind",
		Long: `Find what a killed checkpointctl, CRIU or Docker left, in the store, on the host
and in running containers, and undo it: incomplete checkpoints, a restore with its
link before runc, runc's directory of a start that was killed, a network lock, TCP
sockets in repair mode, a frozen cgroup, a paused container, what is known of a lazy
restore that failed, a rollback of files, a container that restore --name was making,
what is kept of a push or a pull. A whole checkpoint whose container was killed for it
is published.

What belongs to a run that is alive is left alone; so are logs of failures, and
images that may be all there is of a container. The next checkpoint or restore of
a container does the same for that one.
` + exitHelp,
		Example: "  checkpointctl repair --dry-run",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRepair(cmd.Context(), d, dryRun)
		},
	}
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "say what would be done, and do nothing")
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
		d.log.Warnf("container %s: its memory is being fetched from %s (%d %%): waiting until it is whole",
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
