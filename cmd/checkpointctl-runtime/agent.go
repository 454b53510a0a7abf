package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// agent restores one container. It outlives `runc create`: the restored tasks
// wait in CRIU for Docker to connect the network, and for `runc start`.
type agent struct {
	call    call
	control runtime.Control
	req     runtime.Request
	create  *os.File // `runc create`, which waits for a line
	runc    *runc
	fetch   *fetch // nil unless the memory comes later

	init      runtime.Task
	waiting   *runtime.Asked  // the last hook: CRIU waits for its end
	criuEnded <-chan struct{} // while it does
	initEnded <-chan struct{}
	started   *runtime.Asked  // `runc start`
	aborts    []runtime.Asked // `runc kill` and `runc delete`
	failure   error           // why the restore is being undone
	lost      runtime.Task    // CRIU, when it was found killed
	warnings  []string        // for the user
}

// runAgent is the agent's process: ID, and the command line of `runc create`.
func runAgent(args []string) int {
	a := &agent{control: runtime.ControlOf(args[0]), create: os.NewFile(3, "create")}
	unix.CloseOnExec(int(a.create.Fd())) // runc, which would keep it open, outlives a killed agent
	var line []string
	if err := json.Unmarshal([]byte(args[1]), &line); err != nil {
		return report(err)
	}
	a.call = parse(line)
	// A terminal that is closed hangs up. Ignoring it would go on to CRIU.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	if a.restore() != nil {
		return 1
	}
	var fetched sync.WaitGroup
	defer fetched.Wait()
	if a.fetch != nil {
		fetched.Add(1)
		go func() {
			defer fetched.Done()
			a.fetch.watch()
		}()
	}
	if t := a.runc.terminal; t != nil && t.relay() != nil {
		return 1
	}
	return 0
}

// restore runs the restore from claim to result. When it returns an error the
// init is gone.
func (a *agent) restore() (err error) {
	lock, err := a.control.LockAgent()
	if err != nil {
		return a.over(err)
	}
	defer lock.Close()
	if a.req, err = a.control.Request(); err != nil {
		return a.over(err)
	}
	messages, socket, err := a.control.Listen()
	if err != nil {
		return a.over(err)
	}
	defer func() {
		_ = socket.Close()
		go func() { // whoever was just about to ask
			for m := range messages {
				m.Answer(runtime.Answer{Over: err == nil})
			}
		}()
	}()
	groups, err := a.call.findCgroups()
	if err != nil {
		return a.over(err)
	}
	a.req.CRIUConfig = append(a.req.CRIUConfig, groups.config(a.control.Path(runtime.CgroupYard))...)
	if err := prepareBundle(linux.Option(a.call.rest, "--bundle"), a.call.id, a.control, a.req); err != nil {
		return a.over(err)
	}
	if err := fillShm(linux.Option(a.call.rest, "--bundle"), a.req.Shm); err != nil {
		return a.over(err)
	}
	var fetchEnded <-chan struct{} // nil when nothing is fetched
	if a.req.LazyPages != nil {
		if a.fetch, err = startFetch(a.req); err != nil {
			return a.over(err)
		}
		fetchEnded = a.fetch.ended
	}
	if a.runc, err = startRunc(a.call, a.control, a.req, groups); err != nil {
		return a.over(err)
	}
	deadline := time.After(a.req.Deadline)
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	var criuLimit <-chan time.Time
	for {
		select {
		case m := <-messages:
			a.handle(m)
		case <-deadline:
			a.giveUp(fmt.Errorf("the tasks and their network were not ready within %s", a.req.Deadline))
		case <-fetchEnded:
			fetchEnded = nil
			if a.fetch.err != nil {
				a.giveUp(a.fetch.err)
			}
		case <-a.criuEnded:
			a.criuEnded = nil
			a.undo(errors.New("CRIU was killed")) // runc, which waits for the hook, does not see it
			a.runc.tasks.Init.Kill()              // it waits for CRIU for ever, and runc for it for ten seconds
		case <-a.initEnded:
			// CRIU is no parent of the init, and may wait for it for ever.
			a.initEnded, criuLimit = nil, time.After(2*time.Second)
			a.undo(errors.New("the init was killed"))
		case <-look.C:
			a.look()
		case <-criuLimit:
			a.runc.tasks.CRIU.Kill()
		case err := <-a.runc.ended:
			if err != nil {
				err = a.runc.explain(err)
			}
			return a.over(err)
		}
	}
}

// handle answers a message, or keeps it until there is an answer.
func (a *agent) handle(m runtime.Asked) {
	switch {
	case m.Do == runtime.Abort:
		a.aborts = append(a.aborts, m)
		a.undo(errors.New("docker gave up the start"))
	case a.failure != nil:
		m.Answer(runtime.Answer{Error: a.failure.Error()})
	case m.Do == runtime.Namespaces:
		m.Answer(answer(a.prepareNamespace(m.PID)))
	case m.Do == runtime.Connect:
		a.init, a.waiting = runtime.FindTask(m.PID), &m
		err := a.writePID()
		if err == nil {
			a.criuEnded, a.initEnded, err = a.runc.blocked(a.init)
		}
		if err != nil {
			a.undo(err)
			return
		}
		a.say("")
	case m.Do == runtime.Start && a.waiting != nil:
		if err := a.prepareConnected(); err != nil {
			a.undo(err)
			a.started = &m
			return
		}
		a.started = &m
		a.waiting.Answer(runtime.Answer{})
		a.waiting, a.criuEnded = nil, nil
	default:
		m.Answer(runtime.Answer{Error: "unexpected " + m.Do})
	}
}

func answer(err error) runtime.Answer {
	if err != nil {
		return runtime.Answer{Error: err.Error()}
	}
	return runtime.Answer{}
}

// undo lets the hook fail, by which CRIU undoes the restore. It can do nothing
// when the tasks have been let go.
func (a *agent) undo(why error) {
	if a.started != nil {
		return
	}
	if a.failure == nil {
		a.failure = why
	}
	if a.waiting != nil {
		a.waiting.Answer(runtime.Answer{Error: why.Error()})
		a.waiting = nil
	}
}

// giveUp is undo for when the tasks may not have come to a hook.
func (a *agent) giveUp(why error) {
	if a.started != nil {
		return
	}
	hooked := a.waiting != nil
	a.undo(why)
	if !hooked {
		a.runc.kill() // it has no hook to fail in
	}
}

// look ends a restore whose CRIU was killed, with all that is left of it. runc does not
// see that: it reads from CRIU's socket, which other processes of CRIU's hold open. It
// has half a second to see it.
func (a *agent) look() {
	lost := a.runc.lost()
	if lost.PID > 0 && lost == a.lost {
		if a.failure == nil {
			a.failure = errors.New("CRIU was killed")
		}
		a.runc.kill()
	}
	a.lost = lost
}

// over tells everybody how the restore ended. runc has ended before, or was
// never started.
func (a *agent) over(err error) error {
	if a.failure != nil {
		err = a.failure
	}
	if err != nil && a.runc != nil {
		a.runc.awaitTasks()
	}
	if err == nil {
		err = release(a.req, a.init.PID)
	}
	if a.fetch != nil && err == nil {
		err = a.fetch.restored(a.init)
	}
	if a.fetch != nil && err != nil {
		a.fetch.stop()
	}
	result := runtime.Result{Init: a.init, Warnings: a.warnings, Aborted: len(a.aborts) > 0 && err != nil}
	if err != nil {
		result.Error = err.Error()
	}
	_ = a.control.SetResult(result)
	a.control.Unclaim()
	if a.started != nil {
		a.started.Answer(answer(err))
	} else if err != nil {
		a.say(result.Error)
	}
	for _, m := range a.aborts {
		m.Answer(runtime.Answer{Over: err == nil})
	}
	return err
}

// say ends `runc create`, with an error or with none.
func (a *agent) say(problem string) {
	_, _ = fmt.Fprintln(a.create, strconv.Quote(problem))
	_ = a.create.Close()
}

// writePID lets the pid file appear whole, as runc does.
func (a *agent) writePID() error {
	file := linux.Option(a.call.rest, "--pid-file")
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file))
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(a.init.PID)), 0o644); err != nil { //nolint:gosec // runc's mode
		return err
	}
	return os.Rename(tmp, file)
}
