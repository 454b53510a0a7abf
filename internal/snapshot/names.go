package snapshot

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	criu_sa "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-sa"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/siginfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"golang.org/x/sys/unix"
)

// States of a task, compel/include/uapi/task-state.h.
const (
	stateAlive   = 1
	stateStopped = 3
)

func stateName(state uint32) string {
	names := map[uint32]string{stateAlive: "running", 2: "dead", stateStopped: "stopped", 4: "helper", 5: "thread", 6: "zombie"}
	if name, ok := names[state]; ok {
		return name
	}
	return fmt.Sprintf("state %d", state)
}

// signalName is as in SIGTERM, or a number.
func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprint(n)
}

// signalSet are the signals of a set, whose lowest bit is signal 1.
func signalSet(set uint64) []string {
	var list []string
	for ; set != 0; set &= set - 1 {
		list = append(list, signalName(bits.TrailingZeros64(set)+1))
	}
	return list
}

// handlers returns the signals that are caught, and those that are ignored. An image
// has an action for each signal but for SIGKILL and SIGSTOP, for which there is none
// (criu/cr-dump.c, parasite-syscall.c).
func handlers(actions []*criu_sa.SaEntry) (caught, ignored []string) {
	n := 0
	for _, a := range actions {
		if n++; n == int(unix.SIGKILL) || n == int(unix.SIGSTOP) {
			n++ // the two do not follow each other
		}
		switch a.GetSigaction() {
		case 0: // SIG_DFL
		case 1: // SIG_IGN
			ignored = append(ignored, signalName(n))
		default:
			caught = append(caught, signalName(n))
		}
	}
	return caught, ignored
}

// pending are queued signals. A siginfo_t begins with the signal's number.
func pending(q *siginfo.SignalQueueEntry) []string {
	var names []string
	for _, s := range q.GetSignals() {
		if raw := s.GetSiginfo(); len(raw) >= 4 {
			names = append(names, signalName(int(int32(binary.LittleEndian.Uint32(raw)))))
		}
	}
	return names
}

// Timer is one that is set.
type Timer struct {
	Kind string `json:"kind"` // real, virtual, profiling, or posix
	// Next is the time until it expires, Interval that between two expirations; 0 for
	// one that expires once.
	NextUS     int64 `json:"next_us"`
	IntervalUS int64 `json:"interval_us"`
}

func timers(t *timer.TaskTimersEntry) []Timer {
	var list []Timer
	for _, i := range []struct {
		kind string
		*timer.ItimerEntry
	}{{"real", t.GetReal()}, {"virtual", t.GetVirt()}, {"profiling", t.GetProf()}} {
		if i.ItimerEntry != nil && i.GetVsec()|i.GetVusec() != 0 {
			list = append(list, Timer{i.kind, micros(i.GetVsec(), i.GetVusec()*1000), micros(i.GetIsec(), i.GetIusec()*1000)})
		}
	}
	for _, p := range t.GetPosix() {
		list = append(list, Timer{"posix", micros(p.GetVsec(), p.GetVnsec()), micros(p.GetIsec(), p.GetInsec())})
	}
	return list
}

func micros(seconds, nanoseconds uint64) int64 {
	return (time.Duration(seconds)*time.Second + time.Duration(nanoseconds)).Microseconds()
}
