package preflight

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
)

func own() map[string]string {
	return map[string]string{"pid": "pid:[1]", "net": "net:[2]", "time": "time:[3]", "uts": "uts:[4]"}
}

func with(kind, link string) map[string]string {
	ns := own()
	ns[kind] = link
	return ns
}

func TestCheck(t *testing.T) {
	sockets := map[uint64]netip.AddrPort{7: netip.MustParseAddrPort("[::]:8080")}
	for name, test := range map[string]struct {
		task tasks.Task
		want string // empty for nothing
		hint string
	}{
		"nothing":         {tasks.Task{Files: []tasks.File{{FD: 0, Target: "/dev/null"}, {FD: 1, Target: "pipe:[9]"}, {FD: 2, Target: "socket:[8]"}}}, "", ""},
		"mptcp":           {tasks.Task{Files: []tasks.File{{FD: 3, Target: "socket:[7]"}}}, "has an MPTCP socket at [::]:8080 (descriptor 3): CRIU cannot dump it", "docker run --sysctl net.mptcp.enabled=0"},
		"io_uring":        {tasks.Task{Files: []tasks.File{{FD: 4, Target: "anon_inode:[io_uring]"}}}, "has an io_uring (descriptor 4)", "innodb_use_native_aio=0"},
		"fuse":            {tasks.Task{Files: []tasks.File{{FD: 4, Target: "/dev/fuse"}}}, "has /dev/fuse open (descriptor 4)", "unmount"},
		"tun":             {tasks.Task{Files: []tasks.File{{FD: 4, Target: "/dev/net/tun", Interface: "tun0"}}}, "has the TUN interface tun0 (descriptor 4): CRIU cannot restore it", "start it again"},
		"tun, unattached": {tasks.Task{Files: []tasks.File{{FD: 4, Target: "/dev/net/tun"}}}, "", ""},
		"tracer":          {tasks.Task{Tracer: 12, TracerName: "gdb"}, "is traced by process 12 (gdb)", "detach"},
		"time namespace":  {tasks.Task{Namespaces: with("time", "time:[9]")}, "is in another time namespace", "docker exec"},
		"pid namespace":   {tasks.Task{Namespaces: with("pid", "pid:[9]")}, "is in another pid namespace", "unshare"},
		// CRIU dumps and restores nested network namespaces.
		"network namespace": {tasks.Task{Namespaces: with("net", "net:[9]")}, "", ""},
		"zombie":            {tasks.Task{Namespaces: map[string]string{}}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.task.PID, test.task.Name = 42, "web"
			if test.task.Namespaces == nil {
				test.task.Namespaces = own()
			}
			got := Check(Facts{Tasks: []tasks.Task{{PID: 41, Name: "init", Namespaces: own()}, test.task}, MPTCP: sockets})
			if test.want == "" {
				if len(got) != 0 {
					t.Errorf("refused: %v", got)
				}
				return
			}
			if len(got) != 1 || !strings.HasPrefix(got[0].String(), "process 42 (web) "+test.want) || !strings.Contains(got[0].Hint, test.hint) {
				t.Errorf("got %+v, want %s", got, test.want)
			}
		})
	}
	if got := Check(Facts{}); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestRefusedErrorIsShort(t *testing.T) {
	e := &RefusedError{Container: "web"}
	for i := range 80 {
		e.Refusals = append(e.Refusals, Refusal{PID: i, Process: "x", Object: "has an io_uring", Reason: cannotDump, Hint: "first"})
	}
	if text := e.Error(); len(text) > 400 || !strings.Contains(text, "and 77 more, see checkpointctl inspect web") || e.Hint() != "first" {
		t.Error(text)
	}
}
