package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// refresh is how often a display is drawn.
	refresh = 200 * time.Millisecond
	// slowest is how often at least, however long it takes to ask for figures.
	slowest = 5 * time.Second
)

// display keeps lines about what is being done at the bottom of a terminal, below all
// that is printed meanwhile. What it is told is only noted, and drawn by a goroutine of
// its own: a container may be frozen when something is told, and a terminal may block.
type display struct {
	out   io.Writer
	size  func() (width, height int) // of the terminal, in characters
	now   func() time.Time
	every time.Duration

	mu    sync.Mutex // of the tasks; never held while something is written
	tasks []*task    // in the order of their lines
	stop  chan struct{}

	screen sync.Mutex // of what is written
	lines  []string   // that are on the screen
	within bool       // the cursor is within a line of something else
}

func newDisplay(out io.Writer) *display {
	return &display{out: out, now: time.Now, every: refresh, size: func() (width, height int) {
		if f, ok := out.(*os.File); ok {
			width, height, _ = term.GetSize(int(f.Fd()))
		}
		return cmp.Or(width, 80), cmp.Or(height, 24) // a terminal may not know
	}}
}

// begin adds a line. The task is shown until it ends.
func (s *display) begin(name, state string) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &task{show: s, name: name, state: state, since: s.now()}
	s.tasks = append(s.tasks, t)
	if len(s.tasks) == 1 {
		s.stop = make(chan struct{})
		go s.run(s.stop)
	}
	return t
}

// find returns the task of a name, nil if there is none.
func (s *display) find(name string) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.tasks, func(t *task) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return s.tasks[i]
}

func (s *display) remove(t *task) {
	s.mu.Lock()
	i := slices.Index(s.tasks, t)
	if i >= 0 {
		s.tasks = slices.Delete(s.tasks, i, i+1)
		if len(s.tasks) == 0 {
			close(s.stop)
		}
	}
	s.mu.Unlock()
	if i >= 0 {
		s.draw()
	}
}

// run draws until it is stopped. It takes at most a hundredth of a core to ask for
// figures.
func (s *display) run(stop <-chan struct{}) {
	for wait := s.every; ; {
		select {
		case <-stop:
			return
		case <-time.After(wait):
		}
		began := time.Now()
		s.ask()
		wait = min(max(s.every, 100*time.Since(began)), slowest)
		s.draw()
	}
}

// ask asks the tasks that have somebody to ask how far they are.
func (s *display) ask() {
	type question struct {
		of    *task
		ask   func() int64
		since time.Time
	}
	var list []question
	s.mu.Lock()
	for _, t := range s.tasks {
		if t.ask != nil {
			list = append(list, question{t, t.ask, t.since})
		}
	}
	s.mu.Unlock()
	for _, q := range list {
		done := q.ask()
		s.mu.Lock()
		if q.of.since.Equal(q.since) { // else it does something else by now
			q.of.done = done
		}
		s.mu.Unlock()
	}
}

// draw replaces the lines on the screen.
func (s *display) draw() {
	s.screen.Lock()
	defer s.screen.Unlock()
	if s.within {
		return
	}
	was := len(s.lines)
	s.lines = s.compose()
	if was+len(s.lines) > 0 {
		_, _ = io.WriteString(s.out, erase(was)+drawn(s.lines))
	}
}

// print writes to the screen while the lines are away.
func (s *display) print(to io.Writer, text []byte) error {
	s.screen.Lock()
	defer s.screen.Unlock()
	if len(s.lines) > 0 {
		_, _ = io.WriteString(s.out, erase(len(s.lines)))
	}
	_, err := to.Write(text)
	if len(text) > 0 {
		s.within = text[len(text)-1] != '\n'
	}
	if s.within {
		s.lines = nil
	}
	if len(s.lines) > 0 {
		_, _ = io.WriteString(s.out, drawn(s.lines))
	}
	return err
}

// erase moves the cursor to the first of n lines above it, and erases them.
func erase(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", n)
}

// drawn are lines as they are written.
func drawn(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// compose returns the lines of all tasks, or of one alone with its details. One that
// wraps would be two.
func (s *display) compose() []string {
	width, height := s.size()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, t := range s.tasks {
		list = append(list, t.line(s.now(), width-1))
	}
	if len(s.tasks) == 1 {
		list = append(list, s.tasks[0].details()...)
	}
	list = list[:min(len(list), max(height-1, 1))]
	for i, line := range list {
		line = strings.NewReplacer("\n", " ", "\t", " ").Replace(line)
		runes := []rune(string(visible([]byte(line))))
		list[i] = string(runes[:min(len(runes), max(width-1, 0))])
	}
	return list
}
