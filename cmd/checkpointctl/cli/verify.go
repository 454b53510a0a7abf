package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// verified is the outcome of one checkpoint.
type verified struct {
	Container  string   `json:"container"`
	Checkpoint string   `json:"checkpoint"`
	OK         bool     `json:"ok"`
	Problems   []string `json:"problems"`
}

func newVerifyCmd(d *deps) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "verify [CONTAINER [CHECKPOINT]]",
		Short: "Check that checkpoints are intact",
		Long: `Read every file of a checkpoint, of all checkpoints of a container, or of the whole
store, and compare it with the checkpoint's record. Files that are changed, truncated,
missing or unexpected are reported, and so are missing parents. CRIU's images must
decode and agree with each other; those of encrypted checkpoints are checked with
--identity. No container is touched.
` + exits(exitNoContainer, exitNoCheckpoint, exitSealed, exitCRIU, exitDamaged),
		Example:           "  checkpointctl verify myapp before-upgrade",
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return fmt.Errorf("%w: --all does not take a container", config.ErrInvalid)
			}
			container, checkpoint, err := reference(args)
			if err != nil {
				return err
			}
			return runVerify(cmd.Context(), d, container, checkpoint)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "verify the whole store, the default without arguments")
	d.identityFlags(cmd.Flags())
	d.stageFlag(cmd.Flags())
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the names of damaged checkpoints")
	return cmd
}

func runVerify(ctx context.Context, d *deps, ref, name string) error {
	opener, err := d.opener(ctx)
	if err != nil {
		return err
	}
	records, err := recordsOf(ctx, d, ref, name)
	results := []verified{}
	bad, sealed := 0, 0
	store, t := d.store(), d.begin("store", "verifying")
	defer t.end()
	store.Progress = t.bytes("")
	for i, r := range records {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.rename(fmt.Sprintf("%s/%s (%d of %d)", r.Name, r.Checkpoint, i+1, len(records)))
		problems, openErr := opener.Verify(ctx, store, r, metadata.Hashes)
		err = errors.Join(err, openErr)
		if problems != nil {
			bad++
		}
		if r.Encrypted {
			sealed++
		}
		results = append(results, verified{r.Name, r.Checkpoint, problems == nil, append([]string{}, problems...)})
	}
	t.end()
	if printErr := printVerified(d, results); printErr != nil {
		return printErr
	}
	if sealed > 0 && len(opener.Identities) == 0 {
		fmt.Fprintf(d.notes(), "checkpointctl: note: %d encrypted; --identity checks their images too\n", sealed)
	}
	if bad > 0 {
		err = errors.Join(err, fmt.Errorf("%w: %d of %d", metadata.ErrDamaged, bad, len(records)))
	}
	return err
}

// recordsOf returns the named checkpoint, all of a container, or all; and an
// error for the records that cannot be read.
func recordsOf(ctx context.Context, d *deps, ref, name string) ([]metadata.Record, error) {
	if ref == "" {
		return d.store().List("")
	}
	container, err := d.storedName(ctx, ref)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return d.store().List(container)
	}
	r, err := d.store().Get(container, name)
	if err != nil {
		return nil, err
	}
	return []metadata.Record{r}, nil
}

func printVerified(d *deps, results []verified) error {
	if d.json {
		return printJSON(d.out, results)
	}
	if d.quiet {
		for _, r := range results {
			if !r.OK {
				fmt.Fprintf(d.out, "%s/%s\n", r.Container, r.Checkpoint)
			}
		}
		return nil
	}
	return table(d.out, func(w io.Writer) {
		for _, r := range results {
			status := "ok"
			if !r.OK {
				status = "damaged"
			}
			fmt.Fprintf(w, "%s\t%s/%s\t%s\n", status, r.Container, r.Checkpoint, strings.Join(r.Problems, ", "))
		}
	})
}
