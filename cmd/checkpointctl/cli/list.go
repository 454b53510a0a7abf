package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

type listOptions struct {
	container, sort, format string
	labels                  []string
	since                   time.Duration
	noTrunc                 bool
}

func newListCmd(d *deps) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list [CONTAINER]",
		Aliases: []string{"ls"},
		Short:   "List checkpoints",
		Long: `List the checkpoints of a container, or of all, oldest first. Long names are cut so
that the table fits 100 columns; --no-trunc shows them in full, and all columns.
` + exits(exitNoContainer, exitNoCheckpoint, exitCRIU),
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
	f.StringVar(&o.container, "container", "", "same as the argument: only checkpoints of this `container`")
	f.StringArrayVar(&o.labels, "label", nil, "only checkpoints of containers with this label: `KEY` or KEY=VALUE (repeatable: must have all)")
	f.DurationVar(&o.since, "since", 0, "only checkpoints made within this time, such as 24h")
	f.StringVar(&o.sort, "sort", "created", "sort by created, name or size")
	f.StringVar(&o.format, "format", "", "print each checkpoint by this Go `template`, with the keys of the JSON record")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "show all columns, and names in full")
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "CONTAINER/CHECKPOINT")
	return cmd
}

func runList(ctx context.Context, d *deps, o listOptions) error {
	compare := order(o.sort)
	if compare == nil {
		return fmt.Errorf("%w: --sort: %q is not one of created, name, size", config.ErrInvalid, o.sort)
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
	store := d.store()
	list, damaged := store.Summaries(o.container)
	if damaged != nil && len(list) > 0 {
		d.log.Warn(damaged)
		damaged = nil
	}
	list = slices.DeleteFunc(list, func(s metadata.Summary) bool { return !o.wants(s) })
	slices.SortStableFunc(list, compare)
	switch {
	case o.format != "":
		err = eachRecord(d, store, list, func(w io.Writer, r fetched) error { return printFormat(w, form, r) }, func(text []byte) error {
			_, err := d.out.Write(text)
			return err
		})
	case d.quiet:
		out := bufio.NewWriter(d.out)
		for _, s := range list {
			fmt.Fprintf(out, "%s/%s\n", s.Name, s.Checkpoint)
		}
		err = out.Flush()
	case d.json:
		err = printRecords(d, store, list)
	default:
		err = printList(d, store, list, o.noTrunc)
	}
	return errors.Join(err, damaged)
}

// eachRecord has the records written, some of them at once, and hands on what was
// written in the order of the list: thousands at once would take hundreds of megabytes.
// One that was removed meanwhile is left out.
func eachRecord(d *deps, store metadata.Store, list []metadata.Summary, write func(io.Writer, fetched) error, show func(text []byte) error) error {
	const atOnce = 32
	running := fetches()
	for some := range slices.Chunk(list, atOnce) {
		texts, damaged := make([]bytes.Buffer, len(some)), make([]error, len(some))
		var g errgroup.Group
		g.SetLimit(runtime.NumCPU())
		for i, s := range some {
			g.Go(func() error {
				r, err := store.Get(s.Name, s.Checkpoint)
				if err != nil {
					damaged[i] = err
					return nil
				}
				return write(&texts[i], fetched{r, fetchFrom(running, store.Path(s.Name, s.Checkpoint))})
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i := range some {
			switch err := damaged[i]; {
			case errors.Is(err, metadata.ErrNoCheckpoint):
			case err != nil:
				d.log.Warn(err)
			default:
				if err := show(texts[i].Bytes()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// printRecords writes one JSON array, as printJSON would.
func printRecords(d *deps, store metadata.Store, list []metadata.Summary) error {
	before := "[\n  "
	err := eachRecord(d, store, list, func(w io.Writer, r fetched) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("  ", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}, func(text []byte) error {
		_, err := fmt.Fprintf(d.out, "%s%s", before, bytes.TrimSuffix(text, []byte("\n")))
		before = ",\n  "
		return err
	})
	end := "\n]\n"
	if before[0] == '[' {
		end = "[]\n"
	}
	if err == nil {
		_, err = io.WriteString(d.out, end)
	}
	return err
}

// order is what --sort takes; nothing for anything else.
func order(by string) func(a, b metadata.Summary) int {
	switch by {
	case "created":
		return func(a, b metadata.Summary) int { return a.Timestamp.Compare(b.Timestamp) }
	case "name":
		return func(a, b metadata.Summary) int {
			return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Checkpoint, b.Checkpoint))
		}
	case "size":
		return func(a, b metadata.Summary) int { return cmp.Compare(a.SizeBytes, b.SizeBytes) }
	}
	return nil
}

func (o listOptions) wants(s metadata.Summary) bool {
	for _, l := range o.labels {
		key, want, exact := strings.Cut(l, "=")
		if got, ok := s.Labels[key]; !ok || exact && got != want {
			return false
		}
	}
	return o.since == 0 || time.Since(s.Timestamp) <= o.since
}

// printFormat gives the template what --json would print.
func printFormat(w io.Writer, form *template.Template, r fetched) error {
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
	return nil
}

func printList(d *deps, store metadata.Store, list []metadata.Summary, inFull bool) error {
	running := fetches()
	return printRows(d.out, listRows(list, func(s metadata.Summary) *fetch {
		return fetchFrom(running, store.Path(s.Name, s.Checkpoint))
	}, inFull))
}

// listRows are the rows of the table for people: all there is in full, or what fits.
// readBy finds the restore that still reads a checkpoint.
func listRows(list []metadata.Summary, readBy func(metadata.Summary) *fetch, inFull bool) [][]string {
	const container, checkpoint, image = 0, 1, 3 // the columns that may be cut
	rows := [][]string{{"CONTAINER", "CHECKPOINT", "KIND", "IMAGE", "CREATED", "SIZE", "FROZEN"}}
	if inFull {
		rows[0] = append(rows[0], "ROUNDS", "PARENT")
	}
	for _, s := range list {
		kind := s.Kind
		if f := readBy(s); f != nil {
			kind = f.String()
		}
		row := []string{s.Name, s.Checkpoint, kind, s.Image, age(s.Timestamp), size(s.SizeBytes), short(s.FrozenUS)}
		if inFull {
			row = append(row, fmt.Sprint(s.Rounds), dash(s.Parent))
		}
		rows = append(rows, row)
	}
	if !inFull {
		fit(rows, listWidth, []int{image}, []int{container, checkpoint})
	}
	return rows
}

// short is a duration with three digits or so.
func short(us int64) string {
	d := micros(us)
	switch {
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= 100*time.Millisecond:
		d = d.Round(time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	}
	return d.String()
}

// kind says what a checkpoint is good for.
func kind(s metadata.Summary) string {
	if s.Kind == metadata.KindPreDump {
		return "pre-dump (not restorable)"
	}
	return metadata.KindCheckpoint
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
