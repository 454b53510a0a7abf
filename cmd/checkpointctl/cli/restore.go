package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/metrics"
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
		Short: "Restore stopped containers from checkpoints",
		Long: `Start a stopped container from a checkpoint, by default the newest. Docker itself
starts it, so that logs, exec, stop, ports and restart policies work as before.

The checkpoint is verified first, and refused if it is damaged. Everything else that
would make the restore fail is looked for before Docker is asked, too. If the restore
fails, the container is stopped, as before. The checkpoint stays in the store.
--dry-run prints what would be done, or why it would be refused.

Established TCP connections go on if the container gets the same IP address again;
--tcp-close closes them.

If the container ran on after its checkpoint and its files changed, its memory does
not match them any more and the restore is refused. --files=rollback brings back the
checkpoint's files: the writable layer and the volumes that it includes. The files
they replace are deleted once the restore has succeeded, or kept with --keep-changed.
--files=keep restores with the files as they are now. A container that was stopped by
its checkpoint (checkpoint --leave-running=false) needs neither.

--into starts another stopped container instead, such as one that was renamed or
created again. CONTAINER is then the name in the store. Both containers must have the
same image, user, capabilities, mounts, namespaces and runtime. Different volumes,
bind sources, hostnames, addresses and published ports are reported.

--name creates a new container from the configuration and the files that the
checkpoint has, and starts that. --clones creates several. If the restore fails, the
new container is removed.

A container made from an imported checkpoint gets no privileges, devices, bind mounts,
existing volumes, labels, annotations, log options or published ports, unless --accept
or --bind asks for them. The restore is refused if CRIU's images would give processes
more than the container is allowed, unless --allow-privileges is given.

Several containers are restored one after the other, those that own a namespace before
those that share it. Either all are restored or none. --group restores all containers
that were checkpointed together (checkpoint --consistent). A shared network namespace
receives no packets until its last container is back, so that connections between
its containers go on.

With --lazy-pages the container runs before its memory is there, and criu lazy-pages
fetches the rest in the background. list and inspect show the progress. Until it is
done, the checkpoint cannot be removed and the container cannot be checkpointed. If
criu lazy-pages is killed, the container is killed too; restore it again.
` + exits(exitNoContainer, exitState, exitNoCheckpoint, exitExists, exitRefused, exitSealed, exitFiles, exitDocker, exitCRIU, exitRestore, exitDamaged),
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
					err = fmt.Errorf("%w: --name takes one checkpoint, and cannot be combined with --into or --group", config.ErrInvalid)
				}
				if err != nil {
					return err
				}
				return d.restoring(cmd.Context(), o, []target{{container, checkpoint}}, func() error {
					return runRestoreNew(cmd.Context(), d, container, checkpoint, o)
				})
			}
			targets, err := d.restoreTargets(cmd.Context(), args)
			if err != nil {
				return err
			}
			switch {
			case o.keepChanged != "" && d.cfg.Restore.Files != restore.RollbackFiles:
				return fmt.Errorf("%w: --keep-changed needs --files=rollback", config.ErrInvalid)
			case len(targets) > 1 && o.group:
				return fmt.Errorf("%w: --group takes one checkpoint", config.ErrInvalid)
			case o.into != "" && (o.group || len(targets) > 1):
				return fmt.Errorf("%w: --into takes one container", config.ErrInvalid)
			}
			return d.restoring(cmd.Context(), o, targets, func() error {
				if o.group || len(targets) > 1 {
					return runRestoreAll(cmd.Context(), d, targets, o)
				}
				return runRestore(cmd.Context(), d, targets[0].container, targets[0].checkpoint, o)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.into, "into", "", "start this stopped `container` instead of the checkpoint's own")
	f.BoolVar(&o.group, "group", false, "restore all containers that were checkpointed together; CONTAINER may be the group's ID")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only print what would be done")
	f.BoolVar(&o.noVerify, "no-verify", false, "only compare file sizes instead of reading the whole checkpoint first")
	f.String("files", "refuse", "if files changed since the checkpoint: `refuse`, rollback (bring back the checkpoint's files) or keep (restore with the files as they are now)")
	f.StringVar(&o.keepChanged, "keep-changed", "", "with --files=rollback, keep the replaced files as tars in this `directory`")
	d.bind(f, map[string]string{"restore.files": "files"})
	f.BoolVar(&o.tcpClose, "tcp-close", false, "close established TCP connections instead of restoring them")
	_ = cmd.RegisterFlagCompletionFunc("into", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return d.completeNames(cmd, nil, word)
	})
	f.BoolVar(&o.lazyPages, "lazy-pages", false, "run the container before all of its memory is read")
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "names")
	o.new.flags(cmd)
	group(f, "Encryption", func(f *pflag.FlagSet) {
		d.identityFlags(f)
		d.stageFlag(f)
	})
	return cmd
}

// restoring runs a restore of targets, measured.
func (d *deps) restoring(ctx context.Context, o restoreOptions, targets []target, do func() error) error {
	var refs []string
	for _, t := range targets {
		refs = append(refs, t.container)
	}
	return d.measured(ctx, metrics.Run{Operation: opRestore}, refs, o.dryRun, do)
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
	t := d.begin(rec.Name+"/"+rec.Checkpoint, "preparing")
	defer t.end()
	r, err := d.restorerWith(ctx, client, o, t)
	if err != nil {
		return err
	}
	options := restore.Options{TCPClose: o.tcpClose, LazyPages: o.lazyPages}
	if o.dryRun {
		plan, err := r.DryRun(ctx, c, rec, options)
		if err != nil {
			return err
		}
		return printEach(d, []restore.Plan{plan}, printPlan)
	}
	began := time.Now()
	err = r.Restore(ctx, c, rec, options)
	t.end()
	if err != nil {
		return err
	}
	d.ran(opRestore, rec.Name, time.Since(began), exitOK, nil)
	return printRestored(d, []restored{restoredOf(c, rec)}, restored.checkpoint)
}

// restorerWith is the restorer that the options ask for. What it comes to is shown by the
// task.
func (d *deps) restorerWith(ctx context.Context, client *docker.Client, o restoreOptions, t *task) (*restore.Restorer, error) {
	r, err := d.restorer(ctx, client)
	if err != nil {
		return nil, err
	}
	r.NoVerify, r.Files, r.KeepChanged = o.noVerify, d.cfg.Restore.Files, o.keepChanged
	r.AllowPrivileges = o.new.allowPrivileges
	r.Warn = d.warn
	r.Store.Progress = t.bytes("")
	r.Happened = func(e restore.Event) {
		if e.State == restore.StateVerified {
			d.event(e.Container, e.Checkpoint, e.State, 0, nil)
		}
		t.restoring(e)
	}
	r.Waiting = func() { d.log.Warn("a restore that Docker has started cannot be interrupted: waiting for it to end") }
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
	client.AskDaemon(ctx)
	if o.group {
		if targets, err = d.groupTargets(ctx, targets[0]); err != nil {
			return err
		}
	}
	members, err := d.members(ctx, client, targets, o.dryRun)
	if err != nil {
		return err
	}
	t := d.begin("containers", "preparing")
	defer t.end()
	r, err := d.restorerWith(ctx, client, o, t)
	if err != nil {
		return err
	}
	options := restore.Options{TCPClose: o.tcpClose, LazyPages: o.lazyPages}
	if o.dryRun {
		plans, err := r.DryRunAll(ctx, members, options)
		if err != nil {
			return err
		}
		return printEach(d, plans, printPlan)
	}
	began := time.Now()
	err = r.RestoreAll(ctx, members, options)
	t.end()
	if err != nil {
		return err
	}
	list := []restored{}
	for _, m := range members {
		d.ran(opRestore, m.Record.Name, time.Since(began), exitOK, nil)
		list = append(list, restoredOf(m.Container, m.Record))
	}
	return printRestored(d, list, restored.checkpoint)
}

// printRestored prints a line of each.
func printRestored(d *deps, list []restored, line func(restored) string) error {
	if d.json {
		return printJSON(d.out, list)
	}
	var errs []error
	for _, r := range list {
		_, err := fmt.Fprintln(d.out, line(r))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// restoreTarget returns the container to be started, and the name in the store
// of the one that the checkpoint is of.
func (d *deps) restoreTarget(ctx context.Context, ref, into string) (client *docker.Client, c docker.Container, stored string, err error) {
	if into != "" {
		if stored, err = d.storedName(ctx, ref); err != nil {
			return nil, c, "", err
		}
		ref = into
	}
	if client, err = d.docker(); err != nil {
		return nil, c, "", err
	}
	client.AskDaemon(ctx)
	c, err = client.Inspect(ctx, ref)
	return client, c, cmp.Or(stored, c.Name), err
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

func (r restored) checkpoint() string { return r.CheckpointOf + "/" + r.Checkpoint }
func (r restored) container() string  { return r.Container }

func restoredOf(c docker.Container, rec metadata.Record) restored {
	return restored{c.Name, rec.Checkpoint, c.ID, rec.Name}
}
