//go:build e2e

package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// terminal is what somebody who is attached to a container types and sees.
type terminal struct {
	b    *box
	conn types.HijackedResponse
	mu   sync.Mutex
	seen strings.Builder
}

func (b *box) attach() *terminal {
	b.t.Helper()
	s := &terminal{b: b}
	b.daemon(func(ctx context.Context, c *client.Client) (err error) {
		s.conn, err = c.ContainerAttach(ctx, b.name, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, DetachKeys: "ctrl-x"})
		return err
	})
	b.t.Cleanup(s.conn.Close)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := s.conn.Reader.Read(buf)
			s.mu.Lock()
			s.seen.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// types sends what is typed and waits until the answer is seen.
func (s *terminal) types(keys, answer string) {
	s.b.t.Helper()
	if _, err := s.conn.Conn.Write([]byte(keys)); err != nil {
		s.b.t.Fatal(err)
	}
	if !until(10*time.Second, func() bool { return strings.Contains(s.sees(), answer) }) {
		s.b.t.Fatalf("after %q: %q, not %q", keys, s.sees(), answer)
	}
}

func (s *terminal) sees() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// A shell on a terminal comes back with its variables and its job control, and
// whoever attaches talks to it: also after a second restore.
func TestTerminal(t *testing.T) {
	b := start(t, "-it", baseImage, "sh")
	s := b.attach()
	s.types("x=5$x\n", "\n")
	s.types("echo x is $x.\n", "x is 5.")
	s.conn.Close()
	for _, want := range []string{"5", "6"} {
		b.checkpoint("--leave-running=false")
		b.restore()
		s := b.attach()
		s.types("echo x was $x.\n", "x was "+want+".")
		s.types("tty\n", "/dev/pts/0")
		b.daemon(func(ctx context.Context, c *client.Client) error {
			return c.ContainerResize(ctx, b.name, container.ResizeOptions{Height: 33, Width: 111})
		})
		s.types("stty size\n", "33 111")
		s.types("echo begun; sleep 1000\n", "\nbegun")
		time.Sleep(time.Duration(slow) * 300 * time.Millisecond) // for sleep to be in the foreground
		s.types("\x03", "^C")
		s.types("echo interrupted: $?.\n", "interrupted: 130.")
		s.types("sleep 1000 &\n", "sleep 1000 &")
		s.types("jobs\n", "Running")
		s.types("kill %1; x=6; i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i of many; done\n", "line 2000 of many")
		for _, line := range []string{"line 1 of many", "line 999 of many"} {
			if !strings.Contains(s.sees(), line) {
				t.Errorf("%s is lost", line)
			}
		}
		// The detach keys end the attachment, not the shell.
		if _, err := s.conn.Conn.Write([]byte("\x18")); err != nil {
			t.Error(err)
		}
		s.conn.Close()
		if state := b.state(); state != "running" {
			t.Fatalf("detached, and %s", state)
		}
	}
	s = b.attach()
	s.types("exit 7\n", "exit 7")
	if !until(10*time.Second, func() bool { return b.state() == "exited" }) || b.inspect().State.ExitCode != 7 {
		t.Errorf("is %s with %d", b.state(), b.inspect().State.ExitCode)
	}
}
