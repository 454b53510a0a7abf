package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// create does what `runc create` does for the shim: when it returns 0 the init
// exists, with its cgroup and namespaces, and its pid is in the pid file. The
// init's memory comes later, see start.
func create(c call, control runtime.Control) int {
	// A restore whose checkpointctl was killed is not what a later start means. The start
	// that it asked for must not run the container afresh, with the checkpoint's files.
	if !control.Owned() {
		if control.Withdraw() {
			return c.fail("checkpointctl was killed while it restored this container: restore it again, or start it once more to go without its memory")
		}
		return report(handOn(c.args))
	}
	if control.Claim() != nil { // another start has it
		return report(handOn(c.args))
	}
	said, err := startAgent(c)
	if err != nil {
		return c.fail(err.Error())
	}
	if problem := <-said; problem != "" {
		return c.fail(problem)
	}
	return 0
}

// startAgent starts what outlives this call. The channel gets an empty string
// when the init is there, or else what went wrong.
func startAgent(c call) (<-chan string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(c.args)
	if err != nil {
		return nil, err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer to.Close()
	cmd := exec.Command(self, agentCommand, c.id, string(line))
	cmd.ExtraFiles = []*os.File{to}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// The shim reads a terminal's stdout and stderr to their end: the agent must
	// not keep them. Otherwise they are the container's own.
	if linux.Option(c.rest, "--console-socket") == "" {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	said := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(from).ReadString('\n')
		problem, quoteErr := strconv.Unquote(strings.TrimSuffix(line, "\n"))
		if err != nil || quoteErr != nil {
			problem = runtime.ErrNoAgent.Error()
		}
		said <- problem
	}()
	return said, nil
}
