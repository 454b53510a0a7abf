package snapshot

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"google.golang.org/protobuf/proto"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
)

func sample() criuimgtest.Sample {
	return criuimgtest.Sample{
		Name: "app", Args: []string{"/bin/app", "--port", "80"}, Env: []string{"HOME=/", "TOKEN=x"}, Port: 80, Old: 1,
		Heap: make([]byte, 3*criuimgtest.PageSize), Shared: []byte("shared"),
	}
}

func read(t *testing.T, s criuimgtest.Sample) *Snapshot {
	t.Helper()
	dir, parent := s.Write(t)
	chain := criuimg.Chain{criuimg.Dir(dir)}
	if parent != "" {
		chain = append(chain, criuimg.Dir(parent))
	}
	got, err := Read(chain)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestProcesses(t *testing.T) {
	s := read(t, sample())
	var tree []string
	for _, p := range s.Processes {
		tree = append(tree, fmt.Sprintf("%d:%d:%s:%s:%d", p.Depth, p.PID, p.Name, p.State, len(p.Threads)))
	}
	if want := []string{"0:1:app:running:2", "1:5:child:running:1", "1:7:gone:zombie:0"}; !slices.Equal(tree, want) {
		t.Errorf("got %q, want %q", tree, want)
	}
	p := s.Process(1)
	if p.Exe != "/bin/app" || p.Cwd != "/srv" || p.Root != "/" || p.Umask != "0022" || p.UID != 1000 || p.Seccomp != "filter" || s.Hostname != "box" {
		t.Errorf("%+v, host %q", p, s.Hostname)
	}
	if !slices.Contains(p.Capabilities, "NET_RAW") || slices.Contains(p.Capabilities, "SYS_ADMIN") || len(p.Threads[1].Capabilities) != 0 {
		t.Errorf("capabilities %v, of the thread %v", p.Capabilities, p.Threads[1].Capabilities)
	}
	if first, second := p.Threads[0], p.Threads[1]; !slices.Equal(first.Blocked, []string{"SIGUSR1"}) || second.Name != "worker" || second.Registers.IP() != 0x400002 || second.Registers.General[10] != 2 {
		t.Errorf("threads %+v, %+v", first, second)
	}
	args, env, err := s.Text(p)
	if err != nil || !slices.Equal(args, sample().Args) || !slices.Equal(env, sample().Env) {
		t.Errorf("%q, %q, %v", args, env, err)
	}
	if _, _, err := s.Text(s.Process(7)); err == nil {
		t.Error("a zombie has arguments")
	}
	if s.Process(2) != nil {
		t.Error("a thread is a process")
	}
}

func TestMappings(t *testing.T) {
	s := read(t, sample())
	p := s.Process(1)
	m, err := s.Memory(p)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	want := []struct {
		name, perms string
		pages       Pages
	}{
		{"[heap]", "rw-p", Pages{Total: 4, Present: 2, Parent: 1, Zero: 1}},
		{"/bin/app", "r-xp", Pages{Total: 2, OfFile: 2}},
		{"[shared]", "rw-s", Pages{Total: 1, Present: 1}},
		{"[stack]", "rw-p", Pages{Total: 1, Present: 1}},
	}
	for i, a := range p.Mappings {
		got, err := m.Pages(a)
		if err != nil || a.Name() != want[i].name || a.Perms != want[i].perms || got != want[i].pages {
			t.Errorf("%s %s: %+v, %v; want %+v", a.Name(), a.Perms, got, err, want[i])
		}
	}
	shared := s.SharedMemory()
	if len(shared) != 1 || !slices.Equal(shared[0].PIDs, []uint32{1, 5}) {
		t.Errorf("%+v", shared)
	}
}

func TestDescriptors(t *testing.T) {
	s := read(t, sample())
	p := s.Process(1)
	want := []Descriptor{
		{FD: 3, Type: "file", Name: "/tmp/gone\x1b[31m", Access: "rw", Position: 3, Append: true, Deleted: true, file: 13},
		{FD: 4, Type: "pipe", Name: "pipe 500", Access: "r", Peers: []string{"5/5"}, file: 14},
		{FD: 6, Type: "socket", Name: "tcp 172.17.0.2:80, listening", Access: "rw", file: 16},
		{FD: 7, Type: "socket", Name: "tcp 172.17.0.2:80 to 172.17.0.2:40000, established", Access: "rw", file: 17},
	}
	if !reflect.DeepEqual(p.Descriptors, want) {
		t.Errorf("got %+v", p.Descriptors)
	}
	sockets, err := s.Sockets()
	if err != nil || len(sockets) != 2 {
		t.Fatalf("%+v, %v", sockets, err)
	}
	listens, connected := sockets[0], sockets[1]
	if listens.State != "listening" || listens.Backlog != 128 || !slices.Equal(listens.Owners, []string{"1/6"}) {
		t.Errorf("%+v", listens)
	}
	if connected.ReceiveQueue != 5 || connected.SendQueue != 2 || !slices.Equal(connected.Options, []string{"nodelay", "reuseaddr"}) || connected.Backlog != 0 {
		t.Errorf("%+v", connected)
	}
	if want := []Mount{{Path: "/data", FSType: "tmpfs", Source: "none", Root: "/", Options: "size=1m", ReadOnly: true, External: "/data"}}; !reflect.DeepEqual(s.Mounts, want) {
		t.Errorf("%+v", s.Mounts)
	}
}

func TestReadNamesWhatIsDamaged(t *testing.T) {
	for _, name := range []string{"core-2.img", "files.img", "mm-5.img", "fdinfo-1.img"} {
		dir, _ := sample().Write(t)
		if err := os.Truncate(filepath.Join(dir, name), 14); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(criuimg.Chain{criuimg.Dir(dir)}); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(criuimg.Chain{criuimg.Dir(t.TempDir())}); err == nil || !strings.Contains(err.Error(), "pstree.img") {
		t.Error(err)
	}
}

// What contradicts itself is refused, before it is read many times.
func TestReadRefusesWhatIsThereTwice(t *testing.T) {
	n := proto.Uint32
	entry := func(pid, parent uint32, threads ...uint32) proto.Message {
		return &pstree.PstreeEntry{Pid: &pid, Ppid: &parent, Pgid: n(1), Sid: n(1), Threads: threads}
	}
	area := func(start, end uint64) *vma.VmaEntry {
		return &vma.VmaEntry{Start: &start, End: &end, Pgoff: proto.Uint64(0), Shmid: proto.Uint64(0), Prot: n(0), Flags: n(0), Status: n(0), Fd: proto.Int64(-1)}
	}
	zero := proto.Uint64(0)
	for name, c := range map[string]struct {
		image, kind, want string
		entries           []proto.Message
	}{
		"process": {"pstree.img", "PSTREE", "pstree.img: entry 2: process 1 is there twice", []proto.Message{entry(1, 0, 1), entry(1, 0, 1)}},
		"thread":  {"pstree.img", "PSTREE", "pstree.img: thread 2 is there twice", []proto.Message{entry(1, 0, 1, 2, 2)}},
		"mapping": {"mm-1.img", "MM", "mm-1.img: entry 1: its mapping 2000-4000 is not behind the one before it", []proto.Message{&mm.MmEntry{
			MmStartCode: zero, MmEndCode: zero, MmStartData: zero, MmEndData: zero, MmStartStack: zero, MmStartBrk: zero, MmBrk: zero,
			MmArgStart: zero, MmArgEnd: zero, MmEnvStart: zero, MmEnvEnd: zero, ExeFileId: n(0), Vmas: []*vma.VmaEntry{area(0x1000, 0x3000), area(0x2000, 0x4000)},
		}}},
	} {
		dir, _ := sample().Write(t)
		criuimgtest.Write(t, dir, map[string][]byte{c.image: criuimgtest.Image(t, c.kind, c.entries...)})
		if _, err := Read(criuimg.Chain{criuimg.Dir(dir)}); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Processes may say to be each other's parents.
func TestTreeThatIsNone(t *testing.T) {
	list := inTreeOrder([]*Process{{PID: 1, PPID: 2}, {PID: 2, PPID: 1}, {PID: 3, PPID: 3}})
	if len(list) != 3 {
		t.Errorf("%d of 3 are left", len(list))
	}
}

// Whatever images hold, they are read or named.
func FuzzRead(f *testing.F) {
	dir, _ := criuimgtest.Sample{Name: "app", Args: []string{"a"}, Heap: []byte("heap"), Shared: []byte("s")}.Write(f)
	names := []string{"pstree.img", "core-1.img", "mm-1.img", "files.img", "fdinfo-1.img", "mountpoints-1.img"}
	images := criuimgtest.InMemory(f, dir)
	for i, name := range names {
		f.Add(uint8(i), images[name].Data)
	}
	f.Fuzz(func(_ *testing.T, which uint8, data []byte) {
		changed := maps.Clone(images)
		changed[names[int(which)%len(names)]] = &fstest.MapFile{Data: data}
		s, err := Read(criuimg.Chain{changed})
		if err != nil {
			return
		}
		for _, p := range s.Processes {
			_, _, _ = s.Text(p)
			if m, err := s.Memory(p); err == nil {
				for _, a := range p.Mappings {
					_, _ = m.Pages(a)
				}
				_ = m.Close()
			}
		}
		_, _ = s.Sockets()
	})
}
