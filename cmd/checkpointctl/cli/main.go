// Package cli is the command line of checkpointctl: it resolves what the user
// named, calls the packages that do the work, and prints.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Version is set by the linker.
var Version = "devel"

// Main runs the command of os.Args and returns its exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), ends()...)
	defer stop()
	return run(ctx, os.Args, os.Stdout, os.Stderr)
}

// ends returns the signals that are to end a command, which then undoes what it
// has begun: SIGHUP too, as when an ssh session drops, but not under nohup. It
// sees to it that none ends the program at once: a broken pipe is an error of
// writing to it, and programs that are started from here have SIGPIPE as usual.
func ends() []os.Signal {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// run runs a command line, of which the first is the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	d := newDeps(stdout, stderr)
	root := newRootCmd(d)
	err := execute(ctx, d, root, args)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		reportError(d, err, exitInterrupted, "")
		return exitInterrupted
	}
	if errors.Is(err, errNoMatch) || unread(err) {
		return exitOther
	}
	code, hint := classify(err, d.parsed)
	if !d.parsed {
		hint = usageHint(root, d.args)
	}
	reportError(d, err, code, hint)
	return code
}

// unread says that all that failed is that standard output is read no more, as under head.
func unread(err error) bool {
	switch e := err.(type) { //nolint:errorlint // it goes through what is wrapped by itself
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !unread(err) })
	case *fs.PathError:
		return e.Path == os.Stdout.Name() && errors.Is(e, syscall.EPIPE)
	default:
		err = errors.Unwrap(err)
		return err != nil && unread(err)
	}
}

func execute(ctx context.Context, d *deps, root *cobra.Command, args []string) (err error) {
	d.args = args[1:]
	if asPlugin(args[0]) {
		if len(d.args) == 1 && d.args[0] == pluginMetadata {
			return d.metadata(root.Short)
		}
		if d.args, err = pluginArgs(d.args); err != nil {
			return err
		}
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "docker " + command}
	}
	root.SetArgs(d.args)
	return root.ExecuteContext(ctx)
}

// usageHint says what was likely meant by a command line that makes no sense, and
// where its command is described.
func usageHint(root *cobra.Command, args []string) string {
	cmd, rest, err := root.Find(args)
	if err != nil && len(rest) > 0 {
		if near := root.SuggestionsFor(rest[0]); len(near) > 0 {
			return fmt.Sprintf("did you mean %s?", strings.Join(near, " or "))
		}
	}
	return cmd.CommandPath() + " --help"
}
