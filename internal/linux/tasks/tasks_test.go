package tasks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
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
	if i < 0 || !slices.Contains(list[i].Files, File{FD: 3, Target: "/dev/null"}) {
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
