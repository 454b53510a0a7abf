package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

type restoreOptions struct {
	into                       string
	tcpClose, noVerify, dryRun bool
}

func newRestoreCmd(d *deps) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore CONTAINER [CHECKPOINT]",
		Short: "Bring a stopped container back from a checkpoint",
		Long: `Start a stopped container from a checkpoint, by default the newest. Its files
are compared with its record first, all of them, and a damaged checkpoint is
refused; --no-verify compares their sizes only.

A checkpoint holds no files. If the container ran on after it and changed its own
files, or files that it has in use were changed, its memory does not go with them
any more and the restore is refused; --files=keep restores all the same. To stop a
container and bring it back later: checkpoint --leave-running=false.

--into starts another stopped container from it: one that was renamed or created
anew, or a second one. CONTAINER is then the name in the store, and may be gone
from Docker. Both must be of one image and have the same user, capabilities,
mounts, namespaces and runtime; what their volumes and binds are may differ, and so
may hostname, address and published ports: this is said.

Docker itself starts it, so that logs, exec, stop, ports and restart policy go on
working. Established TCP connections come back if the container gets the same IP
again; --tcp-close closes them. If the restore fails the container is stopped, as
before. The checkpoint stays in the store. --dry-run says what would be done, or
why it would be refused, and touches nothing.
` + exitHelp,
		Example: `  checkpointctl restore myapp before-upgrade
  checkpointctl restore myapp/before-upgrade --into myapp2`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, name, err := reference(args)
			if err != nil {
				return err
			}
			return runRestore(cmd.Context(), d, ref, name, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.into, "into", "", "start this stopped `container` instead of the checkpoint's own")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "say what would be done, and touch nothing")
	f.BoolVar(&o.noVerify, "no-verify", false, "compare file sizes only, do not read the checkpoint first")
	f.String("files", "refuse", "what to do if files changed since the checkpoint: `refuse` or keep (restore with the files as they are now)")
	d.bind(f, map[string]string{"restore.files": "files"})
	f.BoolVar(&o.tcpClose, "tcp-close", false, "close established TCP connections instead of restoring them")
	_ = cmd.RegisterFlagCompletionFunc("into", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return d.completeNames(cmd, nil, word)
	})
	d.identityFlags(f)
	d.stageFlag(f)
	d.jsonFlag(cmd)
	return cmd
}

func runRestore(ctx context.Context, d *deps, ref, name string, o restoreOptions) error {
	if err := d.requireRoot(); err != nil {
		return err
	}
	client, c, stored, err := d.restoreTarget(ctx, ref, o.into)
	if err != nil {
		return err
	}
	if !o.dryRun {
		if err := d.beforeRestore(ctx, client, c, stored); err != nil {
			return err
		}
	}
	rec, err := d.store().Find(stored, name)
	if err != nil {
		return err
	}
	r, err := d.restorer(ctx, client)
	if err != nil {
		return err
	}
	r.NoVerify, r.KeepFiles = o.noVerify, d.cfg.Restore.Files == config.KeepFiles
	r.Warn = d.warn
	r.Waiting = func() { d.log.Warn("a restore that Docker has begun cannot be broken off: waiting for its end") }
	options := restore.Options{TCPClose: o.tcpClose}
	if o.dryRun {
		plan, err := r.DryRun(ctx, c, rec, options)
		if err != nil {
			return err
		}
		return printPlan(d, plan)
	}
	if err := r.Restore(ctx, c, rec, options); err != nil {
		return err
	}
	return printRestored(d, c, rec)
}

// restoreTarget returns the container to be started, and the name in the store
// of the one that the checkpoint is of.
func (d *deps) restoreTarget(ctx context.Context, ref, into string) (client *docker.Client, c docker.Container, stored string, err error) {
	if into == "" {
		client, c, err = d.container(ctx, ref)
		return client, c, c.Name, err
	}
	if stored, err = d.storedName(ctx, ref); err != nil {
		return nil, c, "", err
	}
	client, c, err = d.container(ctx, into)
	return client, c, stored, err
}

// beforeRestore recovers what killed runs left of the container, and under the
// name of the checkpoint's.
func (d *deps) beforeRestore(ctx context.Context, client *docker.Client, c docker.Container, stored string) error {
	r := d.recovery(client)
	if err := r.Container(ctx, c); err != nil || stored == c.Name {
		return err
	}
	return r.Stored(ctx, stored)
}

func printRestored(d *deps, c docker.Container, rec metadata.Record) error {
	if d.json {
		return printJSON(d.out, struct {
			Container    string `json:"container"`
			Checkpoint   string `json:"checkpoint"`
			ID           string `json:"id"`
			CheckpointOf string `json:"checkpoint_of"`
		}{c.Name, rec.Checkpoint, c.ID, rec.Name})
	}
	_, err := fmt.Fprintf(d.out, "%s/%s\n", rec.Name, rec.Checkpoint)
	return err
}
