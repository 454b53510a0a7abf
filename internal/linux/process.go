// Package linux reads what the kernel says of processes, of their cgroups,
// namespaces and sockets, and undoes there what CRIU did. It knows nothing of
// Docker.
package linux

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func proc(pid int, file string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), file)
}

// status returns a field of /proc/PID/status; empty when there is no such
// process.
func status(pid int, field string) string {
	data, _ := os.ReadFile(proc(pid, "status"))
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Parent returns the pid of the process's parent; 0 when there is none.
func Parent(pid int) int {
	n, _ := strconv.Atoi(status(pid, "PPid"))
	return n
}

// WorkingDir returns the process's working directory; empty when there is no
// such process.
func WorkingDir(pid int) string {
	dir, _ := os.Readlink(proc(pid, "cwd"))
	return dir
}

// Command returns the name of the process's program, cut to 15 bytes; empty
// when there is no such process.
func Command(pid int) string {
	name, _ := os.ReadFile(proc(pid, "comm"))
	return strings.TrimSpace(string(name))
}

// Arguments returns the command line of a process.
func Arguments(pid int) []string {
	data, _ := os.ReadFile(proc(pid, "cmdline"))
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}

// Option returns the value of an option among arguments, in either spelling
// (--name value, --name=value); empty when there is none.
func Option(args []string, name string) string {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
		if arg == name && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// Traced says whether another process traces this one, as CRIU and debuggers
// do.
func Traced(pid int) bool {
	by := status(pid, "TracerPid")
	return by != "" && by != "0"
}

// Executable returns the path of the process's program, as it was in its own
// mount namespace; empty when there is no such process.
func Executable(pid int) string {
	path, _ := os.Readlink(proc(pid, "exe"))
	return path
}

// Dying says whether the process was killed, has ended or is gone: it will not
// run another instruction of its program.
func Dying(pid int) bool {
	stat, err := os.ReadFile(proc(pid, "stat"))
	if err != nil {
		return true
	}
	return dying(string(stat)) || killed(status(pid, "SigPnd")) || killed(status(pid, "ShdPnd"))
}

// dying reads state and flags in /proc/PID/stat, proc_pid_stat(5).
func dying(stat string) bool {
	const exiting = 0x4 // PF_EXITING, include/linux/sched.h
	f := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(f) < 7 {
		return false
	}
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	return f[0] == "Z" || f[0] == "X" || flags&exiting != 0
}

// killed reads a set of pending signals in /proc/PID/status.
func killed(set string) bool {
	bits, _ := strconv.ParseUint(set, 16, 64)
	return bits>>(unix.SIGKILL-1)&1 == 1
}

// Memory returns how many bytes the processes in the pid namespace of one would
// take in images, by their own accounts: an upper bound, since what they share
// counts for each.
func Memory(pid int) (int64, error) {
	if _, err := os.Readlink(proc(pid, "ns/pid")); err != nil {
		return 0, err
	}
	total := int64(0)
	for _, p := range Sharing(pid, "pid") {
		if data, err := os.ReadFile(proc(p, "status")); err == nil { // else it has ended
			total += dumpable(string(data))
		}
	}
	return total, nil
}

// dumpable sums up the memory in /proc/PID/status that no file holds,
// proc_pid_status(5).
func dumpable(status string) int64 {
	total := int64(0)
	for line := range strings.Lines(status) {
		f := strings.Fields(line)
		if len(f) == 3 && (f[0] == "RssAnon:" || f[0] == "RssShmem:" || f[0] == "VmSwap:") {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			total += n << 10
		}
	}
	return total
}

// Age returns how long ago the process began; 0 when there is none.
func Age(pid int) time.Duration {
	stat, err := os.ReadFile(proc(pid, "stat"))
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if err != nil || len(f) < 20 {
		return 0
	}
	ticks, err := strconv.ParseInt(f[19], 10, 64)
	var now unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	const tick = time.Second / 100 // USER_HZ
	return time.Duration(now.Nano()) - time.Duration(ticks)*tick
}

// Capable says whether this program has a capability.
func Capable(capability uint) bool {
	bits, err := strconv.ParseUint(status(os.Getpid(), "CapEff"), 16, 64)
	return err == nil && bits>>capability&1 == 1
}
