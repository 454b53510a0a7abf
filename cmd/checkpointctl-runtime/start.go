package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// start lets the restored tasks go and returns when they run: runc's own start
// would find the container running.
func start(c call, control runtime.Control) int {
	answer, err := control.Ask(runtime.Message{Do: runtime.Start})
	if err != nil {
		answer = afterAgent(c, control)
	}
	if answer.Error != "" {
		return c.fail(answer.Error)
	}
	return 0
}

// end aborts a restore for which Docker asked `runc kill` or `runc delete`. runc
// has no state of such a container yet: its kill says that there is no such
// container, after which dockerd waits for its end for ever, and its delete
// removes files.
func end(c call, control runtime.Control) int {
	answer, err := control.Ask(runtime.Message{Do: runtime.Abort})
	if err != nil {
		answer.Over = afterAgent(c, control).Error == ""
	}
	if c.command == "kill" && !answer.Over {
		return 0
	}
	if err := unmountBelow(c.stateDir()); err != nil {
		return c.fail(err.Error())
	}
	return report(handOn(c.args))
}

// afterAgent is the end of a restore whose agent was killed. The hook has lost
// its connection: if the tasks waited in it, CRIU undoes the restore, and if
// they did not, it goes on. The answer has no error if the container runs.
func afterAgent(c call, control runtime.Control) runtime.Answer {
	tasks, _ := control.Noted()
	req, _ := control.Request()
	tasks.Runc.Await(time.Minute)
	control.Unclaim()
	if _, err := os.Stat(filepath.Join(c.stateDir(), "state.json")); err == nil && tasks.Init.Alive() {
		err = release(req, tasks.Init.PID)
		_ = control.SetResult(runtime.Result{Init: tasks.Init})
		return answer(err)
	}
	for _, t := range [...]runtime.Task{tasks.Runc, tasks.CRIU, tasks.Init} {
		t.Kill()
	}
	return answer(runtime.ErrNoAgent)
}

// unmountBelow unmounts what a killed runc of an older version of this program
// may have left mounted: it would be deleted.
func unmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			if err := unix.Unmount(f[4], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				return &os.PathError{Op: "unmount", Path: f[4], Err: err}
			}
		}
	}
	return nil
}
