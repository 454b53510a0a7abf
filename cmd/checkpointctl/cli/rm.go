package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
)

func newRmCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm CONTAINER CHECKPOINT... | CONTAINER/CHECKPOINT...",
		Short: "Remove checkpoints",
		Long: `Remove checkpoints from the store. A checkpoint that another one continues, from
which a container still fetches its memory, or from which a parked container is to be
restored, is refused. No container is touched.
` + exits(exitNoContainer, exitNoCheckpoint, exitExists, exitCRIU),
		Example: `  checkpointctl rm myapp before-upgrade
  checkpointctl rm myapp/before-upgrade db/before-upgrade`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			groups, err := removals(args)
			if err != nil {
				return err
			}
			var errs []error
			for _, g := range groups {
				errs = append(errs, runRm(cmd.Context(), d, g[0], g[1:]))
			}
			return errors.Join(errs...)
		},
	}
	return cmd
}

// removals are containers, each with its checkpoints.
func removals(args []string) (groups [][]string, err error) {
	if !strings.Contains(args[0], "/") {
		if len(args) == 1 {
			return nil, fmt.Errorf("%w: name a checkpoint of %s", config.ErrInvalid, args[0])
		}
		return [][]string{args}, nil
	}
	for _, arg := range args {
		container, checkpoint, err := reference([]string{arg})
		if err != nil {
			return nil, err
		}
		if checkpoint == "" {
			return nil, fmt.Errorf("%w: %s is not CONTAINER/CHECKPOINT", config.ErrInvalid, arg)
		}
		groups = append(groups, []string{container, checkpoint})
	}
	return groups, nil
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
