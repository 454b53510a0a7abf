package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is how wide descriptions of flags may be.
const helpWidth = 100

// flagGroup is the annotation of a flag with the heading that it is shown under.
const flagGroup = "group"

// group adds flags under a heading of their own.
func group(f *pflag.FlagSet, heading string, add func(*pflag.FlagSet)) {
	part := pflag.NewFlagSet(heading, pflag.ContinueOnError)
	part.SortFlags = false
	add(part)
	part.VisitAll(func(flag *pflag.Flag) {
		if flag.Annotations == nil {
			flag.Annotations = map[string][]string{}
		}
		flag.Annotations[flagGroup] = []string{heading}
	})
	f.AddFlagSet(part)
}

// usage prints how a command is used, with its flags by group and in the order in
// which they were added.
func usage(cmd *cobra.Command) error {
	w := cmd.OutOrStderr()
	fmt.Fprint(w, "Usage:\n")
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s COMMAND\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(w, "  %s\n", cmd.UseLine())
	}
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(w, "\nAliases:\n  %s\n", cmd.NameAndAliases())
	}
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	printCommands(w, cmd)
	var headings []string
	groups := map[string]*pflag.FlagSet{}
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		heading := "Flags"
		if g := flag.Annotations[flagGroup]; g != nil {
			heading = g[0]
		}
		if groups[heading] == nil {
			headings = append(headings, heading)
			groups[heading] = pflag.NewFlagSet(heading, pflag.ContinueOnError)
			groups[heading].SortFlags = false
		}
		groups[heading].AddFlag(flag)
	})
	for _, heading := range headings {
		fmt.Fprintf(w, "\n%s:\n%s", heading, groups[heading].FlagUsagesWrapped(helpWidth))
	}
	if cmd.HasAvailableInheritedFlags() {
		fmt.Fprintf(w, "\nGlobal flags:\n%s", cmd.InheritedFlags().FlagUsagesWrapped(helpWidth))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nRun '%s COMMAND --help' for more about a command.\n", cmd.CommandPath())
	}
	return nil
}

func printCommands(w io.Writer, cmd *cobra.Command) {
	groups := cmd.Groups()
	if len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands:"}}
	}
	for _, g := range groups {
		var lines []string
		for _, c := range cmd.Commands() {
			if c.GroupID == g.ID && c.IsAvailableCommand() {
				lines = append(lines, fmt.Sprintf("  %-*s %s\n", c.NamePadding(), c.Name(), c.Short))
			}
		}
		if lines != nil {
			fmt.Fprintf(w, "\n%s\n%s", g.Title, strings.Join(lines, ""))
		}
	}
}

// meanings are those of the exit statuses, as a command's help says them.
var meanings = [...]struct {
	code int
	text string
}{
	{exitOK, "success"},
	{exitOther, "any other error"},
	{exitUsage, "wrong usage or configuration"},
	{exitIncomplete, "some of several containers failed"},
	{exitNoContainer, "no such container"},
	{exitState, "the container is not in the right state"},
	{exitNoCheckpoint, "no such checkpoint"},
	{exitExists, "the checkpoint exists already, or something else works on the container"},
	{exitRefused, "a mount, a process or something else of the container cannot be handled"},
	{exitSealed, "the checkpoint is encrypted, and nothing given decrypts it"},
	{exitFiles, "files changed since the checkpoint"},
	{exitDocker, "Docker cannot be reached or used"},
	{exitCRIU, "CRIU, a privilege or a kernel feature is missing"},
	{exitDump, "the dump failed"},
	{exitRestore, "the restore failed"},
	{exitDamaged, "the checkpoint is damaged"},
	{exitArchive, "the archive is refused"},
	{exitRegistry, "the registry cannot be reached or used"},
	{exitInterrupted, "interrupted"},
}

// exits is the end of a command's help: the exit statuses that it has, beside those
// that every command has.
func exits(codes ...int) string {
	codes = append(codes, exitOK, exitOther, exitUsage, exitInterrupted)
	var text strings.Builder
	text.WriteString("\nExit status:\n")
	for _, m := range meanings {
		if slices.Contains(codes, m.code) {
			fmt.Fprintf(&text, "  %3d  %s\n", m.code, m.text)
		}
	}
	return strings.TrimSuffix(text.String(), "\n")
}
