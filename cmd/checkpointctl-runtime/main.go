// Command checkpointctl-runtime stands in for runc while a container is being
// restored. containerd's shim finds it on its PATH under the name runc, or by a
// runtime in Docker's daemon.json. It hands every call on to runc, except those
// that concern a container for which checkpointctl has left a request: there
// `create` and `start` become one `runc restore`, so that Docker connects the
// network and owns the container as after any start.
package main

import (
	"fmt"
	"os"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// What the program starts itself as. runc has no such commands.
const (
	agentCommand = "restore-agent"
	hookCommand  = "restore-hook"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) > 2 {
		switch args[0] { // with as many arguments as this program gives
		case agentCommand:
			return runAgent(args[1:])
		case hookCommand:
			return runHook(args[1:])
		}
	}
	// Nothing that may fail comes before this: most calls are not ours.
	if _, err := os.Lstat(runtime.ControlDir); err != nil {
		return report(handOn(args))
	}
	c := parse(args)
	control := runtime.ControlOf(c.id)
	switch {
	case c.id == "":
	case c.command == "create" && control.Pending():
		return create(c, control)
	case c.command == "start" && control.Claimed():
		return start(c, control)
	case (c.command == "kill" || c.command == "delete") && control.Claimed():
		return end(c, control)
	}
	return report(handOn(args))
}

// report prints why the program did not become another one.
func report(err error) int {
	fmt.Fprintln(os.Stderr, "checkpointctl-runtime:", err)
	return 1
}
