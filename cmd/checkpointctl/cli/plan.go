package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// printEach prints what a dry run would do with each of several.
func printEach[T any](d *deps, list []T, one func(io.Writer, T) error) error {
	if d.json {
		return printJSON(d.out, list)
	}
	for i, v := range list {
		if i > 0 {
			fmt.Fprintln(d.out)
		}
		if err := one(d.out, v); err != nil {
			return err
		}
	}
	return nil
}

func printPlan(out io.Writer, p restore.Plan) error {
	q := p.Request
	var options []string
	for _, o := range []struct {
		name string
		set  bool
	}{
		{"tcp-established", q.TCPEstablished}, {"file-locks", q.FileLocks}, {"ext-unix-sk", q.ExtUnixSk},
	} {
		if o.set {
			options = append(options, o.name)
		}
	}
	options = append(options, q.CRIUConfig...)
	link := "none: Docker knows the stand-in for runc"
	if p.Link != "" {
		link = p.Link + ", while Docker starts the container"
	}
	return table(out, func(w io.Writer) {
		for _, row := range [][2]string{
			{"Container", p.Container}, {"ID", p.ID}, {"Checkpoint", p.CheckpointOf + "/" + p.Checkpoint},
			{"Images", q.ImageDir}, {"Encrypted", yes(p.Encrypted)}, {"CRIU", q.CRIU}, {"CRIU options", dash(strings.Join(options, ", "))},
			{"runc", p.Runc}, {"Link", link},
			{"Files", rolledBack(p.RollBack)},
			{"Packets", packets(q.HoldPackets)}, {"Sysctls", fmt.Sprint(len(q.Sysctls) + len(q.InterfaceSysctls))},
			{"Connections tracked", fmt.Sprint(len(q.Connections))},
		} {
			fmt.Fprintf(w, "%s:\t%s\n", row[0], row[1])
		}
	})
}

func rolledBack(places []string) string {
	if places == nil {
		return "as they are"
	}
	return "those of the checkpoint in " + strings.Join(places, ", ")
}

func yes(set bool) string {
	if set {
		return "yes"
	}
	return "no"
}

func packets(held bool) string {
	if held {
		return "dropped until the connections are back"
	}
	return "let in"
}
