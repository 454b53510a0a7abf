package netns_test

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns/netnstest"
)

func TestMain(m *testing.M) { os.Exit(netnstest.Main(m)) }

// thread is the network namespace of the calling thread.
func thread(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Error(err)
	}
	return link
}

// The process stays where it is, also when its first thread would have run it.
func TestOnlyTheFunctionIsElsewhere(t *testing.T) {
	home, err := os.Readlink(netns.Of(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Add(1)
		go func() {
			defer all.Done()
			err := netns.Fresh(func() error {
				there := thread(t)
				if there == home {
					t.Error("the new namespace is the old one")
				}
				return netns.Do(netns.Of(os.Getpid()), func() error {
					if back := thread(t); back != home {
						t.Errorf("in %s, not %s", back, home)
					}
					return nil
				})
			})
			if err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	// A thread takes a moment to end.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stays := elsewhere(t, home)
		if len(stays) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("threads stay elsewhere: %v", stays)
		}
	}
}

func elsewhere(t *testing.T, home string) (threads []string) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/task/%s/ns/net", task.Name()))
		if err == nil && link != home {
			threads = append(threads, task.Name())
		}
	}
	return threads
}

func TestErrorsComeBack(t *testing.T) {
	want := errors.New("boom")
	if err := netns.Do("", func() error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
	if err := netns.Fresh(func() error { return want }); !errors.Is(err, want) {
		t.Error(err)
	}
	if err := netns.Do("/nowhere", func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
