package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/batch"
	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/metrics"
	"github.com/checkpointctl/checkpointctl/internal/park"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

func newParkCmd(d *deps) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "park [CONTAINER...]",
		Short: "Stop containers by checkpoints until unpark",
		Long: `Checkpoint and stop running containers so that unpark restores them, as after a
reboot of the host. Without arguments, these are the containers with the label
checkpointctl.park (park.label in the configuration), and those named in park.order.

Containers are stopped before those that they depend on, by Compose's depends_on and by
park.order. Containers that share namespaces are checkpointed at one moment. One that
cannot be checkpointed runs on, and the others are parked all the same.

Docker does not start a parked container when it starts itself: until unpark, restart
policies always and on-failure are replaced by unless-stopped. The checkpoint of a
parked container cannot be removed.
` + exits(exitIncomplete, exitNoContainer, exitState, exitExists, exitRefused, exitDocker, exitCRIU, exitDump),
		Example: `  docker run -d --name web --label checkpointctl.park nginx
  checkpointctl park --dry-run`,
		ValidArgsFunction: d.completeContainers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.measured(cmd.Context(), metrics.Run{Operation: opCheckpoint}, args, dryRun, func() error {
				return runPark(cmd.Context(), d, args, dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&dryRun, "dry-run", "n", false, "only print which containers would be parked, in the order in which unpark restores them")
	f.String("label", "", "park containers with this label instead: `KEY` or KEY=VALUE")
	d.bind(f, map[string]string{"park.label": "label"})
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the names of checkpoints")
	group(f, "Encryption", d.encryptFlags)
	return cmd
}

func runPark(ctx context.Context, d *deps, refs []string, dryRun bool) error {
	if err := d.requireRoot(); err != nil {
		return err
	}
	d.cfg.Checkpoint.LeaveRunning, d.cfg.Checkpoint.Sync = false, config.SyncFull
	o := checkpointOptions{selectOptions: selectOptions{dryRun: dryRun}}
	m, err := d.maker(ctx, o)
	if err != nil {
		return err
	}
	containers, err := m.toPark(ctx, refs)
	if err != nil {
		return err
	}
	units, err := park.Order(containers, d.cfg.Park.Order)
	if err != nil {
		return fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	if dryRun {
		return printUnits(d, units)
	}
	made := map[string]*metadata.Record{}
	p := park.Parker{Docker: m.client, Store: d.store(), Checkpoint: func(ctx context.Context, u park.Unit, name string) error {
		records, err := m.park(ctx, u, name)
		for i, r := range records {
			made[r.Name] = &records[i]
		}
		return err
	}}
	list := p.Park(ctx, units, time.Now().UTC().Format("parked-20060102-150405"))
	for _, o := range list {
		d.ran(opCheckpoint, o.Container, o.Took, exitStatus(ctx, o.Err), made[o.Container])
	}
	return printParked(d, list, "parked")
}

// toPark returns the running containers that are named, or else those that the
// configuration selects.
func (m *maker) toPark(ctx context.Context, refs []string) ([]docker.Container, error) {
	named := len(refs) > 0
	if !named {
		list, err := m.client.List(ctx)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, s := range []batch.Selection{{Names: m.cfg.Park.Order}, {Labels: labelled(m.cfg.Park.Label)}} {
			for _, p := range s.Pick(list) {
				if p.Selected && !seen[p.ID] {
					seen[p.ID] = true
					refs = append(refs, p.ID)
				}
			}
		}
	}
	var containers []docker.Container
	for _, ref := range refs {
		c, err := m.container(ctx, ref)
		if !named && errors.Is(err, docker.ErrNoSuchContainer) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if c.State != "running" {
			return nil, &docker.StateError{Name: c.Name, Is: "is " + c.State, Hint: "only running containers can be parked"}
		}
		containers = append(containers, c)
	}
	return containers, nil
}

func labelled(label string) []string {
	if label == "" {
		return nil
	}
	return []string{label}
}

// park checkpoints and stops the containers of a unit, all or none.
func (m *maker) park(ctx context.Context, u park.Unit, name string) ([]metadata.Record, error) {
	var reqs []checkpoint.Request
	for _, c := range u {
		defer m.begin(c.Name, "preparing").end()
		reqs = append(reqs, m.request(ctx, m.cfg.Config, c, checkpointOptions{name: name}))
	}
	if len(reqs) == 1 {
		r, err := m.creator.Create(ctx, reqs[0])
		if err != nil {
			return nil, err
		}
		return []metadata.Record{r}, nil
	}
	records, errs := m.creator.CreateGroup(ctx, checkpoint.GroupRequest{Members: reqs, Limit: len(reqs)})
	return records, errors.Join(errs...)
}

func newUnparkCmd(d *deps) *cobra.Command {
	var rm bool
	cmd := &cobra.Command{
		Use:   "unpark",
		Short: "Restore the containers that park stopped",
		Long: `Restore all parked containers, those on which others depend first. A container that
cannot be restored is started without its checkpoint, as docker start does, which is
reported as an error; its checkpoint is kept. That is also done if its files changed
since. A container that was started meanwhile is left as it is.

After a reboot of the host, the wall clock of the containers shows the time that is, and
timers count only the time that the container ran. The other end of a TCP connection may
have given it up.
` + exits(exitIncomplete, exitNoContainer, exitState, exitNoCheckpoint, exitSealed, exitFiles, exitDocker, exitCRIU, exitRestore, exitDamaged),
		Example: "  checkpointctl unpark --rm",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.measured(cmd.Context(), metrics.Run{Operation: opRestore}, nil, false, func() error {
				return runUnpark(cmd.Context(), d, rm)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&rm, "rm", false, "remove the checkpoints from which containers were restored")
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the names of checkpoints")
	group(f, "Encryption", func(f *pflag.FlagSet) {
		d.identityFlags(f)
		d.stageFlag(f)
	})
	return cmd
}

func runUnpark(ctx context.Context, d *deps, rm bool) error {
	if err := d.requireRoot(); err != nil {
		return err
	}
	client, err := d.docker()
	if err != nil {
		return err
	}
	client.AskDaemon(ctx)
	t := d.begin("containers", "preparing")
	defer t.end()
	r, err := d.restorerWith(ctx, client, restoreOptions{}, t)
	if err != nil {
		return err
	}
	r.Files = restore.RefuseFiles // whatever is configured: what was done meanwhile stays
	p := park.Parker{Docker: client, Store: d.store(), Restore: func(ctx context.Context, members []restore.Member) error {
		for _, m := range members {
			if err := d.beforeRestore(ctx, client, m.Container, m.Record.Name); err != nil {
				return err
			}
		}
		if len(members) == 1 {
			return r.Restore(ctx, members[0].Container, members[0].Record, restore.Options{})
		}
		return r.RestoreAll(ctx, members, restore.Options{})
	}}
	list, err := p.Unpark(ctx)
	t.end()
	for i, o := range list {
		d.ran(opRestore, o.Container, o.Took, exitStatus(ctx, o.Err), nil)
		if rm && o.Err == nil {
			list[i].Err = removeOne(d.store(), o.Container, o.Checkpoint)
		}
	}
	return errors.Join(err, printParked(d, list, "restored"))
}

func removeOne(store metadata.Store, container, checkpoint string) error {
	unlock, err := store.Lock(container)
	if err != nil {
		return err
	}
	defer unlock()
	return store.Remove(container, checkpoint)
}

// printParked prints what became of the containers, and fails if one has failed.
func printParked(d *deps, list []park.Outcome, done string) error {
	type row struct {
		Container  string `json:"container"`
		OK         bool   `json:"ok"`
		Checkpoint string `json:"checkpoint,omitempty"`
		failure
	}
	rows, codes := []row{}, []int(nil)
	for _, o := range list {
		r := row{o.Container, o.Err == nil, o.Checkpoint, failureOf(o.Err)}
		if !r.OK {
			codes = append(codes, r.Code)
		}
		rows = append(rows, r)
	}
	var err error
	if d.json {
		err = printJSON(d.out, rows)
	} else {
		for i, r := range rows {
			if r.OK {
				fmt.Fprintf(d.notes(), "%s %s\n", done, r.Container)
				fmt.Fprintf(d.out, "%s/%s\n", r.Container, r.Checkpoint)
				continue
			}
			reportError(d, list[i].Err, r.Code, r.Hint)
		}
	}
	if err == nil && codes != nil {
		return sumUp(codes, len(rows))
	}
	return err
}

func printUnits(d *deps, units []park.Unit) error {
	type row struct {
		Order     int    `json:"order"`
		Container string `json:"container"`
	}
	rows := []row{}
	for i, u := range units {
		for _, c := range u {
			rows = append(rows, row{i + 1, c.Name})
		}
	}
	if d.json {
		return printJSON(d.out, rows)
	}
	return table(d.out, func(w io.Writer) {
		fmt.Fprint(w, "ORDER\tCONTAINER\n")
		for _, r := range rows {
			fmt.Fprintf(w, "%d\t%s\n", r.Order, r.Container)
		}
	})
}
