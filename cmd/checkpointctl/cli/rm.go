package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func newRmCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "rm CONTAINER CHECKPOINT...",
		Short:             "Remove checkpoints",
		Long:              "Remove checkpoints from the store. No container is touched.\n" + exitHelp,
		Example:           "  checkpointctl rm myapp before-upgrade",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRm(cmd.Context(), d, args[0], args[1:])
		},
	}
	return cmd
}

func runRm(ctx context.Context, d *deps, ref string, names []string) error {
	container, err := d.storedName(ctx, ref)
	if err != nil {
		return err
	}
	store := d.store()
	unlock, err := store.Lock(container)
	if err != nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, name := range names {
		if err := store.Remove(container, name); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(d.out, "%s/%s\n", container, name)
	}
	return errors.Join(errs...)
}
