// Package cli is the command line of checkpointctl: it resolves what the user
// named, calls the packages that do the work, and prints.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Version is set by the linker.
var Version = "devel"

// Main runs the command of os.Args and returns its exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), ends()...)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
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

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	d := newDeps(stdout, stderr)
	root := newRootCmd(d)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		reportError(d, err, exitInterrupted, "")
		return exitInterrupted
	}
	if errors.Is(err, errNoMatch) {
		return exitOther
	}
	code, hint := classify(err, d.parsed)
	reportError(d, err, code, hint)
	return code
}
