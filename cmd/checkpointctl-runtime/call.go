package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// call is a command line for runc.
type call struct {
	args    []string
	globals []string // as they were given
	command string
	rest    []string // what follows the command
	id      string   // of a Docker container, empty if none is named
}

// globalsWithValue are runc's global options that take the next argument.
var globalsWithValue = [...]string{"--root", "--log", "--log-format", "--criu", "--rootless"}

func parse(args []string) call {
	c := call{args: args}
	i := 0
	for ; i < len(args) && strings.HasPrefix(args[i], "-"); i++ {
		if slices.Contains(globalsWithValue[:], args[i]) {
			i++
		}
	}
	i = min(i, len(args))
	c.globals = args[:i]
	if i < len(args) {
		c.command, c.rest = args[i], args[i+1:]
	}
	// kill has a signal behind the ID.
	for _, arg := range c.rest {
		if runtime.IsContainerID(arg) {
			c.id = arg
		}
	}
	return c
}

// without leaves an option and its value out.
func without(args []string, name string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == name:
			i++
		case !strings.HasPrefix(args[i], name+"="):
			out = append(out, args[i])
		}
	}
	return out
}

// stateDir is where runc keeps what it knows of the container.
func (c call) stateDir() string {
	root := linux.Option(c.globals, "--root")
	if root == "" {
		root = "/run/runc"
	}
	return filepath.Join(root, c.id)
}

// handOn becomes runc. It returns only if that fails.
func handOn(args []string) error {
	path, err := findRunc()
	if err != nil {
		return err
	}
	return syscall.Exec(path, append([]string{"runc"}, args...), os.Environ())
}

// findRunc returns the runc that would have been called without us: the next one
// on the PATH. One that comes before us may be another version of this program,
// which would call us again.
func findRunc() (string, error) {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	next := ""
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, "runc")
		info, err := os.Stat(path)
		switch {
		case !filepath.IsAbs(dir) || err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		case os.SameFile(self, info):
			next = ""
		case next == "":
			next = path
		}
	}
	if next == "" {
		return "", errors.New("no other runc on PATH " + os.Getenv("PATH"))
	}
	return next, nil
}

// fail writes the error where containerd's shim looks for it: it shows the last
// line of level error to Docker.
func (c call) fail(message string) int {
	path := linux.Option(c.globals, "--log")
	if path == "" {
		path = "/dev/stderr"
	}
	line, err := json.Marshal(struct {
		Level string    `json:"level"`
		Msg   string    `json:"msg"`
		Time  time.Time `json:"time"`
	}{"error", message, time.Now()})
	if err != nil {
		return report(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return report(errors.New(message))
	}
	defer f.Close()
	if _, err := f.Write(append(line, '\n')); err != nil {
		return report(errors.New(message))
	}
	return 1
}
