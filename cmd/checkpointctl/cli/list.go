package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

type listOptions struct {
	container, sort, format string
	labels                  []string
	since                   time.Duration
	quiet                   bool
}

func newListCmd(d *deps) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list [CONTAINER]",
		Aliases: []string{"ls"},
		Short:   "List checkpoints",
		Long:    "List the checkpoints of a container, or all, oldest first. No container is touched.\n" + exitHelp,
		Example: `  checkpointctl list myapp
  checkpointctl list --label app=shop --since 24h --sort size
  checkpointctl list --format '{{.name}}/{{.checkpoint}} {{.size_bytes}}'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: d.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.container = args[0]
			}
			return runList(cmd.Context(), d, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.container, "container", "", "of this `container` only, as the argument")
	f.StringArrayVar(&o.labels, "label", nil, "of containers with this label: `KEY` or KEY=VALUE; all of several")
	f.DurationVar(&o.since, "since", 0, "made in the last so much time (as in 24h)")
	f.StringVar(&o.sort, "sort", "created", "by created, name or size")
	f.StringVar(&o.format, "format", "", "Go `template` for each, on the keys of the JSON record")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "only CONTAINER/CHECKPOINT")
	d.jsonFlag(cmd)
	return cmd
}

func runList(ctx context.Context, d *deps, o listOptions) error {
	compare := order(o.sort)
	if compare == nil {
		return fmt.Errorf("%w: --sort: %q is none of created, name, size", config.ErrInvalid, o.sort)
	}
	form, err := template.New("").Option("missingkey=error").Parse(o.format + "\n")
	if err != nil {
		return fmt.Errorf("%w: --format: %w", config.ErrInvalid, err)
	}
	if o.container != "" {
		if o.container, err = d.storedName(ctx, o.container); err != nil {
			return err
		}
	}
	records, damaged := d.store().List(o.container)
	if damaged != nil && len(records) > 0 {
		d.log.Warn(damaged)
		damaged = nil
	}
	records = slices.DeleteFunc(records, func(r metadata.Record) bool { return !o.wants(r) })
	slices.SortStableFunc(records, compare)
	switch {
	case o.format != "":
		err = printFormat(d.out, form, withFetches(d, records))
	case o.quiet:
		for _, r := range records {
			fmt.Fprintf(d.out, "%s/%s\n", r.Name, r.Checkpoint)
		}
	default:
		err = printList(d, withFetches(d, records))
	}
	return errors.Join(err, damaged)
}

// order is what --sort takes; nothing for anything else.
func order(by string) func(a, b metadata.Record) int {
	switch by {
	case "created":
		return func(a, b metadata.Record) int { return a.Timestamp.Compare(b.Timestamp) }
	case "name":
		return func(a, b metadata.Record) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Checkpoint, b.Checkpoint))
		}
	case "size":
		return func(a, b metadata.Record) int { return cmp.Compare(a.SizeBytes, b.SizeBytes) }
	}
	return nil
}

func (o listOptions) wants(r metadata.Record) bool {
	for _, l := range o.labels {
		key, want, exact := strings.Cut(l, "=")
		if got, ok := r.Labels[key]; !ok || exact && got != want {
			return false
		}
	}
	return o.since == 0 || time.Since(r.Timestamp) <= o.since
}

// printFormat gives the template what --json would print.
func printFormat(w io.Writer, form *template.Template, records []fetched) error {
	for _, r := range records {
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber() // sizes as they are, not as floats
		var fields map[string]any
		if err := dec.Decode(&fields); err != nil {
			return err
		}
		if err := form.Execute(w, fields); err != nil {
			return fmt.Errorf("%w: --format: %w", config.ErrInvalid, err)
		}
	}
	return nil
}

func printList(d *deps, records []fetched) error {
	if d.json {
		return printJSON(d.out, records)
	}
	return table(d.out, func(w io.Writer) {
		fmt.Fprint(w, "CONTAINER\tCHECKPOINT\tKIND\tROUNDS\tPARENT\tIMAGE\tCREATED\tSIZE\tFROZEN\n")
		for _, r := range records {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Checkpoint, r.kind(), roundsOf(r.Record), dash(r.Parent),
				r.Image, age(r.Timestamp), size(r.SizeBytes), frozen(r.Record))
		}
	})
}

func (r fetched) kind() string {
	if r.Fetch == nil {
		return kind(r.Record)
	}
	return kind(r.Record) + " (" + r.Fetch.String() + ")"
}

func kind(r metadata.Record) string {
	if r.Kind == metadata.KindPreDump {
		return "pre-dump (not restorable)"
	}
	return metadata.KindCheckpoint
}

func roundsOf(r metadata.Record) int {
	if r.PreDump == nil {
		return 0
	}
	return len(r.PreDump.Rounds)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
