package tasks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTree(t *testing.T) {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	list, err := Tree(os.Getpid())
	if err != nil || list[0].PID != os.Getpid() {
		t.Fatalf("%+v, %v", list, err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil || list[0].Namespaces["net"] != own || list[0].Tracer != 0 {
		t.Errorf("%+v, %v", list[0], err)
	}
	i := slices.IndexFunc(list, func(task Task) bool { return task.PID == cmd.Process.Pid })
	if i < 0 || !slices.ContainsFunc(list[i].Files, func(f File) bool { return f.FD == 3 && f.Target == "/dev/null" }) {
		t.Errorf("no child %d with its descriptor in %+v", cmd.Process.Pid, list)
	}
}

func TestTreeOfNobody(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Tree(cmd.ProcessState.Pid()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestField(t *testing.T) {
	status := []byte("Name:\tsh\nTracerPid:\t7\n")
	for name, want := range map[string]string{"Name": "sh", "TracerPid": "7", "Pid": "", "PPid": ""} {
		if got := field(status, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func BenchmarkTree(b *testing.B) {
	for range b.N {
		if _, err := Tree(os.Getpid()); err != nil {
			b.Fatal(fmt.Errorf("own tree: %w", err))
		}
	}
}

func TestWatches(t *testing.T) {
	const info = "pos:\t0\nflags:\t02004000\nmnt_id:\t15\n" +
		"inotify wd:2 ino:d087b sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:7b080d0073b9ae2e\n" +
		"fanotify flags:10 event-flags:0\nfanotify mnt_id:12 mflags:40 mask:38 ignored_mask:40000000\n" +
		"fanotify ino:4f969 sdev:47 mflags:0 mask:3b ignored_mask:40000000 fhandle-bytes:8 fhandle-type:1 f_handle:69f90400c275b5b4\n"
	want := []Watch{{unix.Mkdev(8, 19), 0xd087b}, {unix.Mkdev(0, 0x47), 0x4f969}}
	if got := watches([]byte(info)); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestMarkReadable(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(); _ = w.Close() }()
	list, err := Tree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	MarkReadable(list)
	for end, want := range map[*os.File]bool{r: true, w: false} {
		i := slices.IndexFunc(list[0].Files, func(f File) bool { return f.FD == int(end.Fd()) })
		if i < 0 || !list[0].Files[i].Pipe() || list[0].Files[i].Readable != want {
			t.Errorf("descriptor %d at %d of %+v: want %v", end.Fd(), i, list[0].Files, want)
		}
	}
}

// A child that a thread other than the first has begun is one, too.
func TestChildrenOfThreads(t *testing.T) {
	begun, over := make(chan *exec.Cmd), make(chan struct{})
	defer close(over)
	for range 2 { // two threads at the same time: one is not the first
		go func() {
			runtime.LockOSThread()
			child := exec.Command("sleep", "60")
			if err := child.Start(); err != nil {
				t.Error(err)
			}
			begun <- child
			<-over
		}()
	}
	for range 2 {
		child := <-begun
		defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
		list, err := Tree(os.Getpid())
		i := slices.IndexFunc(list, func(task Task) bool { return task.PID == child.Process.Pid })
		if err != nil || i < 0 || list[i].UIDs != [3]int{os.Getuid(), os.Getuid(), os.Getuid()} {
			t.Errorf("child %d in %+v, %v", child.Process.Pid, list, err)
		}
	}
}
