package criu

import (
	"time"

	"golang.org/x/sys/unix"
)

// freezeMoment returns a time of the wall clock that tells what happened to a
// file before the tasks were frozen from what happens when they run on: the
// former has a ctime before it, the latter has it or a later one. It is called
// while the tasks are frozen; seen is the fine clock's time at a moment when
// they were already, the earlier the better.
//
// The kernel stamps a file with the coarse clock, which stands still between two
// ticks. Since 6.13 it takes the fine clock instead when the last stamp has been
// looked at, and no later coarse stamp lies before such a fine one ("multigrain
// timestamps", Documentation/filesystems/multigrain-ts.rst). Either way:
//   - A change before the freeze has a ctime of at most the fine clock then, and
//     so of at most seen. The answer is later than seen: the coarse clock has
//     ticked since.
//   - A change after the thaw has at least what the coarse clock says then, and
//     so at least the answer. It may be the same: the tick may not be over.
//
// The fine clock alone would not do for the answer: a change right after the
// thaw can have the time of the last tick, which lies before it.
func freezeMoment(seen time.Time) time.Time {
	for {
		if t := clock(unix.CLOCK_REALTIME_COARSE); t.After(seen) {
			return t
		}
		// At most a tick, of 1 to 10 ms. A dump takes longer by itself.
		time.Sleep(500 * time.Microsecond)
	}
}

func clock(id int32) time.Time {
	var t unix.Timespec
	_ = unix.ClockGettime(id, &t) // fails for clocks that do not exist alone
	return time.Unix(t.Unix()).UTC()
}

func fineClock() time.Time { return clock(unix.CLOCK_REALTIME) }
