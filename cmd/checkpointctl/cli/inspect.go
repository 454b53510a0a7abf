package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/preflight"
	"github.com/checkpointctl/checkpointctl/internal/report"
)

func newInspectCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect CONTAINER [CHECKPOINT]",
		Short: "Show a container's checkpoint plan, or a checkpoint's details",
		Long: `Show the namespaces, cgroups and networks of a container, how each mount would be
handled, and, for a running container and as root, whether it can be checkpointed.
With CHECKPOINT, show what was recorded: the same as of then, sizes, pre-dump rounds,
timings and versions.

The container is not touched.
` + exits(exitNoContainer, exitNoCheckpoint, exitDocker, exitCRIU),
		Example: `  checkpointctl inspect myapp --json
  checkpointctl inspect myapp before-upgrade`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			container, checkpoint, err := reference(args)
			if err != nil {
				return err
			}
			if checkpoint != "" {
				return runInspectCheckpoint(cmd.Context(), d, container, checkpoint)
			}
			return runInspect(cmd.Context(), d, container)
		},
	}
	d.jsonFlag(cmd)
	return cmd
}

func runInspect(ctx context.Context, d *deps, ref string) error {
	_, c, err := d.container(ctx, ref)
	if err != nil {
		return err
	}
	plan := d.policy().Plan(c.Mounts, c.MountFacts)
	view := containerView{Container: checkpoint.Describe(c, plan)}
	if c.State == "running" {
		view.judge(c, plan, dumpOptions(d.cfg.Config))
	}
	memory := fetchOf(c.ID)
	if d.json {
		return printJSON(d.out, struct {
			containerView
			Fetch *fetch `json:"fetch,omitempty"`
		}{view, memory})
	}
	if memory != nil {
		fmt.Fprintf(d.out, "Memory: %s\n\n", memory.explain())
	}
	if err := printContainer(d.out, view.Container); err != nil {
		return err
	}
	return view.printVerdict(d.out)
}

// containerView is a container with what stands against its checkpoint.
type containerView struct {
	metadata.Container
	// CanBeCheckpointed is nil where it cannot be told: without root, or when the
	// container does not run.
	CanBeCheckpointed *bool `json:"can_be_checkpointed,omitempty"`
	// With are the flags with which it can be, if it cannot without.
	With     string              `json:"can_be_checkpointed_with,omitempty"`
	Refusals []preflight.Refusal `json:"refusals,omitempty"`
	refused  error               // by the mount policy
}

func (v *containerView) judge(c docker.Container, plan mounts.Plan, o criu.Options) {
	facts, err := checkpoint.Facts(c, plan)
	if err != nil {
		return
	}
	v.Refusals, v.refused = preflight.Check(facts, checkpoint.Rules(o)), plan.Refused()
	can := v.Refusals == nil && v.refused == nil
	v.CanBeCheckpointed = &can
	if v.refused == nil {
		v.With = preflight.With(v.Refusals)
	}
}

func (v *containerView) printVerdict(out io.Writer) error {
	switch {
	case v.CanBeCheckpointed == nil:
		return nil
	case *v.CanBeCheckpointed:
		_, err := fmt.Fprintln(out, "\nCan be checkpointed: yes, as far as can be told from outside")
		return err
	case v.With != "":
		fmt.Fprintf(out, "\nCan be checkpointed: with %s, because\n", v.With)
	default:
		fmt.Fprintln(out, "\nCan be checkpointed: no, because")
	}
	if v.refused != nil {
		fmt.Fprintf(out, "  %s\n", v.refused)
	}
	var err error
	for _, r := range v.Refusals {
		_, err = fmt.Fprintf(out, "  %s\n    hint: %s\n", r, r.Hint)
	}
	return err
}

func runInspectCheckpoint(ctx context.Context, d *deps, ref, name string) error {
	container, err := d.storedName(ctx, ref)
	if err != nil {
		return err
	}
	r, err := d.store().Get(container, name)
	if err != nil {
		return err
	}
	view := fetched{r, fetchFrom(fetches(), d.store().Path(container, name))}
	if d.json {
		return printJSON(d.out, view)
	}
	if f := view.Fetch; f != nil {
		fmt.Fprintf(d.out, "Restored to container %s, memory: %s\n\n", f.Container, f.explain())
	}
	err = table(d.out, func(w io.Writer) {
		for _, row := range [][2]string{
			{"Checkpoint", r.Checkpoint}, {"Kind", kind(r.Summary())}, {"Parent", dash(r.Parent)}, {"Comment", dash(report.Text(r.Comment))}, {"Made", r.Timestamp.Format(time.RFC3339)}, {"Made by", madeBy(r.MadeBy)}, {"Imported", imported(r)},
			{"Encrypted to", dash(strings.Join(r.Recipients, ", "))}, {"Size", size(r.SizeBytes)}, {"Frozen", frozen(r)}, {"Pages written", fmt.Sprint(r.Stats.PagesWritten)},
			{"Made with", madeWith(r.Versions)},
		} {
			fmt.Fprintf(w, "%s:\t%s\n", row[0], row[1])
		}
	})
	if err != nil {
		return err
	}
	if err := printParts(d.out, r); err != nil {
		return err
	}
	if r.PreDump != nil {
		fmt.Fprintln(d.out)
	}
	if err := printRounds(d.out, r); err != nil {
		return err
	}
	fmt.Fprintln(d.out)
	return printContainer(d.out, r.Container)
}

// printParts shows what the files of a checkpoint are of, and the bind mounts that are
// not in it.
func printParts(out io.Writer, r metadata.Record) error {
	if len(r.Parts) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	return table(out, func(w io.Writer) {
		fmt.Fprint(w, "PART\tDESTINATION\tENTRIES\tSIZE\n")
		for _, p := range r.Parts {
			entries := dash("")
			if p.File != "" {
				entries = fmt.Sprint(p.Entries)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, dash(p.Destination), entries, size(p.SizeBytes))
		}
		for _, b := range r.Binds {
			fmt.Fprintf(w, "bind, not taken\t%s\t%s\t%s\n", b.Destination, dash(""), dash(""))
		}
	})
}

// imported says when a checkpoint came here, and by whose signature it was taken.
func imported(r metadata.Record) string {
	switch {
	case r.Imported == nil:
		return dash("")
	case r.Imported.SignedBy == "":
		return r.Imported.At.Format(time.RFC3339) + ", not signed for"
	}
	return r.Imported.At.Format(time.RFC3339) + ", signed by " + r.Imported.SignedBy
}

func printContainer(out io.Writer, c metadata.Container) error {
	return table(out, func(w io.Writer) {
		for _, row := range [][2]string{
			{"ID", c.ID}, {"Name", c.Name}, {"State", c.State}, {"PID", fmt.Sprint(c.PID)},
			{"Image", c.Image}, {"Image digest", c.ImageDigest}, {"Driver", c.Driver}, {"Root filesystem", c.RootFS},
			{"Runtime", c.Runtime}, {"Bundle", c.BundlePath}, {"Cgroup", c.CgroupPath + " (" + c.CgroupMode + ")"},
		} {
			if row[1] != "" && row[1] != " ()" {
				fmt.Fprintf(w, "%s:\t%s\n", row[0], row[1])
			}
		}
		if len(c.Namespaces) > 0 {
			fmt.Fprint(w, "\nNAMESPACE\tINODE\tSHARED WITH\n")
		}
		for _, n := range c.Namespaces {
			fmt.Fprintf(w, "%s\t%d\t%s\n", n.Type, n.Inode, n.SharedWith)
		}
		if len(c.Networks) > 0 {
			fmt.Fprint(w, "\nNETWORK\tIP\tMAC\n")
		}
		for _, n := range c.Networks {
			fmt.Fprintf(w, "%s\t%s\t%s\n", n.Name, n.IP, n.MAC)
		}
		if len(c.Mounts) > 0 {
			fmt.Fprint(w, "\nMOUNT\tTYPE\tACTION\tKEY\tREASON\n")
		}
		for _, m := range c.Mounts {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.Path, m.FSType, m.Action, keyed(m), m.Reason)
		}
	})
}

// keyed is what CRIU knows an external mount by, and its value where that is
// another.
func keyed(m metadata.Mount) string {
	if m.Key == m.Value {
		return dash(m.Key)
	}
	return m.Key + "=" + m.Value
}
