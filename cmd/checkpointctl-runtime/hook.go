package main

import (
	"encoding/json"
	"errors"
	"os"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// runHook is called by runc while CRIU waits: it tells the agent the pid of the
// init, and returns when the agent says so. CRIU undoes the restore if it fails,
// also because the agent was killed.
func runHook(args []string) int {
	var state struct{ Pid int }
	if err := json.NewDecoder(os.Stdin).Decode(&state); err != nil {
		return report(err)
	}
	answer, err := runtime.ControlOf(args[0]).Ask(runtime.Message{Do: args[1], PID: state.Pid})
	switch {
	case err != nil:
		return report(err)
	case answer.Error != "":
		return report(errors.New(answer.Error))
	}
	return 0
}
