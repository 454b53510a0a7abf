package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// newOptions are for a container that is made from a checkpoint.
type newOptions struct {
	name, network, ip, image, execAfter string
	ports, volumes, binds, accept       []string
	clones                              int
	allowPrivileges                     bool
}

func (o *newOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	group(f, "New containers", func(f *pflag.FlagSet) {
		f.StringVar(&o.name, "name", "", "create a new `container` from the checkpoint and restore into it")
		f.IntVar(&o.clones, "clones", 1, "create this many containers, NAME-1 and so on: all or none")
		f.StringArrayVarP(&o.ports, "publish", "p", nil, "publish this `port` as docker run does, instead of the old container's ports (repeatable)")
		f.StringVar(&o.network, "network", "", "connect to this `network` instead of the old container's")
		f.StringVar(&o.ip, "ip", "", "IPv4 `address` in that network")
		f.StringArrayVar(&o.volumes, "volume", nil, "use another volume in place of one: `NAME=OTHER` (repeatable)")
		f.StringArrayVar(&o.binds, "bind", nil, "bind-mount a path of this host: `DESTINATION=SOURCE` (repeatable)")
		f.StringVar(&o.image, "image", "", "use this `image`, which must have the same layers as the old container's")
		f.StringVar(&o.execAfter, "exec-after", "", "run this shell `command` in each new container")
		f.StringSliceVar(&o.accept, "accept", nil, "take these settings from an imported checkpoint: "+strings.Join(docker.Acceptable(), ", "))
		f.BoolVar(&o.allowPrivileges, "allow-privileges", false, "let an imported checkpoint have more privileges than its container, and report them")
	})
	_ = cmd.RegisterFlagCompletionFunc("accept", cobra.FixedCompletions(docker.Acceptable(), cobra.ShellCompDirectiveNoFileComp))
}

// check refuses what does not go together. set are the flags.
func (o newOptions) check(set *pflag.FlagSet) error {
	if o.name == "" {
		for _, flag := range []string{"clones", "publish", "network", "ip", "volume", "bind", "image", "accept", "exec-after"} {
			if set.Changed(flag) {
				return fmt.Errorf("%w: --%s is for new containers and needs --name", config.ErrInvalid, flag)
			}
		}
		return nil
	}
	if err := metadata.CheckName(o.name); err != nil {
		return err
	}
	for _, a := range o.accept {
		if !slices.Contains(docker.Acceptable(), a) {
			return fmt.Errorf("%w: --accept: %q is not one of %s", config.ErrInvalid, a, strings.Join(docker.Acceptable(), ", "))
		}
	}
	switch {
	case o.clones < 1:
		return fmt.Errorf("%w: --clones: %d", config.ErrInvalid, o.clones)
	case o.clones > 1 && o.ip != "":
		return fmt.Errorf("%w: clones cannot share one --ip", config.ErrInvalid)
	}
	return nil
}

// change is what they ask for.
func (o newOptions) change() (restore.New, error) {
	n := restore.New{Image: o.image}
	n.Name, n.Network, n.IP, n.Ports, n.Accept = o.name, o.network, o.ip, o.ports, o.accept
	var err error
	if n.Volumes, err = pairs("volume", o.volumes); err == nil {
		n.Binds, err = pairs("bind", o.binds)
	}
	return n, err
}

func pairs(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range list {
		from, to, ok := strings.Cut(text, "=")
		if !ok || from == "" || to == "" {
			return nil, fmt.Errorf("%w: --%s: %q is not A=B", config.ErrInvalid, flag, text)
		}
		out[from] = to
	}
	return out, nil
}

func runRestoreNew(ctx context.Context, d *deps, ref, name string, o restoreOptions) error {
	if err := d.requireRoot(); err != nil {
		return err
	}
	n, err := o.new.change()
	if err != nil {
		return err
	}
	stored, err := d.storedName(ctx, ref)
	if err != nil {
		return err
	}
	client, err := d.docker()
	if err != nil {
		return err
	}
	client.AskDaemon(ctx)
	if !o.dryRun {
		if err := d.recovery(client).Stored(ctx, stored); err != nil {
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
	m := &restore.Maker{Restorer: r, Engine: client}
	clones := restore.Clones{Maker: m, Count: o.new.clones, ExecAfter: o.new.execAfter, Exec: client.Exec}
	if o.dryRun {
		drafts, err := clones.Plan(ctx, rec, n)
		if err != nil {
			return err
		}
		return printEach(d, drafts, printDraft)
	}
	began := time.Now()
	made, err := clones.Make(ctx, rec, n, restore.Options{TCPClose: o.tcpClose, LazyPages: o.lazyPages})
	t.end()
	if err != nil {
		return err
	}
	d.ran(opRestore, rec.Name, time.Since(began), exitOK, nil)
	return printMade(d, made, rec)
}

func printMade(d *deps, made []docker.Container, rec metadata.Record) error {
	list := []restored{}
	for _, c := range made {
		list = append(list, restoredOf(c, rec))
	}
	return printRestored(d, list, restored.container)
}

func printDraft(out io.Writer, draft docker.Draft) error {
	return table(out, func(w io.Writer) {
		fmt.Fprintf(w, "Would make:\t%s\n", draft.Name)
		fmt.Fprintf(w, "Networks:\t%s\n", dash(strings.Join(draft.Networks(), ", ")))
		for destination, name := range draft.Volumes {
			fmt.Fprintf(w, "Volume at %s:\t%s\n", destination, name)
		}
		fmt.Fprintf(w, "Privileges:\t%s\n", dash(strings.Join(draft.Privileges, ", ")))
	})
}
