package checkpoint

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/linux/tasks"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/preflight"
)

func TestRefusedByPreflight(t *testing.T) {
	dump := &fickleDumper{}
	m := &Creator{Dumper: dump, Docker: fakeEngine{}, Recovery: nothingLeft{}, Store: metadata.Store{Dir: t.TempDir()}}
	m.Facts = func(pid int) (preflight.Facts, error) {
		return preflight.Facts{Tasks: []tasks.Task{{PID: pid, Files: []tasks.File{{FD: 3, Target: "/dev/fuse"}}}}}, nil
	}
	var refused *preflight.RefusedError
	_, err := m.Create(context.Background(), Request{Container: running(), Options: criu.Options{LeaveRunning: true}})
	if !errors.As(err, &refused) || refused.Container != "web" || refused.Refusals[0].PID != os.Getpid() || dump.tries != 0 {
		t.Errorf("%d dumps, %v", dump.tries, err)
	}
	m.Facts = func(int) (preflight.Facts, error) { return preflight.Facts{}, os.ErrPermission }
	if _, err := m.Create(context.Background(), Request{Container: running()}); !errors.Is(err, os.ErrPermission) || dump.tries != 0 {
		t.Errorf("%d dumps, %v", dump.tries, err)
	}
}

// It is part of every checkpoint: for a small container 10 ms are the limit.
func BenchmarkFacts(b *testing.B) {
	for range b.N {
		if _, err := Facts(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}
