package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/compare"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/report"
)

type diffOptions struct {
	formatFlags
	secrets bool
}

func diffFormats() []string { return []string{formatTable, formatJSON, formatHTML} }

func newDiffCmd(d *deps) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff CONTAINER CHECKPOINT CHECKPOINT | A B",
		Short: "Compare two checkpoints",
		Long: `Compare the processes, open files, sockets and environments of two checkpoints, the pages
of each mapping that were added, removed or changed, and the files of the writable layer
(by type, mode, owner, size and time). A and B are CONTAINER/CHECKPOINT, CONTAINER for its
newest checkpoint, or a FILE. Processes with the same PID are compared with each other.
Arguments and variables that look secret are hidden, unless --secrets is given. --format
html writes a page that needs no other files.
` + contentsHelp + exits(exitNoCheckpoint, exitSealed, exitCRIU, exitDamaged, exitArchive),
		Example: `  checkpointctl diff myapp before-upgrade after-upgrade
  checkpointctl diff myapp/before-upgrade ./other-host.ckpt --json
  checkpointctl diff myapp before-upgrade after-upgrade --format html -o diff.html`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: d.completeContents,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.settle(d.json, diffFormats()...); err != nil {
				return fmt.Errorf("%w: %w", config.ErrInvalid, err)
			}
			a, b := args[:1], args[1:]
			if len(args) == 3 {
				a, b = args[:2], []string{args[0], args[2]}
			}
			return runDiff(cmd.Context(), d, a, b, o)
		},
	}
	f := cmd.Flags()
	o.add(cmd, "`table`, json or html (default table)", diffFormats()...)
	f.BoolVar(&o.secrets, "secrets", false, "show values that look secret")
	d.contentsFlags(f)
	d.jsonFlag(cmd)
	return cmd
}

func runDiff(ctx context.Context, d *deps, a, b []string, o diffOptions) (err error) {
	from, err := d.contents(ctx, a)
	if err != nil {
		return err
	}
	defer closing(from, &err)
	to, err := d.contents(ctx, b)
	if err != nil {
		return err
	}
	defer closing(to, &err)
	r, err := compare.Run(ctx, from, to, o.secrets)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", metadata.ErrDamaged, err)
	}
	return o.write(d.out, func(w io.Writer) error {
		switch o.format {
		case formatJSON:
			return printJSON(w, r)
		case formatHTML:
			return report.WriteDiff(w, r)
		}
		return printDiff(w, r)
	})
}

func printDiff(out io.Writer, r *compare.Result) error {
	fmt.Fprintf(out, "From %s to %s\n", report.Text(r.A), report.Text(r.B))
	for _, part := range []struct {
		title string
		list  []compare.Difference
	}{{"PROCESS", r.Processes}, {"DESCRIPTOR", r.FDs}, {"SOCKET", r.Sockets}, {"VARIABLE", r.Env}, {"FILE", r.Files}} {
		if len(part.list) == 0 {
			continue
		}
		err := table(out, func(w io.Writer) {
			fmt.Fprintf(w, "\n%s\tPID\tCHANGE\tBEFORE\tAFTER\n", part.title)
			for _, c := range part.list {
				pid := dash("")
				if c.PID != 0 {
					pid = fmt.Sprint(c.PID)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", report.Text(c.Name), pid, c.Change, dash(report.Text(c.Before)), dash(report.Text(c.After)))
			}
		})
		if err != nil {
			return err
		}
	}
	if err := printMemoryDiff(out, r.Memory); err != nil {
		return err
	}
	const notCompared = "files could not be compared: not both have those of the writable layer, unencrypted"
	var err error
	switch {
	case r.Equal() && r.FilesCompared:
		_, err = fmt.Fprintln(out, "nothing differs")
	case r.Equal():
		_, err = fmt.Fprintln(out, "nothing differs; "+notCompared)
	case !r.FilesCompared:
		_, err = fmt.Fprintln(out, "\n"+notCompared)
	}
	return err
}

// printMemoryDiff prints the mappings in which something changed.
func printMemoryDiff(out io.Writer, list []compare.Memory) error {
	return table(out, func(w io.Writer) {
		title := "\nMEMORY\tPID\tADDED\tREMOVED\tCHANGED\tSAME\tUNKNOWN\tNAME\n"
		for _, m := range list {
			if !m.Differs() && m.Unknown == 0 {
				continue
			}
			name := report.Text(m.Name)
			if m.Change != "" {
				name += " (" + m.Change + ")"
			}
			fmt.Fprintf(w, "%s%x-%x\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", title, m.Start, m.End, m.PID, pagesSize(m.Added), pagesSize(m.Removed), pagesSize(m.Changed), pagesSize(m.Same), pagesSize(m.Unknown), name)
			title = ""
		}
	})
}
