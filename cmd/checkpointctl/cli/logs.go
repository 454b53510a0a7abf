package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

type logsOptions struct{ errors, restore, follow bool }

func newLogsCmd(d *deps) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs CONTAINER [CHECKPOINT]",
		Short: "Show CRIU's log of a dump or a restore",
		Long: `Show CRIU's log of a dump, or with --restore of the last restore. By default it is the
container's newest dump, also if that failed.
` + exits(exitNoContainer, exitNoCheckpoint, exitSealed, exitCRIU),
		Example:           "  checkpointctl logs myapp --errors",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			container, checkpoint, err := reference(args)
			if err != nil {
				return err
			}
			return runLogs(cmd.Context(), d, container, checkpoint, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.errors, "errors", false, "only show the first error, the lines before it and what it usually means")
	f.BoolVar(&o.restore, "restore", false, "show the log of the last restore")
	d.identityFlags(f)
	f.BoolVarP(&o.follow, "follow", "f", false, "follow the log while the dump runs")
	return cmd
}

func runLogs(ctx context.Context, d *deps, ref, name string, o logsOptions) error {
	container, err := d.storedName(ctx, ref)
	if err != nil {
		return err
	}
	file := criu.LogFile
	if o.restore {
		file = runtime.RestoreLog
	}
	path, err := d.store().Log(container, name, file, file+seal.Suffix)
	if err != nil {
		return err
	}
	if strings.HasSuffix(path, seal.Suffix) {
		return showSealed(ctx, d, path, o)
	}
	if o.errors {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return printExcerpt(d, f)
	}
	return copyLog(ctx, d.out, path, o.follow)
}

// showSealed prints the log of an encrypted checkpoint.
func showSealed(ctx context.Context, d *deps, path string, o logsOptions) error {
	opener, err := d.opener(ctx)
	if err != nil {
		return err
	}
	sealed, err := seal.Open(filepath.Dir(path), opener.Identities)
	if err != nil {
		return err
	}
	if !o.errors {
		return sealed.Show(filepath.Base(path), d.out)
	}
	var log bytes.Buffer
	if err := sealed.Show(filepath.Base(path), &log); err != nil {
		return err
	}
	return printExcerpt(d, &log)
}

func printExcerpt(d *deps, log io.Reader) error {
	e, err := criu.FirstError(log)
	if err != nil {
		return err
	}
	for _, line := range e.Lines {
		fmt.Fprintln(d.out, line)
	}
	if e.Hint != "" {
		fmt.Fprintf(d.errOut, "checkpointctl: hint: %s\n", e.Hint)
	}
	return nil
}

// copyLog prints a log; to follow it means until its dump is over, when its
// path vanishes, be it published or discarded.
func copyLog(ctx context.Context, out io.Writer, path string, follow bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		_, statErr := os.Stat(path)
		if _, err := io.Copy(out, f); err != nil {
			return err
		}
		if !follow || errors.Is(statErr, os.ErrNotExist) || !metadata.InDraft(path) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
