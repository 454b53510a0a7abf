package tasks

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Tuning is how the kernel treats a thread, as far as CRIU (4.2) does not restore it: the
// thread comes back with what CRIU itself has. Zero values are the kernel's defaults.
type Tuning struct {
	Thread         int    // its id in the pid namespace of the tree's root
	CPUs           string // on which it may run, as cpuset(7) writes them; empty for all of its cgroup's
	IOPriority     int    // class and level, see ioprio_set(2); never of the real-time class
	TimerSlackNS   int    // see prctl(2)
	CoredumpFilter string // of its process, in hexadecimal digits, see core(5)
}

const (
	slack = 50_000 // the kernel's default, in nanoseconds; threads of real-time policies have 0

	slackFile  = "timerslack_ns"
	filterFile = "coredump_filter"

	// From linux/ioprio.h.
	whoThread       = 1
	classShift      = 13
	classBestEffort = 2
	classIdle       = 3

	maxCPUs = 1024 // of a unix.CPUSet
)

// ReadTuning returns the tuning of the threads of a process and of its descendants, but of
// those that have nothing but defaults. cpus are those of their cgroup. A thread that ends
// meanwhile is left out. The error is that of the root, as Tree has it.
func ReadTuning(root int, cpus string) ([]Tuning, error) {
	all, err := parseCPUs(cpus)
	if err != nil {
		return nil, err
	}
	usual, err := os.ReadFile("/proc/self/" + filterFile)
	if err != nil {
		return nil, err
	}
	var list []Tuning
	err = eachThread(root, func(pid, tid int, status []byte, inside int) {
		t := Tuning{Thread: inside}
		allowed := field(status, "Cpus_allowed_list")
		if set, err := parseCPUs(allowed); err == nil && lacks(set, all) {
			t.CPUs = allowed
		}
		if p, _, e := unix.Syscall(unix.SYS_IOPRIO_GET, whoThread, uintptr(tid), 0); e == 0 && takenClass(int(p)) {
			t.IOPriority = int(p)
		}
		if text, err := os.ReadFile(threadFile(tid, slackFile)); err == nil {
			if ns := number(strings.TrimSpace(string(text))); ns != slack {
				t.TimerSlackNS = ns
			}
		}
		if pid == tid {
			if text, err := os.ReadFile(threadFile(pid, filterFile)); err == nil && string(text) != string(usual) {
				t.CoredumpFilter = strings.TrimSpace(string(text))
			}
		}
		if t != (Tuning{Thread: inside}) {
			list = append(list, t)
		}
	})
	return list, err
}

// Tune gives the threads of a process and of its descendants the tuning that ReadTuning
// found, and returns why some did not get it. CPUs that the cgroup does not have any more
// are left out while it has one of them.
func Tune(root int, list []Tuning) (failed []error) {
	if len(list) == 0 {
		return nil
	}
	threads := map[int]int{}
	err := eachThread(root, func(_, tid int, _ []byte, inside int) { threads[inside] = tid })
	if err != nil {
		return []error{err}
	}
	for _, t := range list {
		if tid, there := threads[t.Thread]; there { // or it has ended
			failed = append(failed, t.apply(tid)...)
		}
	}
	return failed
}

func (t Tuning) apply(tid int) (errs []error) {
	failed := func(what string, err error) {
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("thread %d does not get back its %s: %w", t.Thread, what, err))
		}
	}
	if t.CPUs != "" {
		set, err := parseCPUs(t.CPUs)
		if err == nil {
			err = unix.SchedSetaffinity(tid, &set)
		}
		failed("CPUs "+strconv.Quote(t.CPUs), err)
	}
	if takenClass(t.IOPriority) {
		if _, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, whoThread, uintptr(tid), uintptr(t.IOPriority)); e != 0 {
			failed("I/O priority", e)
		}
	}
	if t.TimerSlackNS > 0 {
		failed("timer slack", os.WriteFile(threadFile(tid, slackFile), []byte(strconv.Itoa(t.TimerSlackNS)), 0))
	}
	if t.CoredumpFilter != "" {
		failed("core dump filter", os.WriteFile(threadFile(tid, filterFile), []byte("0x"+t.CoredumpFilter), 0))
	}
	return errs
}

// Processes maps the ids of a process and of its descendants in the pid namespace of the
// process to those in the caller's.
func Processes(root int) (map[int]int, error) {
	pids := map[int]int{}
	err := eachThread(root, func(pid, tid int, _ []byte, inside int) {
		if pid == tid {
			pids[inside] = pid
		}
	})
	return pids, err
}

// takenClass leaves out the real-time class: a checkpoint from elsewhere must not get it,
// and a container cannot give it to itself.
func takenClass(priority int) bool {
	class := priority >> classShift
	return class == classBestEffort || class == classIdle
}

// threadFile is a file of a thread, which /proc has as of a process, too.
func threadFile(tid int, name string) string { return fmt.Sprintf("/proc/%d/%s", tid, name) }

// eachThread calls do for each thread of a process and of its descendants, with its id in
// the pid namespace of the process.
func eachThread(root int, do func(pid, tid int, status []byte, inside int)) error {
	buf := newBuffer()
	level := 0
	for pids := []int{root}; len(pids) > 0; pids = pids[1:] {
		dir, err := open("/proc/"+strconv.Itoa(pids[0]), buf)
		if err == nil {
			var children []int
			children, err = dir.eachThread(func(tid int, status []byte) {
				ids := strings.Fields(field(status, "NSpid"))
				if level == 0 {
					level = len(ids)
				}
				if level > 0 && level <= len(ids) {
					do(pids[0], tid, status, number(ids[level-1]))
				}
			})
			pids = append(pids, children...)
			dir.close()
		}
		if err != nil && pids[0] == root {
			return fmt.Errorf("process %d: %w", root, err)
		}
	}
	return nil
}

// eachThread calls do for each thread of the process whose directory this is, and returns
// the pids of their children. One that ends meanwhile is left out.
func (d *directory) eachThread(do func(tid int, status []byte)) (children []int, err error) {
	threads, err := d.in("task")
	if err != nil {
		return nil, err
	}
	defer threads.close()
	names, err := threads.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if status, err := threads.read(name + "/status"); err == nil {
			do(number(name), status)
			children = append(children, d.children(name)...)
		}
	}
	return children, nil
}

// parseCPUs reads a list such as 0-3,8.
func parseCPUs(list string) (set unix.CPUSet, err error) {
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err = errors.Join(err, err2); err != nil || from < 0 || to < from || to >= maxCPUs {
			return set, fmt.Errorf("%q is no list of CPUs", list)
		}
		for cpu := from; cpu <= to; cpu++ {
			set.Set(cpu)
		}
	}
	return set, nil
}

// lacks says whether a set has not all of another.
func lacks(set, of unix.CPUSet) bool {
	for cpu := range maxCPUs {
		if of.IsSet(cpu) && !set.IsSet(cpu) {
			return true
		}
	}
	return false
}
