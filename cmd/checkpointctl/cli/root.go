package cli

import (
	"github.com/spf13/cobra"
)

func newRootCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "checkpointctl",
		Short:         "Checkpoint Docker containers through CRIU, and bring them back",
		Version:       Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			d.parsed = true
			return d.load()
		},
	}
	cmd.SetOut(d.out)
	cmd.SetErr(d.errOut)
	f := cmd.PersistentFlags()
	f.StringVar(&d.configFile, "config", "", "configuration `file` (default ./checkpointctl.yaml, one in the user's configuration directory, or /etc/checkpointctl)")
	f.String("dir", "", "store of checkpoints (default /var/lib/checkpointctl)")
	f.String("docker-host", "", "Docker daemon to ask (default $DOCKER_HOST or Docker's own)")
	f.String("criu", "", "criu `binary` (default the one on PATH)")
	f.String("log-level", "", "debug, info, warning or error (default warning)")
	d.bind(f, map[string]string{"dir": "dir", "docker.host": "docker-host", "criu.path": "criu", "log_level": "log-level"})
	cmd.AddCommand(
		newCheckpointCmd(d), newPreDumpCmd(d), newRestoreCmd(d), newInspectCmd(d), newListCmd(d),
		newLogsCmd(d), newRmCmd(d), newPruneCmd(d), newVerifyCmd(d), newRepairCmd(d), newExportCmd(d), newImportCmd(d),
		newPushCmd(d), newPullCmd(d), newCheckCmd(d), newRuntimeCmd(d), newConfigCmd(d),
	)
	return cmd
}
