package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/report"
)

type showOptions struct {
	report.Options
	formatFlags
}

func showFormats() []string { return []string{formatTable, formatTree, formatJSON, formatHTML} }

func newShowCmd(d *deps) *cobra.Command {
	var o showOptions
	cmd := &cobra.Command{
		Use:   "show CONTAINER [CHECKPOINT] [VIEW] | FILE [VIEW]",
		Short: "Show the processes, memory, files and sockets in a checkpoint",
		Long: `Show what a checkpoint holds, without restoring it: an overview, or one of these views

  ps       processes and threads: state, user, capabilities, seccomp, signals, command line
  maps     memory, and how much of each mapping is in the images, in a parent, or zero
  fds      open files, and who has the other end of pipes and sockets
  sockets  addresses, states and queues
  mounts   the container's mounts
  env      environments
  all      all views and the overview

To show a checkpoint that has the name of a view, write CONTAINER/CHECKPOINT. Arguments
and variables that look secret are hidden, unless --secrets is given. They are recognised
by name or form, so some may be missed. --format html writes a page that needs no other
files.
` + contentsHelp + exits(exitNoCheckpoint, exitSealed, exitCRIU, exitDamaged, exitArchive),
		Example: `  checkpointctl show myapp before-upgrade
  checkpointctl show myapp ps --format tree
  checkpointctl show ./podman.tar.zst sockets --json
  checkpointctl show myapp --format html -o myapp.html`,
		Args:              cobra.RangeArgs(1, 3),
		ValidArgsFunction: d.completeView,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o.View = report.Overall
			if last := args[len(args)-1]; len(args) > 1 && slices.Contains(report.Views(), last) {
				o.View, args = report.View(last), args[:len(args)-1]
			}
			if err := o.check(d, args); err != nil {
				return fmt.Errorf("%w: %w", config.ErrInvalid, err)
			}
			return runShow(cmd.Context(), d, args, o)
		},
	}
	f := cmd.Flags()
	f.Uint32Var(&o.PID, "pid", 0, "only the process with this `PID` in the container")
	o.add(cmd, "`table`, tree (of ps), json or html (default table)", showFormats()...)
	f.BoolVar(&o.Secrets, "secrets", false, "show values that look secret")
	d.contentsFlags(f)
	d.jsonFlag(cmd)
	return cmd
}

// check settles the format, and refuses what contradicts itself.
func (o *showOptions) check(d *deps, args []string) error {
	if len(args) > 2 {
		return fmt.Errorf("%q is not one of the views %s", args[2], strings.Join(report.Views(), ", "))
	}
	if err := o.settle(d.json, showFormats()...); err != nil {
		return err
	}
	if o.format == formatTree && o.View != report.Processes {
		return fmt.Errorf("--format tree is of ps: show %s ps --format tree", strings.Join(args, " "))
	}
	if o.format == formatHTML && o.View == report.Overall {
		o.View = report.All
	}
	return nil
}

func runShow(ctx context.Context, d *deps, args []string, o showOptions) (err error) {
	c, err := d.contents(ctx, args)
	if err != nil {
		return err
	}
	defer closing(c, &err)
	doc, err := report.Make(c, o.Options)
	if err != nil {
		return damagedContents(c, err)
	}
	return o.write(d.out, func(w io.Writer) error { return printDocument(w, doc, o.format) })
}

func printDocument(w io.Writer, doc *report.Document, format string) error {
	switch format {
	case formatJSON:
		return printJSON(w, doc)
	case formatHTML:
		return doc.WriteHTML(w)
	}
	return printViews(w, doc, format == formatTree)
}

// completeView completes a checkpoint, and behind it a view.
func (d *deps) completeView(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return d.completeContents(cmd, args, word)
	}
	views := report.Views()
	if len(args) == 1 && !strings.Contains(args[0], "/") {
		names, _ := d.completeNames(cmd, args, word)
		views = append(names, views...)
	}
	return views, cobra.ShellCompDirectiveNoFileComp
}
