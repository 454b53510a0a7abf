package criu

import (
	"bufio"
	"errors"
	"strings"
)

// passing are errors about a state that lasts for moments only, as CRIU 3.17 to
// 4.2 print them, with the function that does.
var passing = [...]string{
	"The socket has data to read",                // can_dump_netlink_sk: a packet in a netlink socket
	"found while seizing",                        // seize_cgroup_tree: a zombie, or a task that ends
	"Unseizable non-zombie",                      // compel_wait_task: the task has just ended
	"task not stopped after seize",               // compel_wait_task, skip_sigstop: the same
	"Task pid reused while suspending",           // compel_wait_task
	"Zombie thread not supported",                // collect_threads: a thread has just ended
	"unexpectedly",                               // compel: a seized task was killed
	"Found a closed in-flight socket",            // dump_one_unix_fd: a client that went before it was accepted
	"Non-empty write queue on an in-flight sock", // dump_one_unix_fd: one that has sent something already
	"Dangling connection",                        // dump_one_unix_fd: one to a process outside
	"Can't dump corked dgram socket",             // can_dump_inet_sk: a datagram in the making
}

// Transient says whether a dump failed for a reason that passes by itself, so
// that another try may succeed.
func Transient(err error) bool {
	var failed *DumpError
	if !errors.As(err, &failed) || errors.Is(err, ErrHung) {
		return false
	}
	sc := bufio.NewScanner(strings.NewReader(failed.Log))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if !isError(sc.Text()) {
			continue
		}
		for _, text := range passing {
			if strings.Contains(sc.Text(), text) {
				return true
			}
		}
	}
	return false
}
