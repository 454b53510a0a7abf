package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Task is a process that its pid alone does not name: pids are used again.
type Task struct {
	PID int `json:"pid"`
	// StartTime is in clock ticks since boot, field 22 of proc_pid_stat(5).
	StartTime uint64 `json:"start_time"`
}

// Tasks are the processes of a restore; the zero Task for one that is not known
// yet.
type Tasks struct {
	Runc Task `json:"runc"`
	CRIU Task `json:"criu"`
	Init Task `json:"init"`
}

// FindTask returns the process that has the pid now; the zero Task if none has.
func FindTask(pid int) Task {
	t, _, _ := readStat(pid)
	return t
}

// Alive says whether the process is still there and is no zombie.
func (t Task) Alive() bool {
	now, state, _ := readStat(t.PID)
	return t.PID > 0 && now == t && state != "Z"
}

// Killed says whether a signal has ended the process, and its parent has not waited for
// it.
func (t Task) Killed() bool {
	now, state, status := readStat(t.PID)
	return t.PID > 0 && now == t && state == "Z" && status.Signaled()
}

// Kill ends the process by SIGKILL, unless its pid is another's by now.
func (t Task) Kill() {
	if t.Alive() {
		_ = unix.Kill(t.PID, unix.SIGKILL)
	}
}

// Await waits until the process has ended, and returns false if it has not
// within the limit.
func (t Task) Await(limit time.Duration) bool {
	for end := time.Now().Add(limit); t.Alive(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func readStat(pid int) (t Task, state string, status unix.WaitStatus) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Task{}, "", 0
	}
	// The command's name, in brackets, may hold anything.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 50 {
		return Task{}, "", 0
	}
	ticks, _ := strconv.ParseUint(fields[19], 10, 64)
	code, _ := strconv.ParseUint(fields[49], 10, 32)
	return Task{PID: pid, StartTime: ticks}, fields[0], unix.WaitStatus(code)
}

// Children are the child processes of all threads of a process.
func Children(pid int) []int {
	var pids []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}
