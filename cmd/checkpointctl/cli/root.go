package cli

import (
	"github.com/spf13/cobra"
)

func newRootCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "checkpointctl",
		Short:         "Checkpoint and restore Docker containers with CRIU",
		Version:       Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		// The hint of the error has them.
		DisableSuggestions:         true,
		SuggestionsMinimumDistance: 2,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			d.parsed = true
			return d.load()
		},
	}
	cmd.SetOut(d.out)
	cmd.SetErr(d.errOut)
	f := cmd.PersistentFlags()
	f.StringVar(&d.configFile, "config", "", "configuration `file` (default: ./checkpointctl.yaml, or one in the user's configuration directory or /etc/checkpointctl)")
	f.String("dir", "", "`directory` of the store (default: /var/lib/checkpointctl)")
	f.String("docker-host", "", "`address` of the Docker daemon (default: $DOCKER_HOST or Docker's own)")
	f.String("criu", "", "CRIU `binary` (default: the one on PATH)")
	f.String("log-level", "", "`level` of messages: debug, info, warning or error (default: warning)")
	f.String("log-format", "text", "text, or json: one object a line, with what containers come to")
	f.String("metrics-file", "", "`file` to keep metrics of checkpoints, restores and prunes in, for Prometheus (default: none)")
	d.bind(f, map[string]string{"dir": "dir", "docker.host": "docker-host", "criu.path": "criu", "log_level": "log-level", "log_format": "log-format", "metrics.file": "metrics-file"})
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"containers", "Containers:", []*cobra.Command{newCheckpointCmd(d), newPreDumpCmd(d), newRestoreCmd(d), newInspectCmd(d), newParkCmd(d), newUnparkCmd(d)}},
		{"store", "Checkpoints in the store:", []*cobra.Command{newListCmd(d), newLogsCmd(d), newVerifyCmd(d), newRmCmd(d), newPruneCmd(d), newExportCmd(d), newImportCmd(d), newPushCmd(d), newPullCmd(d)}},
		{"inside", "Inside a checkpoint:", []*cobra.Command{newShowCmd(d), newGrepCmd(d), newDiffCmd(d), newCoreCmd(d), newDumpMemoryCmd(d)}},
		{"host", "This host:", []*cobra.Command{newCheckCmd(d), newRepairCmd(d), newRuntimeCmd(d), newConfigCmd(d)}},
	} {
		cmd.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			c.Flags().SortFlags = false
			cmd.AddCommand(c)
		}
	}
	cmd.AddCommand(newGenerateCmd())
	cmd.SetHelpCommandGroupID("host")
	cmd.SetCompletionCommandGroupID("host")
	cmd.SetUsageFunc(usage)
	return cmd
}
