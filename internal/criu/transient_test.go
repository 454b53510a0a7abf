package criu

import (
	"errors"
	"fmt"
	"testing"
)

func TestTransient(t *testing.T) {
	const failed = "(00.1) Error (criu/cr-dump.c:2128): Dumping FAILED.\n"
	dump := func(line string) error {
		return fmt.Errorf("dump: %w", &DumpError{Err: errors.New("x"), Log: line + "\n" + failed})
	}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"netlink":          {dump("(00.1) Error (criu/sk-netlink.c:77): netlink: The socket has data to read"), true},
		"zombie":           {dump("(00.1) Error (criu/seize.c:335): zombie 71 (comm sleep) found while seizing"), true},
		"ended":            {dump("(00.1) Error (compel/src/lib/infect.c:261): Unseizable non-zombie 71 found, state X, err -1/10"), true},
		"not stopped":      {dump("(00.1) Error (compel/src/lib/infect.c:278): SEIZE 71: task not stopped after seize"), true},
		"pid reused":       {dump("(00.1) Error (compel/src/lib/infect.c:273): Task pid reused while suspending (71: 1 -> 2)"), true},
		"thread":           {dump("(00.1) Error (criu/seize.c:939): Zombie thread not supported"), true},
		"killed":           {dump("(00.1) Error (compel/src/lib/infect.c:1298): 71 was killed by 9 unexpectedly: Killed"), true},
		"unix, closed":     {dump("(00.1) Error (criu/sk-unix.c:524): unix: Found a closed in-flight socket to 0x1a"), true},
		"unix, with data":  {dump("(00.1) Error (criu/sk-unix.c:505): unix: Non-empty write queue on an in-flight socket 0x1a"), true},
		"lasting":          {dump("(00.1) Error (criu/sk-inet.c:137): inet: Unsupported proto 262 for socket 1a"), false},
		"only a warning":   {dump("(00.1) Warn  (criu/x.c:1): The socket has data to read"), false},
		"no log":           {&DumpError{Err: errors.New("x")}, false},
		"hung":             {&DumpError{Err: ErrHung, Log: "(00.1) Error (criu/seize.c:335): zombie 71 (comm sleep) found while seizing\n"}, false},
		"none of CRIU's":   {errors.New("The socket has data to read"), false},
		"nothing happened": {nil, false},
	} {
		if got := Transient(test.err); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
