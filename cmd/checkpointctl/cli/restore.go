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
	into, keepChanged                            string
	tcpClose, noVerify, dryRun, group, lazyPages bool
	new                                          newOptions
}

func newRestoreCmd(d *deps) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore CONTAINER [CHECKPOINT] | CONTAINER[/CHECKPOINT]...",
		Short: "Bring stopped containers back from checkpoints",
		Long: `Start a stopped container from a checkpoint, by default the newest. Its files
are compared with its record first, all of them, and a damaged checkpoint is
refused; --no-verify compares their sizes only.

If the container ran on after its checkpoint and changed its own files, or files that
it has in use were changed, its memory does not go with them any more and the restore
is refused. --files=rollback restores with the files of the checkpoint, its writable
layer and the volumes that were taken; what was there stays beside until the restore
has succeeded, and --keep-changed keeps it. --files=keep restores with the files as
they are now. Nothing of that is needed for a container that was stopped by its
checkpoint: checkpoint --leave-running=false.

--into starts another stopped container from it: one that was renamed or created
anew, or a second one. CONTAINER is then the name in the store, and may be gone
from Docker. Both must be of one image and have the same user, capabilities,
mounts, namespaces and runtime; what their volumes and binds are may differ, and so
may hostname, address and published ports: this is said.

--name makes a new container from what the checkpoint keeps of the old one's
configuration, which may be gone, with its files where the checkpoint has them, and
starts it from there. --publish, --network, --ip, --volume and --bind say what shall
differ. What stands against it is found before anything is made; if the restore
fails, what was made is removed. --clones makes several.

Of an imported checkpoint the container gets nothing that reaches out of it: no
privileges, devices, bind mounts (but those of --bind), volumes that are here
already, labels, annotations, log options and published ports (but for --accept). If
the images of an imported checkpoint have capabilities, mounts, namespaces or the
lack of a seccomp filter that the container is not allowed, which CRIU would restore
all the same, it is refused, also with --into. --allow-privileges is the only way
past, and says what it lets through.

Several containers are restored one after the other, the owner of a namespace
before those that share it: all or none. Each is refused, if at all, before the
first one starts; if one fails, those before it are killed again. --group takes all
that a checkpoint was taken together with (checkpoint --consistent). Where several
share a network namespace (--network container:NAME), it takes no packets in until
the last is back, so that connections between them go on.

Docker itself starts it, so that logs, exec, stop, ports and restart policy go on
working. Established TCP connections come back if the container gets the same IP
again; --tcp-close closes them. If the restore fails the container is stopped, as
before. The checkpoint stays in the store. --dry-run says what would be done, or
why it would be refused, and touches nothing.

With --lazy-pages the container runs as soon as its processes are there, and
criu lazy-pages brings their memory after that, what they touch first. All files
are read and compared with the record before, unless --no-verify is given. list and
inspect show how far it is. Until it is over the checkpoint cannot be removed, and
a checkpoint of the container waits. If criu lazy-pages is killed the container is
killed, too: it would go on with zeros for memory; restore it again.
` + exitHelp,
		Example: `  checkpointctl restore myapp before-upgrade
  checkpointctl restore myapp/before-upgrade --into myapp2
  checkpointctl restore myapp/before-upgrade --name myapp3 -p 8081:80
  checkpointctl restore web/nightly db/nightly
  checkpointctl restore --group web/nightly`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.new.check(cmd.Flags()); err != nil {
				return err
			}
			if o.new.name != "" {
				container, checkpoint, err := reference(args)
				if err == nil && (len(args) > 2 || o.into != "" || o.group) {
					err = fmt.Errorf("%w: --name is for one checkpoint, and without --into and --group", config.ErrInvalid)
				}
				if err != nil {
					return err
				}
				return runRestoreNew(cmd.Context(), d, container, checkpoint, o)
			}
			targets, err := d.restoreTargets(cmd.Context(), args)
			if err != nil {
				return err
			}
			switch {
			case o.keepChanged != "" && d.cfg.Restore.Files != restore.RollbackFiles:
				return fmt.Errorf("%w: --keep-changed goes with --files=rollback", config.ErrInvalid)
			case len(targets) > 1 && o.group:
				return fmt.Errorf("%w: --group is of one checkpoint: name that one", config.ErrInvalid)
			case o.into != "" && (o.group || len(targets) > 1):
				return fmt.Errorf("%w: --into is for one container", config.ErrInvalid)
			case o.group || len(targets) > 1:
				return runRestoreAll(cmd.Context(), d, targets, o)
			}
			return runRestore(cmd.Context(), d, targets[0].container, targets[0].checkpoint, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.into, "into", "", "start this stopped `container` instead of the checkpoint's own")
	f.BoolVar(&o.group, "group", false, "restore all that the checkpoint was taken together with; CONTAINER may be the group's ID")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "say what would be done, and touch nothing")
	f.BoolVar(&o.noVerify, "no-verify", false, "compare file sizes only, do not read the checkpoint first")
	f.String("files", "refuse", "what to do if files changed since the checkpoint: `refuse`, keep (restore with the files as they are now) or rollback (with those of the checkpoint)")
	f.StringVar(&o.keepChanged, "keep-changed", "", "with --files=rollback, write what was there as tars into this `directory`")
	d.bind(f, map[string]string{"restore.files": "files"})
	f.BoolVar(&o.tcpClose, "tcp-close", false, "close established TCP connections instead of restoring them")
	_ = cmd.RegisterFlagCompletionFunc("into", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return d.completeNames(cmd, nil, word)
	})
	f.BoolVar(&o.lazyPages, "lazy-pages", false, "run the container before its memory is there")
	o.new.flags(cmd)
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
	r, err := d.restorerWith(ctx, client, o)
	if err != nil {
		return err
	}
	options := restore.Options{TCPClose: o.tcpClose, LazyPages: o.lazyPages}
	if o.dryRun {
		plan, err := r.DryRun(ctx, c, rec, options)
		if err != nil {
			return err
		}
		if d.json {
			return printJSON(d.out, plan)
		}
		return printPlan(d.out, plan)
	}
	if err := r.Restore(ctx, c, rec, options); err != nil {
		return err
	}
	if d.json {
		return printJSON(d.out, restoredOf(c, rec))
	}
	_, err = fmt.Fprintf(d.out, "%s/%s\n", rec.Name, rec.Checkpoint)
	return err
}

func (d *deps) restorerWith(ctx context.Context, client *docker.Client, o restoreOptions) (*restore.Restorer, error) {
	r, err := d.restorer(ctx, client)
	if err != nil {
		return nil, err
	}
	r.NoVerify, r.Files, r.KeepChanged = o.noVerify, d.cfg.Restore.Files, o.keepChanged
	r.AllowPrivileges = o.new.allowPrivileges
	r.Warn = d.warn
	r.Waiting = func() { d.log.Warn("a restore that Docker has begun cannot be broken off: waiting for its end") }
	return r, nil
}

func runRestoreAll(ctx context.Context, d *deps, targets []target, o restoreOptions) error {
	if err := d.requireRoot(); err != nil {
		return err
	}
	client, err := d.docker()
	if err != nil {
		return err
	}
	if o.group {
		if targets, err = d.groupTargets(ctx, targets[0]); err != nil {
			return err
		}
	}
	members, err := d.members(ctx, client, targets, o.dryRun)
	if err != nil {
		return err
	}
	r, err := d.restorerWith(ctx, client, o)
	if err != nil {
		return err
	}
	options := restore.Options{TCPClose: o.tcpClose, LazyPages: o.lazyPages}
	if o.dryRun {
		plans, err := r.DryRunAll(ctx, members, options)
		if err != nil {
			return err
		}
		return printPlans(d, plans)
	}
	if err := r.RestoreAll(ctx, members, options); err != nil {
		return err
	}
	list := []restored{}
	for _, m := range members {
		list = append(list, restoredOf(m.Container, m.Record))
	}
	if d.json {
		return printJSON(d.out, list)
	}
	for _, l := range list {
		fmt.Fprintf(d.out, "%s/%s\n", l.CheckpointOf, l.Checkpoint)
	}
	return nil
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

type restored struct {
	Container    string `json:"container"`
	Checkpoint   string `json:"checkpoint"`
	ID           string `json:"id"`
	CheckpointOf string `json:"checkpoint_of"`
}

func restoredOf(c docker.Container, rec metadata.Record) restored {
	return restored{c.Name, rec.Checkpoint, c.ID, rec.Name}
}
