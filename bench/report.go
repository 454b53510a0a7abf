package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
)

// column is one figure of one peer.
type column struct {
	title, op, peer string
	figure          figure
}

// tables are the figures that the report shows, a row for each case.
var tables = [...]struct {
	title, about string
	columns      []column
}{
	{
		"Time of a checkpoint", "From the start of the command to its end. checkpointctl syncs the images to the disk before it says done, unless told\n" +
			"`--sync none`; the others do not. `criu dump` + sync is the bare dump with the same files synced the same way, `write(2)` the time to write as much\nmemory to a file and nothing else.",
		[]column{
			{"checkpointctl", "checkpoint", ours, total},
			{"`criu dump` + sync", "checkpoint", bare, synced},
			{"`write(2)` + sync", "checkpoint", limit, synced},
			{"`--sync none`", "checkpoint", unsynced, total},
			{"`criu dump`", "checkpoint", bare, total},
			{"`write(2)`", "checkpoint", limit, total},
			{"runc", "checkpoint", runc, total},
			{"Podman", "checkpoint", podman, total},
			{"Docker", "checkpoint", docker, total},
		},
	},
	{
		"Gap seen by the program", "The longest time between two beats of a program that beats once a millisecond.",
		[]column{
			{"checkpointctl", "checkpoint", ours, gap},
			{"`criu dump`", "checkpoint", bare, gap},
			{"`criu dump` to a tmpfs", "checkpoint", staged, gap},
			{"runc", "checkpoint", runc, gap},
			{"Podman", "checkpoint", podman, gap},
			{"Docker", "checkpoint", docker, gap},
		},
	},
	{
		"Frozen, by CRIU", "What CRIU counts as freezing and frozen. Docker does not keep CRIU's figures.",
		[]column{
			{"checkpointctl", "checkpoint", ours, frozen},
			{"`criu dump`", "checkpoint", bare, frozen},
			{"runc", "checkpoint", runc, frozen},
			{"Podman", "checkpoint", podman, frozen},
		},
	},
	{
		"Restore", "From the start of the command to the first beat of the restored program. All restore the same images, but for Podman.\n" +
			"Only checkpointctl verifies them before, unless told `--no-verify`. `criu restore` restores without Docker, into layers\n" +
			"that are mounted before, with no network; `docker start` starts the program afresh. runc cannot restore what Docker is to own.",
		[]column{
			{"checkpointctl", "restore", ours, answer},
			{"`--no-verify`", "restore", unverified, answer},
			{"`--no-verify --lazy-pages`", "restore", lazy, answer},
			{"Podman", "restore", podman, answer},
			{"Docker", "restore", docker, answer},
			{"`criu restore`, end", "restore", bareRestore, total},
			{"`docker start`, end", "restore", plainStart, total},
			{"checkpointctl, end", "restore", ours, total},
			{"peak memory", "restore", ours, peak},
		},
	},
	{
		"Space and memory", "Bytes on the disk; peak of checkpointctl's own resident memory; time from its start to CRIU's first line.",
		[]column{
			{"checkpointctl", "checkpoint", ours, disk},
			{"`criu dump`", "checkpoint", bare, disk},
			{"Podman", "checkpoint", podman, disk},
			{"Docker", "checkpoint", docker, disk},
			{"peak memory", "checkpoint", ours, peak},
			{"to CRIU", "checkpoint", ours, toCRIU},
		},
	},
	{
		"Many containers", "One checkpoint of each.",
		[]column{
			{"checkpointctl, one command", "batch", atOnce, total},
			{"checkpointctl, one after the other", "batch", inTurn, total},
			{"`criu dump`, one after the other", "batch", bare, total},
			{"Docker, one after the other", "batch", dockerInTurn, total},
		},
	},
	{
		"Many checkpoints", "Time of the command, and its peak of memory.",
		[]column{
			{"list", "list", ours, total},
			{"list --json", "list", ours + " --json", total},
			{"prune --dry-run", "prune", ours + " --dry-run", total},
			{"peak memory of list", "list", ours, peak},
		},
	},
	{
		"A look into checkpoints", "Time of `grep` of a text that is not there, of `diff` of two checkpoints, and of `show ps`, with the images in the page cache.",
		[]column{
			{"grep", "search", ours, total},
			{"memory of grep", "search", ours, peak},
			{"diff", "diff", ours, total},
			{"memory of diff", "diff", ours, peak},
			{"show ps", "ps", ours, total},
			{other + ", search", "search", other, total},
			{other + ", diff", "diff", other, total},
			{other + ", ps", "ps", other, total},
			{crit + ", ps", "ps", crit, total},
		},
	},
}

// markdown is all that the report says between its markers.
func markdown(r Results) string {
	var b strings.Builder
	m := r.Machine
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(m.Versions)) {
		versions = append(versions, name+" "+m.Versions[name])
	}
	fmt.Fprintf(&b, "Measured on %s: %d × %s, %d GiB of memory, %s, Linux %s; %s.\n", m.Date, m.CPUs, m.CPU, m.MemoryMiB>>10,
		m.Filesystem, m.Kernel, strings.Join(versions, ", "))
	for _, c := range r.Cases {
		if c.Version != "" {
			fmt.Fprintf(&b, "%s: checkpointctl %s.\n", c.Name, c.Version)
		}
	}
	for _, t := range tables {
		writeTable(&b, r.Cases, t.title, t.about, t.columns)
	}
	writeGrowth(&b, r.Cases)
	writeRefusals(&b, r)
	writeGoals(&b, r)
	return b.String()
}

// writeTable writes nothing if no case has any of the columns.
func writeTable(b *strings.Builder, cases []Case, title, about string, columns []column) {
	var rows strings.Builder
	for _, c := range cases {
		if !slices.ContainsFunc(columns, func(col column) bool { return c.series(col.op, col.peer).Peer != "" }) {
			continue
		}
		runs := 0 // of the first column that the case has
		for i := 0; i < len(columns) && runs == 0; i++ {
			_, runs = c.series(columns[i].op, columns[i].peer).median(columns[i].figure)
		}
		fmt.Fprintf(&rows, "| %s | %d |", c.Name, runs)
		for _, col := range columns {
			fmt.Fprintf(&rows, " %s |", c.cell(col, runs))
		}
		rows.WriteString("\n")
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n| case | runs |", title, about)
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(columns)) + "\n" + rows.String())
}

// cell is a median, with its number of runs where that is another than the row's.
func (c Case) cell(col column, usual int) string {
	s := c.series(col.op, col.peer)
	n, runs := s.median(col.figure)
	switch {
	case s.Refused != "":
		return "refused"
	case runs == 0:
		return "–"
	case runs != usual:
		return fmt.Sprintf("%s (%d)", show(col.figure, n), runs)
	}
	return show(col.figure, n)
}

func show(f figure, n int64) string {
	if f == disk || f == peak {
		return units.BytesSize(float64(n))
	}
	return ms(n)
}

func ms(us int64) string {
	switch {
	case us < 10_000:
		return fmt.Sprintf("%.1f ms", float64(us)/1e3)
	case us < 10_000_000:
		return fmt.Sprintf("%d ms", us/1000)
	}
	return fmt.Sprintf("%.1f s", float64(us)/1e6)
}

func writeRefusals(b *strings.Builder, r Results) {
	var lines []string
	for _, peer := range slices.Sorted(maps.Keys(r.Absent)) {
		lines = append(lines, fmt.Sprintf("- %s: %s", peer, r.Absent[peer]))
	}
	for _, c := range r.Cases {
		for _, s := range c.Series {
			if s.Refused != "" {
				lines = append(lines, fmt.Sprintf("- %s, %s, %s: %s", c.Name, s.Op, s.Peer, s.Refused))
			}
		}
	}
	if lines != nil {
		fmt.Fprintf(b, "\n### Refused\n\n%s\n", strings.Join(lines, "\n"))
	}
}

const (
	begin = "<!-- bench: begin -->\n"
	end   = "<!-- bench: end -->"
)

// writeDocs puts the tables between the markers of docs/performance.md, and
// the chart beside it.
func writeDocs(top string, r Results) error {
	file := filepath.Join(top, "docs", "performance.md")
	head, _, tail, err := readDocs(file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(head+section(r)+tail), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(top, "docs", "performance.svg"), []byte(chart(r)), 0o644)
}

func section(r Results) string { return "![times and gaps](performance.svg)\n\n" + markdown(r) }

// readDocs cuts the file at the markers, which belong to what is around them.
func readDocs(file string) (head, inside, tail string, err error) {
	data, err := os.ReadFile(file)
	head, rest, ok := strings.Cut(string(data), begin)
	inside, tail, ok2 := strings.Cut(rest, end)
	if err == nil && (!ok || !ok2) {
		err = fmt.Errorf("%s lacks the lines %q and %q", file, begin, end)
	}
	return head + begin, inside, end + tail, err
}
