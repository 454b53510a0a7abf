package preflight

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
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
			got := Check(Facts{Tasks: []tasks.Task{{PID: 41, Name: "init", Namespaces: own()}, test.task}, MPTCP: sockets}, Options{LeaveRunning: true})
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
	if got := Check(Facts{}, Options{}); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

// ofTask gives facts of an init that has all of the rest.
func ofTask(t tasks.Task) Facts {
	t.PID, t.Name, t.Namespaces = 42, "web", own()
	return Facts{Tasks: []tasks.Task{t}}
}

func socket() []tasks.File {
	const inode = 7
	return []tasks.File{{FD: 5, Target: fmt.Sprintf("socket:[%d]", inode)}}
}

func removed(u tasks.Unlinked) []tasks.File {
	return []tasks.File{{FD: 5, Target: "/tmp/a (deleted)", Unlinked: &u}}
}

func table(lines ...string) mounts.Plan {
	list, err := mounts.Parse(strings.NewReader(strings.Join(lines, "\n") + "\n"))
	if err != nil {
		panic(err)
	}
	facts := mounts.Facts{Binds: map[string]bool{}}
	for _, m := range list {
		if strings.HasPrefix(m.Path, "/bind") {
			facts.Binds[m.Path] = true
		}
	}
	return mounts.Policy{}.Plan(list, facts)
}

func TestRules(t *testing.T) {
	const root = "1 0 0:1 / / rw master:9 - overlay overlay rw"
	var many []tasks.File
	for i := range 1025 {
		many = append(many, tasks.File{FD: 2 * i, Target: fmt.Sprintf("pipe:[%d]", i), Readable: true},
			tasks.File{FD: 2*i + 1, Target: fmt.Sprintf("pipe:[%d]", i)})
	}
	keeps := Options{LeaveRunning: true, TCPEstablished: true}
	for name, test := range map[string]struct {
		facts   Facts
		options Options
		want    string // empty for nothing
		with    string
	}{
		"pipes":     {ofTask(tasks.Task{Files: many}), keeps, "1025 pipes, 1025 of them in process 42 (web): CRIU dumps up to 1024", ""},
		"few pipes": {ofTask(tasks.Task{Files: many[2:]}), keeps, "", ""},
		"stream": {but(ofTask(tasks.Task{Files: socket()}), func(f *Facts) {
			f.Outside = map[uint64]Outside{7: {PID: 9, Name: "dockerd", Stream: true, Path: "/run/docker.sock"}}
		}),
			Options{ExtUnixSk: true}, "process 42 (web) has a unix socket (descriptor 5) that is connected to process 9 (dockerd) outside the container, at /run/docker.sock: the half of a connection", ""},
		"datagram": {but(ofTask(tasks.Task{Files: socket()}), func(f *Facts) { f.Outside = map[uint64]Outside{7: {PID: 9, Path: "\x00log", Near: true, There: true}} }),
			keeps, "process 42 (web) has a unix socket (descriptor 5) that is connected to process 9 () outside the container, at @log: only --ext-unix-sk", "--ext-unix-sk"},
		"datagram, allowed": {but(ofTask(tasks.Task{Files: socket()}), func(f *Facts) { f.Outside = map[uint64]Outside{7: {PID: 9, Path: "/s", Near: true, There: true}} }),
			Options{ExtUnixSk: true}, "", ""},
		"datagram elsewhere": {but(ofTask(tasks.Task{Files: socket()}), func(f *Facts) { f.Outside = map[uint64]Outside{7: {PID: 9, Path: "/s", Near: true}} }),
			Options{ExtUnixSk: true}, "process 42 (web) has a unix socket (descriptor 5) that is connected to process 9 () outside the container, at /s: a restore could not", ""},
		"link-local": {but(ofTask(tasks.Task{Files: socket()}), func(f *Facts) { f.LinkLocal = map[uint64]netip.AddrPort{7: netip.MustParseAddrPort("[fe80::1]:80")} }),
			keeps, "process 42 (web) has a TCP connection of the link-local address [fe80::1]:80 (descriptor 5): CRIU cannot restore it", ""},
		"hard link":           {ofTask(tasks.Task{Files: removed(tasks.Unlinked{Links: 1})}), keeps, "process 42 (web) uses /tmp/a, whose name was removed, but which has another one", "--link-remap --leave-running=false"},
		"hard link, runs on":  {ofTask(tasks.Task{Files: removed(tasks.Unlinked{Links: 1})}), Options{LinkRemap: true, LeaveRunning: true}, "process 42 (web) uses /tmp/a", "--link-remap --leave-running=false"},
		"hard link, is ended": {ofTask(tasks.Task{Files: removed(tasks.Unlinked{Links: 1})}), Options{LinkRemap: true}, "", ""},
		"file of the image":   {but(ofTask(tasks.Task{Files: removed(tasks.Unlinked{Links: 1, Inode: 3})}), func(f *Facts) { f.InImage = map[string]uint64{"/tmp/a": 3} }), keeps, "", ""},
		"semaphore":           {but(ofTask(tasks.Task{Files: removed(tasks.Unlinked{Links: 1})}), func(f *Facts) { f.Plan = table(root, "2 1 0:7 / /tmp rw - tmpfs s rw") }), keeps, "", ""},
		"link in a bind":      {but(ofTask(tasks.Task{Files: removed(tasks.Unlinked{Links: 1})}), func(f *Facts) { f.Plan = table(root, "2 1 0:7 / /bind rw - tmpfs s rw") }), keeps, "process 42 (web) uses /tmp/a", "--link-remap --leave-running=false"},
		"ghost":               {ofTask(tasks.Task{Files: removed(tasks.Unlinked{Size: MaxGhost})}), keeps, "", ""},
		"large ghost": {ofTask(tasks.Task{Maps: []tasks.Mapping{{Path: "/tmp/b", Unlinked: &tasks.Unlinked{Size: MaxGhost + 4096}}}}), keeps,
			"process 42 (web) uses /tmp/b (256MiB), whose name was removed: it is larger than the 256MiB", "--ghost-limit 268439552"},
		"segment":     {but(ofTask(tasks.Task{Maps: []tasks.Mapping{{SysV: true}}}), func(f *Facts) { f.SharedIPC = "host" }), keeps, "process 42 (web) has mapped a System V segment of the IPC namespace of the host", ""},
		"own segment": {ofTask(tasks.Task{Maps: []tasks.Mapping{{SysV: true}}}), keeps, "", ""},
		"user":        {but(ofTask(tasks.Task{UIDs: [3]int{0, 1000, 0}}), func(f *Facts) { f.Confined = true }), keeps, "process 42 (web) runs as user 1000", ""},
		"user, able":  {ofTask(tasks.Task{UIDs: [3]int{0, 1000, 0}}), keeps, "", ""},
		"long line":   {but(ofTask(tasks.Task{}), func(f *Facts) { f.LongMounts = []string{"/"} }), keeps, "the mount at /: its line", ""},
		"replaced":    {but(ofTask(tasks.Task{}), func(f *Facts) { f.Plan = table(root, "2 1 8:1 /etc/x//deleted /bind rw - ext4 /dev/sda rw") }), keeps, "/etc/x, mounted at /bind: it was deleted", ""},
		"slave": {but(ofTask(tasks.Task{}), func(f *Facts) {
			f.Plan = table(root, "2 1 8:1 /a /bind rw master:3 - ext4 s rw", "3 1 8:1 /b /bind2 rw master:3 - ext4 s rw")
		}), keeps, "", ""},
		"shared with host": {but(ofTask(tasks.Task{}), func(f *Facts) {
			f.Plan = table(root, "2 1 8:1 /a /bind rw shared:3 - ext4 s rw")
			f.HostGroups = map[int]bool{3: true}
		}), keeps, "the mount at /bind (ext4): it passes mounts on to the host", ""},
		"shared apart": {but(ofTask(tasks.Task{}), func(f *Facts) {
			f.Plan = table(root, "2 1 8:1 /a /bind rw shared:3 - ext4 s rw", "3 1 8:1 /bb /bind2 rw shared:3 - ext4 s rw")
		}), keeps, "the mount at /bind2 (ext4): it shares changes with a mount of another directory, at /bind", ""},
		"master below": {but(ofTask(tasks.Task{}), func(f *Facts) {
			f.Plan = table(root, "2 1 8:1 /a /bind rw shared:3 - ext4 s rw", "3 1 8:1 / /bind2 rw master:3 - ext4 s rw")
		}), keeps, "the mount at /bind2 (ext4): it gets its changes from a mount of another directory, at /bind", ""},
		"master outside": {but(ofTask(tasks.Task{}), func(f *Facts) { f.Plan = table(root, "2 1 0:7 / /m rw master:4 - tmpfs s rw") }), keeps, "the mount at /m (tmpfs): it gets its changes from a mount that is not in the container", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Check(test.facts, test.options)
			if test.want == "" {
				if len(got) != 0 {
					t.Errorf("refused: %v", got)
				}
				return
			}
			if len(got) != 1 || !strings.HasPrefix(got[0].String(), test.want) || got[0].Hint == "" || With(got) != test.with {
				t.Errorf("got %+v, want %s, with %s", got, test.want, test.with)
			}
		})
	}
}

func but(f Facts, change func(*Facts)) Facts {
	change(&f)
	return f
}

func TestWith(t *testing.T) {
	a, b := Refusal{With: "--link-remap --leave-running=false"}, Refusal{With: "--ext-unix-sk"}
	if got := With([]Refusal{a, b, a}); got != "--link-remap --leave-running=false --ext-unix-sk" {
		t.Error(got)
	}
	if got := With([]Refusal{a, {}, b}); got != "" {
		t.Error(got)
	}
}

func TestAdapt(t *testing.T) {
	f := ofTask(tasks.Task{
		Files: removed(tasks.Unlinked{Size: 3 << 20}),
		Maps:  []tasks.Mapping{{Path: "/lib/libc", Unlinked: &tasks.Unlinked{Links: 1, Inode: 3, Size: 5 << 20}}},
	})
	if o, said := Adapt(f, Options{}); o.LinkRemap || o.GhostLimit != 3<<20 || len(said) != 1 || !strings.Contains(said[0], "up to 3MiB for /tmp/a of process 42 (web)") {
		t.Errorf("%+v, %q", o, said)
	}
	f.InImage = map[string]uint64{"/lib/libc": 3}
	if o, _ := Adapt(f, Options{}); !o.LinkRemap || o.GhostLimit != 5<<20 {
		t.Errorf("%+v", o)
	}
	if o, said := Adapt(f, Options{GhostLimit: 9 << 20}); o.GhostLimit != 9<<20 || said != nil {
		t.Errorf("%+v, %q", o, said)
	}
	if o, said := Adapt(ofTask(tasks.Task{Files: removed(tasks.Unlinked{Size: 1 << 20})}), Options{}); o != (Options{}) || said != nil {
		t.Errorf("%+v, %q", o, said)
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
