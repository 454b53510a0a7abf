package tasks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// What threads are given is found, and given to others.
func TestTuning(t *testing.T) {
	allowed := func(pid int) (set unix.CPUSet) {
		if err := unix.SchedGetaffinity(pid, &set); err != nil {
			t.Fatal(err)
		}
		return set
	}
	all := allowed(0)
	if all.Count() < 2 {
		t.Fatal("this needs two processors")
	}
	var first unix.CPUSet
	cpus := ""
	for cpu := range maxCPUs {
		if all.IsSet(cpu) {
			cpus += fmt.Sprintf(",%d", cpu)
			if first.Count() == 0 {
				first.Set(cpu)
			}
		}
	}
	cpus = cpus[1:]
	sleeper := func() int {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	pid := sleeper()
	if list, err := ReadTuning(pid, cpus); err != nil || len(list) != 0 {
		t.Errorf("defaults: %+v, %v", list, err)
	}
	want := Tuning{Thread: pid, CPUs: "0", IOPriority: classBestEffort<<classShift | 6, TimerSlackNS: 123456, CoredumpFilter: "0000007f"}
	for cpu := range maxCPUs {
		if first.IsSet(cpu) {
			want.CPUs = strconv.Itoa(cpu)
		}
	}
	if failed := Tune(pid, []Tuning{want, {Thread: pid + 1, CPUs: "0"}}); len(failed) != 0 {
		t.Fatal(failed)
	}
	if got := allowed(pid); got != first {
		t.Errorf("CPUs %v", got)
	}
	if out, _ := exec.Command("ionice", "-p", strconv.Itoa(pid)).Output(); string(out) != "best-effort: prio 6\n" {
		t.Errorf("ionice: %s", out)
	}
	list, err := ReadTuning(pid, cpus)
	if err != nil || !reflect.DeepEqual(list, []Tuning{want}) {
		t.Errorf("%+v, %v, want %+v", list, err, want)
	}
	// A cgroup's own limit is nothing that a thread was given.
	if list, _ := ReadTuning(pid, want.CPUs); len(list) != 1 || list[0].CPUs != "" {
		t.Errorf("bound to all of its cgroup's: %+v", list)
	}
	for _, bad := range []Tuning{{Thread: pid, CPUs: "1023"}, {Thread: pid, CPUs: "0-9999999999"}, {Thread: pid, CPUs: "x"}, {Thread: pid, CoredumpFilter: "-"}} {
		if failed := Tune(pid, []Tuning{bad}); len(failed) != 1 {
			t.Errorf("%+v: %v", bad, failed)
		}
	}
	if failed := Tune(pid, []Tuning{{Thread: pid, IOPriority: 1 << classShift}}); len(failed) != 0 {
		t.Errorf("real time: %v", failed)
	}
	if out, _ := exec.Command("ionice", "-p", strconv.Itoa(pid)).Output(); string(out) != "best-effort: prio 6\n" {
		t.Errorf("real time was given: %s", out)
	}
}

func TestTuningOfAThread(t *testing.T) {
	ids, done := make(chan int), make(chan struct{})
	go func() {
		runtime.LockOSThread() // and never unlocked: it ends with a slack of its own
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 77, 0, 0, 0)
		ids <- unix.Gettid()
		<-done
	}()
	defer close(done)
	tid := <-ids
	online, err := os.ReadFile(filepath.Join("/sys/devices/system/cpu", "online"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ReadTuning(os.Getpid(), string(online))
	if err != nil {
		t.Fatal(err)
	}
	for _, tuning := range list {
		if tuning.Thread == tid && tuning.TimerSlackNS == 77 {
			return
		}
	}
	t.Errorf("thread %d: %+v", tid, list)
}

func TestParseCPUs(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3,8\n": 5, "1023": 1, "": -1, "3-1": -1, "-1": -1, "0-1024": -1, "a": -1, "0,": -1} {
		set, err := parseCPUs(list)
		if n := set.Count(); (err == nil) != (want >= 0) || err == nil && n != want {
			t.Errorf("%q: %d, %v", list, n, err)
		}
	}
}
