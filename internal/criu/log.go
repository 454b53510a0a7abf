package criu

import (
	"bufio"
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

// Each text is as CRIU 3.17 to 4.2 print it.
var meanings = []struct{ text, hint string }{
	{"Connected TCP socket, consider using --tcp-established", "an established TCP connection: checkpoint with --tcp-established"},
	{"Some file locks are hold by dumping tasks", "a file lock is held: checkpoint with --file-locks"},
	{"External socket is used", "a unix socket is connected to a process outside the container: --ext-unix-sk"},
	{"External unix sockets can't be used", "a unix socket is connected to a process outside the container: --ext-unix-sk"},
	{"Dangling connection", "a unix socket waits for a process outside the container to accept it: try again"},
	{"Can't dump ghost file", "a deleted file that is still open is larger than --ghost-limit"},
	{"has bad size", "a file changed since the checkpoint: put the old one back, or the container's files of that time"},
	{"has bad mode", "a file's mode changed since the checkpoint"},
	{"Can't fork for", "the pid is taken: is an other copy of the container running?"},
	{"Pid mismatch", "the pid is taken: is an other copy of the container running?"},
	{"Unexpected rt vDSO area bounds", "this CRIU is too old for the kernel: install CRIU 4.1 or newer"},
	{"Can't get 1:16 opt", "this CRIU is too old for the kernel: install CRIU 4.2 or newer"},
	{"Unsupported proto 262", "an MPTCP socket, as Go servers open them (Go 1.24 and newer): run the server with GODEBUG=multipathtcp=0"},
	{"Can't get rlimit", "root lacks CAP_SYS_RESOURCE here, without which processes of other users cannot be dumped"},
	{"on restore: No such file", "a file that was open at the checkpoint is gone from the container or a volume"},
	{"of that type", "an open file or device of a kind that CRIU cannot dump"},
	{"Can't dump that handle", "an inotify or fanotify watch on a file that is gone"},
	{"No space left on device", "the store's filesystem is full: see checkpointctl list, rm"},
	{"Cannot assign requested address", "an address of the checkpoint's sockets is not there: give the container the same IP again, or close its connections with --tcp-close"},
	{"Can't connect inet socket back", "an address of the checkpoint's sockets is not there: give the container the same IP again, or close its connections with --tcp-close"},
	{"Can't bind", "an address of the checkpoint is not there: the container must get the same IP again"},
}

// FirstError reads a CRIU log and returns the first error that matters with
// the lines before it, and what it usually means. No lines: no error found.
func FirstError(r io.Reader) (Excerpt, error) {
	var (
		ring []string
		out  Excerpt
		all  strings.Builder
	)
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
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
