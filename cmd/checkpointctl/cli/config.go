package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newConfigCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show all settings and where they come from",
		Long: `Show the effective value of every setting, and where it comes from: a flag, an
environment variable, a line of the configuration file, or the default.
` + exits(),
		Example: "  checkpointctl config --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list := d.cfg.List()
			if d.json {
				return printJSON(d.out, list)
			}
			return table(d.out, func(w io.Writer) {
				fmt.Fprint(w, "KEY\tVALUE\tFROM\n")
				for _, s := range list {
					fmt.Fprintf(w, "%s\t%v\t%s\n", s.Key, s.Value, s.From)
				}
			})
		},
	}
	d.jsonFlag(cmd)
	return cmd
}
