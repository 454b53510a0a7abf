package cli

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newGenerateCmd writes what make install and packages put beside the program.
func newGenerateCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "generate DIRECTORY",
		Short:  "Write manual pages and shell completions into a share directory, such as /usr/share",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true
			for place, write := range map[string]func(string) error{
				"man/man8": func(path string) error {
					return doc.GenManTree(root, &doc.GenManHeader{Section: "8", Source: "checkpointctl " + Version, Manual: "checkpointctl"}, path)
				},
				"bash-completion/completions": func(path string) error {
					return root.GenBashCompletionFileV2(filepath.Join(path, "checkpointctl"), true)
				},
				"zsh/site-functions": func(path string) error {
					return root.GenZshCompletionFile(filepath.Join(path, "_checkpointctl"))
				},
				"fish/vendor_completions.d": func(path string) error {
					return root.GenFishCompletionFile(filepath.Join(path, "checkpointctl.fish"), true)
				},
			} {
				path := filepath.Join(args[0], place)
				if err := errors.Join(os.MkdirAll(path, 0o755), write(path)); err != nil { //nolint:gosec // for everybody
					return err
				}
			}
			return nil
		},
	}
}
