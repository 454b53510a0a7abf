package criu

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strings"
)

// Excerpt is the first error of a CRIU log with the lines before it.
type Excerpt struct {
	Lines []string
	Hint  string
}

const before = 5

// harmless are lines with the word Error that successful runs print too.
var harmless = []string{"rlimit: Can't setup RLIMIT_NOFILE"}

const sysvTaken = "the IPC namespace that the container shares has a System V object of that key already: remove it by ipcrm"

const outsideHint = "a unix socket is connected to a process outside the container: end the connection first; --ext-unix-sk helps with datagrams only, to a path that the container has"

// Each text is as CRIU 3.17 to 4.2 print it. The first that a log has counts.
var meanings = []struct{ text, hint string }{
	{"Connected TCP socket, consider using --tcp-established", "an established TCP connection: checkpoint with --tcp-established"},
	{"Some file locks are hold by dumping tasks", "a file lock is held: checkpoint with --file-locks"},
	{"External socket is used", outsideHint},
	{"External unix sockets can't be used", outsideHint},
	{" without peer ", outsideHint},
	{"Dangling connection", "a unix socket waits for a process outside the container to accept it: try again"},
	{"Can't dump ghost file", "a deleted file that is still open is larger than --ghost-limit"},
	{"has bad size", "a file changed since the checkpoint: put the old one back, or the container's files of that time"},
	{"has bad mode", "a file's mode changed since the checkpoint"},
	{"Can't fork for", "the pid is taken: is an other copy of the container running?"},
	{"Pid mismatch", "the pid is taken: is an other copy of the container running?"},
	{"Unexpected rt vDSO area bounds", "this CRIU is too old for the kernel: install CRIU 4.1 or newer"},
	{"Can't get 1:16 opt", "this CRIU is too old for the kernel: install CRIU 4.2 or newer"},
	{"Unsupported proto 262", "an MPTCP socket, as Go servers open them (Go 1.24 and newer): docker run --sysctl net.mptcp.enabled=0 turns it off without touching the program; GODEBUG=multipathtcp=0 in a Go program's environment does so, too"},
	{"Can't get rlimit", "root lacks CAP_SYS_RESOURCE here, without which processes of other users cannot be dumped"},
	{"on restore: No such file", "a file that was open at the checkpoint is gone from the container or a volume"},
	{"of that type", "an open file or device of a kind that CRIU cannot dump"},
	{"Can't dump that handle", "an inotify or fanotify watch on a file that is gone"},
	{"No space left on device", "the store's filesystem is full: see checkpointctl list, rm"},
	{"In-flight connection (l)", "a connection waits to be accepted, and this CRIU does not leave it out: try again when the server is less busy"},
	{"Unknown shit", "a process has mapped something that CRIU does not know: an io_uring, for instance, or a device"},
	{"Can't create link remap", "a file that is open was removed, but has another name: --link-remap"},
	{"Can't dump nested", "a process is in a namespace of its own: end what unshare, nsenter or a sandbox started in the container"},
	{"OOM storing pipe", "the processes have more pipes with data in them than CRIU takes"},
	{"half of stream", "a unix stream is connected to a process outside the container, for which --ext-unix-sk does not help: close the connection first"},
	{"found while seizing", "a process ended at the moment of the freeze: try again"},
	{"session leader", "a process belongs to a session that was begun outside the container, as docker exec -t and nsenter do: end it"},
	{"Bad format in", "a line of the container's mount table is longer than CRIU reads: an image with fewer layers, or fewer mounts, is needed"},
	{"has data to read", "a packet waits in a netlink socket: try again"},
	{"unreachable sharing", "a mount gets its changes from a mount that is not in the container: bind it with private propagation (bind-propagation=rprivate)"},
	{"wrong aio", "the kernel made a ring for asynchronous I/O of another size, as it does with another number of CPUs: restore it where as many are there"},
	{"in parent pagemap", "pages are missing in the parent of this checkpoint: checkpointctl verify"},
	{"mismatched lsm types", "the processes had an AppArmor or SELinux profile, which this host does not have"},
	{"Address already in use", "an address and port of the checkpoint is taken here: stop what listens on it, or wait a minute if it was stopped just now"},
	{"killed by signal 9", "a process was killed while it was restored, often for want of memory: does the container's memory limit fit, and is there memory free?"},
	{" mapping with ", "the kernel refused to map a file or a ring again: is the file what it was, and is there room (vm.max_map_count, fs.aio-max-nr)?"},
	{"No tun device", "the process had a TUN interface, which Docker's new network does not have: stop its program before the checkpoint"},
	{"Can't re-create deleted", "a file or directory that was bound into the container was deleted or replaced on the host: make the container anew with what is there now"},
	{"Failed to create shm set: File exists", sysvTaken},
	{"Failed to create sem set: File exists", sysvTaken},
	{"Failed to create msg set: File exists", sysvTaken},
	{"Can't connect inet socket back", "an address of the checkpoint's sockets cannot be reached from here: give the container the same networks and IP again, or close its TCP connections with --tcp-close"},
	{"Cannot assign requested address", "an address of the checkpoint's sockets is not there: give the container the same IP again, or close its connections with --tcp-close"},
	{"Can't bind", "an address of the checkpoint is not there: the container must get the same IP again"},
}

// cutLog explains a log that ends in the middle of a line: where there is no room
// for images there is none for the reason, either.
const cutLog = "CRIU's log is cut short, most likely because the store's filesystem is full: see checkpointctl list, rm"

// FirstError reads a CRIU log and returns the first error that matters with
// the lines before it, and what it usually means. No lines: no error found.
func FirstError(r io.Reader) (Excerpt, error) {
	var (
		ring []string
		out  Excerpt
		all  strings.Builder
		cut  bool // the last line
	)
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	sc.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		cut = cut || atEOF && len(data) > 0 && bytes.IndexByte(data, '\n') < 0
		return bufio.ScanLines(data, atEOF)
	})
	for sc.Scan() {
		line := sc.Text()
		if !isError(line) {
			if out.Lines == nil {
				if ring = append(ring, line); len(ring) > before {
					ring = ring[1:]
				}
			}
			continue
		}
		if out.Lines == nil {
			out.Lines = slices.Concat(ring, []string{line})
		}
		all.WriteString(line + "\n")
	}
	for _, m := range meanings {
		if strings.Contains(all.String(), m.text) {
			out.Hint = m.hint
			break
		}
	}
	if out.Hint == "" && out.Lines != nil && cut {
		out.Hint = cutLog
	}
	return out, sc.Err()
}

func isError(line string) bool {
	if !strings.Contains(line, "Error (") {
		return false
	}
	for _, h := range harmless {
		if strings.Contains(line, h) {
			return false
		}
	}
	return true
}
