package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func newInspectCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect CONTAINER",
		Short: "Show what a checkpoint of a container would have to deal with",
		Long: `Show namespaces, cgroups, networks and the mount plan of a container.

The container is not touched. What comes from /proc is shown for a running one.
` + exitHelp,
		Example:           "  checkpointctl inspect myapp --json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: d.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInspect(cmd.Context(), d, args[0])
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
	view := checkpoint.Describe(c, d.policy().Plan(c.Mounts, c.MountFacts))
	if d.json {
		return printJSON(d.out, view)
	}
	return printContainer(d.out, view)
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
			fmt.Fprint(w, "\nMOUNT\tTYPE\tACTION\tREASON\n")
		}
		for _, m := range c.Mounts {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Path, m.FSType, m.Action, m.Reason)
		}
	})
}
