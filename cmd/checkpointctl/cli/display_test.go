package cli

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"
)

// fakeScreen is a terminal, with a clock that stands still.
type fakeScreen struct {
	*display
	out   bytes.Buffer
	clock time.Time
}

func newFakeScreen(width, height int) *fakeScreen {
	f := &fakeScreen{}
	f.display = newDisplay(&f.out)
	f.size = func() (int, int) { return width, height }
	f.now = func() time.Time { return f.clock }
	f.every = time.Hour // the test draws
	return f
}

// written returns what was written since the last call.
func (f *fakeScreen) written() string {
	text := f.out.String()
	f.out.Reset()
	return text
}

// Lines stay below what is printed meanwhile, and end with their task.
func TestDisplay(t *testing.T) {
	f := newFakeScreen(80, 24)
	web, db := f.begin("web", "preparing"), f.begin("db", "preparing")
	if got := f.written(); got != "" {
		t.Errorf("something is written before the first drawing: %q", got)
	}
	f.clock = f.clock.Add(1234 * time.Millisecond)
	f.draw()
	if got := f.written(); got != "web: preparing, 1.2s\ndb: preparing, 1.2s\n" {
		t.Errorf("got %q", got)
	}
	var other bytes.Buffer
	if err := f.print(&other, []byte("db/x\n")); err != nil || other.String() != "db/x\n" {
		t.Errorf("%q, %v", other.String(), err)
	}
	if got := f.written(); got != "\r\x1b[2A\x1b[Jweb: preparing, 1.2s\ndb: preparing, 1.2s\n" {
		t.Errorf("got %q", got)
	}
	db.end()
	if got := f.written(); got != "\r\x1b[2A\x1b[Jweb: preparing, 1.2s\n" {
		t.Errorf("got %q", got)
	}
	// A line that has not ended is left alone.
	_ = f.print(&f.out, []byte("half"))
	f.draw()
	_ = f.print(&f.out, []byte(" a line\n"))
	f.draw()
	web.end()
	web.end()
	if got := f.written(); got != "\r\x1b[1A\x1b[Jhalf a line\nweb: preparing, 1.2s\n\r\x1b[1A\x1b[J" {
		t.Errorf("got %q", got)
	}
	if err := f.print(failing{}, []byte("x\n")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// What is shown neither wraps, nor scrolls, nor steers the terminal.
func TestSmallTerminal(t *testing.T) {
	f := newFakeScreen(20, 3)
	for range 5 {
		f.begin("evil\n\x1b[2Jüüüüüüüüüüüüüüüüüü", "importing")
	}
	f.draw()
	line := `evil \x1b[2Jüüüüüüü` + "\n"
	if got := f.written(); got != line+line {
		t.Errorf("got %q", got)
	}
}

// A terminal that takes nothing does not hold up who has something to tell: its
// container may be frozen.
func TestTerminalThatBlocks(t *testing.T) {
	f := newFakeScreen(80, 24)
	terminal := blocking{make(chan struct{}), make(chan struct{})}
	f.display.out = terminal
	task := f.begin("web", "running")
	go f.draw()
	<-terminal.entered
	defer close(terminal.release)
	told := make(chan struct{})
	go func() {
		task.at("frozen", 1, 2)
		f.find("web").rename("other")
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		t.Fatal("waits for the terminal")
	}
}

// blocking is a writer that says when it is in its first write, and stays there.
type blocking struct{ entered, release chan struct{} }

func (b blocking) Write(text []byte) (int, error) {
	close(b.entered)
	<-b.release
	return len(text), nil
}

// Without anybody who draws it is drawn all the same.
func TestDisplayDrawsItself(t *testing.T) {
	f := newFakeScreen(80, 24)
	in, out := io.Pipe()
	f.display.out, f.every = out, time.Millisecond
	task := f.begin("web", "running")
	buf := make([]byte, 100)
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "web: running, 0s\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	_ = in.Close()
	task.end()
}
