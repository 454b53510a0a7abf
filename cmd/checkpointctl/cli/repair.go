package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func newRepairCmd(d *deps) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Undo what runs that were killed left behind",
		Long: `Find what a killed checkpointctl, CRIU or Docker left, in the store, in Docker's
directories, on the host and in running containers, and undo it: incomplete
checkpoints, images staged for a restore, options in /etc/criu/runc.conf, runc's
directory of a start that was killed, a network lock, TCP sockets in repair mode,
a frozen cgroup, a paused container. A whole checkpoint whose container was killed
for it is published.

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
	r := &checkpoint.Repairer{Docker: client, Store: d.store()}
	list, err := r.All(ctx, dryRun)
	for _, path := range metadata.SweepStages(d.cfg.Encrypt.Stage, dryRun) {
		list = append(list, checkpoint.Leftover{What: "unencrypted images", Path: path, Action: checkpoint.Remove})
	}
	if printErr := printLeftovers(d, list); printErr != nil {
		return errors.Join(err, printErr)
	}
	if err != nil {
		return errors.Join(err, errIncomplete)
	}
	return nil
}

func printLeftovers(d *deps, list []checkpoint.Leftover) error {
	if d.json {
		return printJSON(d.out, append([]checkpoint.Leftover{}, list...))
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(d.errOut, "nothing to repair")
		return err
	}
	return table(d.out, func(w io.Writer) {
		fmt.Fprint(w, "WHAT\tCONTAINER\tPATH\tACTION\n")
		for _, l := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.What, dash(l.Container), dash(l.Path), l.Action)
		}
	})
}

// mend undoes what a killed run left of the container, and says so.
func (d *deps) mend(ctx context.Context, client *docker.Client, c docker.Container) error {
	r := &checkpoint.Repairer{Docker: client, Store: d.store()}
	list, err := r.Container(ctx, c)
	for _, l := range list {
		d.mended(l)
	}
	return err
}

func (d *deps) mended(l checkpoint.Leftover) {
	if l.Action != checkpoint.Leave {
		d.log.Warnf("mended after a run that was killed: %s of %s: %s %s", l.What, l.Container, l.Action, l.Path)
	}
}
