package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/dockerd"
)

func newRuntimeCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runtime",
		Short: "Register checkpointctl-runtime with Docker",
		Long: `Register checkpointctl-runtime as a runtime of Docker, or remove it again. This is
only needed on hosts where checkpointctl check says that no link to it can be made
before runc. Containers created with --runtime ` + dockerd.Runtime + ` can be restored there.
`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRuntimeInstallCmd(d), newRuntimeUninstallCmd(d))
	return cmd
}

func newRuntimeInstallCmd(d *deps) *cobra.Command {
	var asDefault bool
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Add checkpointctl-runtime to Docker's runtimes",
		Long: `Add checkpointctl-runtime to the runtimes in Docker's daemon.json and reload Docker,
without a restart. The rest of the file stays as it is, and containers run on.
--default is refused if the file names another default runtime.
` + exits(exitDocker, exitCRIU),
		Example: "  checkpointctl runtime install --default\n  docker run -d --runtime " + dockerd.Runtime + " nginx",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRuntimeInstall(cmd.Context(), d, asDefault)
		},
	}
	cmd.Flags().BoolVar(&asDefault, "default", false, "make it the default runtime of new containers")
	return cmd
}

func newRuntimeUninstallCmd(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "uninstall",
		Short: "Remove checkpointctl-runtime from Docker's runtimes",
		Long: `Remove checkpointctl-runtime from Docker's daemon.json and reload Docker. This is
refused while there are containers with this runtime, running or not, because Docker
could not start them any more.
` + exits(exitState, exitDocker, exitCRIU),
		Example: "  checkpointctl runtime uninstall",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRuntimeUninstall(cmd.Context(), d)
		},
	}
}

func runRuntimeInstall(ctx context.Context, d *deps, asDefault bool) error {
	client, daemon, err := d.dockerd()
	if err != nil {
		return err
	}
	if err := daemon.Register(d.standIn(), asDefault, func() error { return reload(ctx, client, daemon, true) }); err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.errOut, "added runtime %s to %s\n", dockerd.Runtime, daemon.File)
	return err
}

func runRuntimeUninstall(ctx context.Context, d *deps) error {
	client, daemon, err := d.dockerd()
	if err != nil {
		return err
	}
	names, err := client.WithRuntime(ctx, dockerd.Runtime)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return &docker.StateError{Name: strings.Join(names, ", "), Is: "has runtime " + dockerd.Runtime + ", without which Docker cannot start it", Hint: "remove it, or create it again with another runtime"}
	}
	if err := daemon.Unregister(func() error { return reload(ctx, client, daemon, false) }); err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.errOut, "removed runtime %s from %s\n", dockerd.Runtime, daemon.File)
	return err
}

// dockerd finds the daemon whose configuration is to be changed.
func (d *deps) dockerd() (*docker.Client, dockerd.Daemon, error) {
	if err := d.requireRoot(); err != nil {
		return nil, dockerd.Daemon{}, err
	}
	client, err := d.docker()
	if err != nil {
		return nil, dockerd.Daemon{}, err
	}
	daemon, err := dockerd.Find(client.Socket())
	return client, daemon, err
}

// reload waits until Docker knows the runtime, or does not know it any more.
func reload(ctx context.Context, client *docker.Client, daemon dockerd.Daemon, want bool) error {
	if err := daemon.Reload(); err != nil {
		return err
	}
	for range 100 {
		info, err := client.Daemon(ctx)
		if err != nil {
			return err
		}
		if _, known := info.Runtimes[dockerd.Runtime]; known == want {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%w: dockerd (pid %d) did not apply %s; its log says why", dockerd.ErrConfig, daemon.PID, daemon.File)
}
