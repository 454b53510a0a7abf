package runtime

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestTaskEnds(t *testing.T) {
	cmd := sleeper(t)
	task := FindTask(cmd.Process.Pid)
	if !task.Alive() || task.Killed() || task.PID != cmd.Process.Pid || task.Await(time.Millisecond) {
		t.Fatalf("%+v does not run", task)
	}
	if !slices.Contains(Children(os.Getpid()), task.PID) {
		t.Error("it is no child")
	}
	task.Kill()
	// Nobody has waited for it: it is a zombie, with its start time.
	if !task.Await(10*time.Second) || FindTask(task.PID) != task || !task.Killed() {
		t.Error("a zombie is taken for alive, or is not there")
	}
	_ = cmd.Wait()
	if task.Alive() || task.Killed() || FindTask(task.PID) == task {
		t.Error("alive after it was waited for")
	}
}

// A pid that is another's by now is neither alive nor killed.
func TestTaskReused(t *testing.T) {
	cmd := sleeper(t)
	now := FindTask(cmd.Process.Pid)
	before := now
	before.StartTime--
	before.Kill()
	if before.Alive() || !before.Await(0) || !now.Alive() {
		t.Error("a pid that was used again is taken for the same process")
	}
	if (Task{}).Alive() || !(Task{}).Await(0) {
		t.Error("a task that is not known is alive")
	}
	(Task{}).Kill()
}

// The name of a command may look like what follows it.
func TestTaskName(t *testing.T) {
	path := t.TempDir() + "/x) Z 1 (y"
	data, err := os.ReadFile("/bin/sleep")
	if err == nil {
		err = os.WriteFile(path, data, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if task, own := FindTask(cmd.Process.Pid), FindTask(os.Getpid()); !task.Alive() || task.StartTime < own.StartTime {
		t.Errorf("%+v is not alive, or older than its parent %+v", task, own)
	}
}
