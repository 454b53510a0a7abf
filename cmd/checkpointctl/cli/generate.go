package cli

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/checkpointctl/checkpointctl/configs"
	"github.com/checkpointctl/checkpointctl/docs"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/manual"
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
				"man/man5": settingsPage,
				"man/man7": conceptsPage,
				"man/man8": func(path string) error {
					return doc.GenManTree(root, &doc.GenManHeader{Section: "8", Source: source(), Manual: command}, path)
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

// source is what manual pages call the program that they are of.
func source() string { return command + " " + Version }

// settingsPage writes checkpointctl.yaml(5) into a directory.
func settingsPage(dir string) error {
	text, err := manual.Settings(configs.Example)
	if err != nil {
		return err
	}
	return writePage(dir, manual.Page{
		Name: config.FileName, Section: 5, Summary: "configuration of checkpointctl",
		SeeAlso: "**checkpointctl(8)**, **checkpointctl-concepts(7)**", Text: text,
	})
}

// conceptsPage writes checkpointctl-concepts(7) into a directory.
func conceptsPage(dir string) error {
	return writePage(dir, manual.Page{
		Name: "checkpointctl-concepts", Section: 7, Summary: "what checkpointctl works with, and its words",
		SeeAlso: "**checkpointctl(8)**, **checkpointctl.yaml(5)**, **criu(8)**, **docker(1)**", Text: docs.Concepts,
	})
}

func writePage(dir string, p manual.Page) error {
	return os.WriteFile(filepath.Join(dir, p.File()), p.Render(source()), 0o644) //nolint:gosec // for everybody
}
