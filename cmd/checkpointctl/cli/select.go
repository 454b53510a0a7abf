package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/batch"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/docker"
)

// selectOptions say which of several containers are meant, and how they are
// taken together.
type selectOptions struct {
	config.Select
	batch                          string
	dryRun, allowEmpty, consistent bool
	concurrency                    int
}

func (d *deps) selectFlags(cmd *cobra.Command, o *selectOptions) {
	f := cmd.Flags()
	group(f, "Several containers", func(f *pflag.FlagSet) {
		f.BoolVar(&o.All, "all", false, "checkpoint all running containers")
		f.StringArrayVar(&o.Labels, "label", nil, "checkpoint running containers with this label: `KEY` or KEY=VALUE (repeatable: must have all)")
		f.StringVar(&o.ComposeProject, "compose-project", "", "checkpoint running containers of this Docker Compose project")
		f.StringVar(&o.Image, "image", "", "checkpoint running containers whose image matches this `pattern`")
		f.StringVar(&o.batch, "batch", "", "checkpoint the batch of this `name` in the configuration file")
		f.StringArrayVar(&o.Exclude, "exclude", nil, "leave out containers whose name matches this `pattern` (repeatable)")
		f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only print which containers would be checkpointed")
		f.BoolVar(&o.allowEmpty, "allow-empty", false, "succeed if no container matches")
		f.BoolVar(&o.consistent, "consistent", false, "freeze all containers before the first is dumped; keep all checkpoints or none")
		f.IntVar(&o.concurrency, "concurrency", 0, "how many containers to dump in parallel (default: the number of CPUs)")
	})
	_ = cmd.RegisterFlagCompletionFunc("batch", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		if d.load() != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, b := range d.cfg.Batches {
			names = append(names, b.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// check refuses command lines that contradict themselves.
func (o checkpointOptions) check() error {
	ways := 0
	criteria := len(o.Labels) > 0 || o.ComposeProject != "" || o.Image != ""
	for _, given := range [...]bool{len(o.containers) > 0, o.All, criteria, o.batch != ""} {
		if given {
			ways++
		}
	}
	names := slices.Clone(o.containers)
	slices.Sort(names)
	switch {
	case ways == 0:
		return errors.New("name a container, or give --all, --label, --compose-project, --image or --batch")
	case ways > 1:
		return errors.New("container names, --all, --batch and the selections --label, --compose-project, --image cannot be combined")
	case len(o.containers) > 0 && (len(o.Exclude) > 0 || o.allowEmpty):
		return errors.New("--exclude and --allow-empty cannot be combined with container names")
	case len(slices.Compact(names)) < len(o.containers):
		return errors.New("a container is named twice")
	case o.parent != "" && len(o.containers) != 1:
		return errors.New("--parent takes one container")
	case o.concurrency < 0:
		return errors.New("--concurrency must not be below 0")
	}
	return batch.CheckPatterns(append(o.Exclude, o.Image)...)
}

// theBatch is what the flags or the configuration say of the whole.
func (o checkpointOptions) theBatch(c config.Config) (config.Batch, error) {
	b := config.Batch{Select: o.Select}
	if o.batch != "" {
		var err error
		if b, err = c.Batch(o.batch); err != nil {
			return b, err
		}
		b.Select.Exclude = slices.Concat(b.Select.Exclude, o.Exclude)
	}
	b.AllowEmpty = b.AllowEmpty || o.allowEmpty
	b.Consistent = b.Consistent || o.consistent
	if o.concurrency > 0 {
		b.Concurrency = o.concurrency
	}
	return b, nil
}

// pick resolves names and selections, once.
func (o checkpointOptions) pick(ctx context.Context, m *maker, s config.Select) ([]batch.Pick, error) {
	var picks []batch.Pick
	for _, ref := range o.containers {
		p := batch.Pick{Listed: docker.Listed{Name: ref}, Selected: true, Reason: "named"}
		if o.dryRun {
			c, err := m.client.Inspect(ctx, ref)
			if err != nil {
				return nil, err
			}
			if p.Name = c.Name; c.State != "running" {
				p.Reason = "named, but is " + c.State
			}
		}
		picks = append(picks, p)
	}
	if picks != nil {
		return picks, nil
	}
	list, err := m.client.List(ctx)
	if err != nil {
		return nil, err
	}
	for i, c := range list {
		if c.State != "paused" || o.dryRun || m.store().PausedBy(c.Name) != c.ID {
			continue
		}
		now, err := m.container(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		list[i].State = now.State
	}
	return batch.Selection(s).Pick(list), nil
}

func printPicks(d *deps, picks []batch.Pick) error {
	type row struct {
		Container string `json:"container"`
		Selected  bool   `json:"selected"`
		Reason    string `json:"reason"`
	}
	rows := []row{}
	for _, p := range picks {
		rows = append(rows, row{p.Name, p.Selected, p.Reason})
	}
	if d.json {
		return printJSON(d.out, rows)
	}
	return table(d.out, func(w io.Writer) {
		fmt.Fprint(w, "CONTAINER\tACTION\tREASON\n")
		for _, r := range rows {
			action := "would checkpoint"
			if !r.Selected {
				action = "left out"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.Container, action, r.Reason)
		}
	})
}
