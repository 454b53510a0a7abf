package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func newListCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list [CONTAINER]",
		Aliases:           []string{"ls"},
		Short:             "List checkpoints",
		Long:              "List the checkpoints of a container, or all, oldest first. No container is touched.\n" + exitHelp,
		Example:           "  checkpointctl list myapp",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: d.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runList(cmd.Context(), d, optional(args, 0))
		},
	}
	d.jsonFlag(cmd)
	return cmd
}

func runList(ctx context.Context, d *deps, ref string) error {
	if ref != "" {
		var err error
		if ref, err = d.storedName(ctx, ref); err != nil {
			return err
		}
	}
	records, damaged := d.store().List(ref)
	if damaged != nil && len(records) > 0 {
		d.log.Warn(damaged)
		damaged = nil
	}
	if err := printList(d, records); err != nil {
		return err
	}
	return damaged
}

func printList(d *deps, records []metadata.Record) error {
	if d.json {
		if records == nil {
			records = []metadata.Record{}
		}
		return printJSON(d.out, records)
	}
	return table(d.out, func(w io.Writer) {
		fmt.Fprint(w, "CONTAINER\tCHECKPOINT\tKIND\tROUNDS\tPARENT\tIMAGE\tCREATED\tSIZE\tFROZEN\n")
		for _, r := range records {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Checkpoint, kind(r), roundsOf(r), dash(r.Parent),
				r.Image, age(r.Timestamp), size(r.SizeBytes), micros(r.Stats.FrozenUS))
		}
	})
}

func kind(r metadata.Record) string {
	if r.Kind == metadata.KindPreDump {
		return "pre-dump (not restorable)"
	}
	return metadata.KindCheckpoint
}

func roundsOf(r metadata.Record) int {
	if r.PreDump == nil {
		return 0
	}
	return len(r.PreDump.Rounds)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
