package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/report"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// printViews prints the parts that a document has, one below the other.
func printViews(w io.Writer, d *report.Document, tree bool) error {
	between := false
	for _, part := range []struct {
		has   bool
		print func(io.Writer)
	}{
		{d.Overview != nil, func(w io.Writer) { printOverview(w, d.Overview) }},
		{d.Processes != nil, func(w io.Writer) { printProcesses(w, d.Processes, tree) }},
		{d.Maps != nil, func(w io.Writer) { printMaps(w, d.Maps) }},
		{d.FDs != nil, func(w io.Writer) { printFDs(w, d.FDs) }},
		{d.Sockets != nil, func(w io.Writer) { printSockets(w, d.Sockets) }},
		{d.Mounts != nil, func(w io.Writer) { printMounts(w, d.Mounts) }},
		{d.Env != nil, func(w io.Writer) { printEnv(w, d.Env) }},
	} {
		if !part.has {
			continue
		}
		if between {
			fmt.Fprintln(w)
		}
		between = true
		if err := table(w, part.print); err != nil {
			return err
		}
	}
	return nil
}

func printOverview(w io.Writer, o *report.Overview) {
	made, by, with := "", "", ""
	if o.MadeAt != nil {
		made = o.MadeAt.Format(time.RFC3339)
	}
	if o.MadeBy != nil {
		by = madeBy(o.MadeBy)
	}
	if o.Versions != nil {
		with = madeWith(*o.Versions)
	}
	for _, row := range [][2]string{
		{"Checkpoint", o.Name}, {"Container", o.Container}, {"ID", o.ID}, {"Image", o.Image}, {"Comment", o.Comment}, {"Made", made}, {"Made by", by}, {"Made with", with}, {"Hostname", o.Hostname},
		{"Processes", fmt.Sprint(o.Processes)}, {"Threads", fmt.Sprint(o.Threads)}, {"Descriptors", fmt.Sprint(o.FDs)}, {"Sockets", fmt.Sprint(o.Sockets)},
		{"Image sets", fmt.Sprint(o.Links)}, {"Encrypted", yes(o.Encrypted)},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "%s:\t%s\n", row[0], report.Text(row[1]))
		}
	}
	fmt.Fprint(w, "\nMEMORY\tIN IMAGES\tIN PARENTS\tZERO\tOF FILES\tMISSING\n")
	for _, a := range o.Memory {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", a.Kind, size(int64(a.Images)), size(int64(a.Parent)), size(int64(a.Zero)), size(int64(a.OfFile)), size(int64(a.Missing)))
	}
	if len(o.Parts) > 0 {
		fmt.Fprint(w, "\nPART\tSIZE\tAT\n")
	}
	for _, p := range o.Parts {
		fmt.Fprintf(w, "%s\t%s\t%s\n", report.Text(p.Name), size(p.SizeBytes), dash(report.Text(p.Destination)))
	}
	if len(o.Needs) > 0 {
		fmt.Fprint(w, "\nA restore needs:\n")
	}
	for _, n := range o.Needs {
		fmt.Fprintf(w, "  %s\n", report.Text(n))
	}
}

func printProcesses(w io.Writer, list []report.Process, tree bool) {
	if !tree {
		fmt.Fprint(w, "PID\tPPID\tTHREADS\tSTATE\tUID\tCAPABILITIES\tSECCOMP\tCOMMAND\n")
	}
	for _, p := range list {
		command := report.Text(p.Command())
		if tree {
			fmt.Fprintf(w, "%s%d %s\n", strings.Repeat("  ", min(p.Depth, 64)), p.PID, command)
			for _, t := range p.Threads {
				if t.TID != p.PID {
					fmt.Fprintf(w, "%s  {%s} %d\n", strings.Repeat("  ", min(p.Depth, 64)), report.Text(t.Name), t.TID)
				}
			}
			continue
		}
		fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%d\t%s\t%s\t%s\n", p.PID, p.PPID, len(p.Threads), p.State, p.UID, capabilityCount(p.Capabilities), p.Seccomp, command)
	}
}

// capabilityCount is short for a list that is often long.
func capabilityCount(list []string) string {
	switch n := len(list); {
	case n == 0:
		return "none"
	case n <= 2:
		return strings.Join(list, ",")
	default:
		return fmt.Sprintf("%d", n)
	}
}

func printMaps(w io.Writer, list []report.ProcessMaps) {
	for i, p := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "PID %d (%s)\n", p.PID, report.Text(p.Name))
		fmt.Fprint(w, "ADDRESS\tPERMS\tSIZE\tIN IMAGES\tIN PARENTS\tZERO\tOF FILE\tMISSING\tNAME\n")
		row := func(address, perms string, n snapshot.Pages, name string) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", address, perms, pagesSize(n.Total), pagesSize(n.Present), pagesSize(n.Parent), pagesSize(n.Zero), pagesSize(n.OfFile), pagesSize(n.Missing), name)
		}
		for _, m := range p.Mappings {
			row(fmt.Sprintf("%x-%x", m.Start, m.End), m.Perms, m.Pages, report.Text(m.Name()))
		}
		row("all", "", p.Pages, "")
	}
}

// pagesSize is a number of pages as a size.
func pagesSize(n uint64) string {
	if n == 0 {
		return "-"
	}
	return size(int64(n * criuimg.PageSize))
}

func printFDs(w io.Writer, list []report.ProcessFDs) {
	fmt.Fprint(w, "PID\tFD\tTYPE\tACCESS\tPOSITION\tPEERS\tNAME\n")
	for _, p := range list {
		for _, f := range p.Descriptors {
			name := report.Text(f.Name)
			if f.Deleted {
				name += " (deleted)"
			}
			fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%d\t%s\t%s\n", p.PID, f.FD, f.Type, dash(f.Access), f.Position, dash(strings.Join(f.Peers, " ")), dash(name))
		}
	}
}

func printSockets(w io.Writer, list []snapshot.Socket) {
	fmt.Fprint(w, "PROTOCOL\tSTATE\tLOCAL\tREMOTE\tRECEIVE QUEUE\tSEND QUEUE\tOPTIONS\tOWNERS\n")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", s.Protocol, dash(s.State), dash(report.Text(s.Local)), dash(s.Remote), s.ReceiveQueue, s.SendQueue,
			dash(report.Text(strings.Join(s.Options, ","))), strings.Join(s.Owners, " "))
	}
}

func printMounts(w io.Writer, list []snapshot.Mount) {
	fmt.Fprint(w, "PATH\tTYPE\tSOURCE\tROOT\tMODE\tEXTERNAL\n")
	for _, m := range list {
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", report.Text(m.Path), report.Text(m.FSType), dash(report.Text(m.Source)), dash(report.Text(m.Root)), mode, dash(report.Text(m.External)))
	}
}

func printEnv(w io.Writer, list []report.ProcessEnv) {
	fmt.Fprint(w, "PID\tNAME\tVALUE\n")
	for _, p := range list {
		for _, text := range p.Env {
			name, value, _ := strings.Cut(text, "=")
			fmt.Fprintf(w, "%d\t%s\t%s\n", p.PID, report.Text(name), report.Text(value))
		}
	}
}
