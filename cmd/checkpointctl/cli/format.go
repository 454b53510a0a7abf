package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Formats of what is shown of checkpoints.
const (
	formatTable = "table"
	formatTree  = "tree"
	formatJSON  = "json"
	formatHTML  = "html"
)

// formatFlags are --format and --output.
type formatFlags struct{ format, output string }

func (o *formatFlags) add(cmd *cobra.Command, usage string, formats ...string) {
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", usage)
	f.StringVarP(&o.output, "output", "o", "", "write to `file`")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// settle settles the format, which is JSON with --json and else a table, unless it is
// given.
func (o *formatFlags) settle(json bool, formats ...string) error {
	if o.format == "" {
		o.format = formatTable
		if json {
			o.format = formatJSON
		}
	}
	switch {
	case !slices.Contains(formats, o.format):
		return fmt.Errorf("--format: %q is not one of %s", o.format, strings.Join(formats, ", "))
	case json && o.format != formatJSON:
		return fmt.Errorf("--json and --format %s cannot be mixed", o.format)
	}
	return nil
}

// write calls write with the file of --output, or with standard output.
func (o formatFlags) write(stdout io.Writer, write func(io.Writer) error) error {
	if o.output == "" || o.output == "-" {
		return write(stdout)
	}
	_, err := toFile(o.output, func(f *os.File) error { return write(f) })
	return err
}
