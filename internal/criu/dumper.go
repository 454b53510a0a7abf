// Package criu dumps process trees through go-criu, and reads CRIU's logs, version
// and features. What is in the images, internal/criuimg reads.
package criu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gocriu "github.com/checkpoint-restore/go-criu/v7"
	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// LogFile is CRIU's log of a dump, in the image directory.
const LogFile = "dump.log"

// Request is one dump, with the rounds before it.
type Request struct {
	PID      int
	Root     string            // the container's root filesystem on the host
	ImageDir string            // exists, empty
	External map[string]string // CRIU ext-mount key to value
	// EmptyTmpfs are the paths of tmpfs that stay empty, and their directories. CRIU
	// would run tar for each with the tasks frozen, 5 ms where processes are slow to
	// start. They are packed without it, see criuimg.PackTmpfs.
	EmptyTmpfs map[string]fs.FileInfo
	// ExternalNS are namespaces that belong to somebody else, as CRIU writes
	// them: net[INODE]:extRootNetNS.
	ExternalNS []string
	EmptyNetNS bool   // the network namespace's content is made again by Docker
	CgroupYard string // see linux.CgroupYard; empty for none
	// Parent is the image directory that this one continues, relative to
	// ImageDir; empty for none. It needs Options.TrackMem.
	Parent  string
	Options Options
	// Watched are paths at which CRIU looks first for files that are watched.
	Watched []string
	// Rounds, if set, go before the dump. They need Options.TrackMem.
	Rounds *Rounds
	// Ready, if set, runs after the rounds, right before the dump. Its failure
	// ends the chain; the tasks run on.
	Ready func(context.Context) error
	// FreezeCgroup, if set, is the freezer cgroup of tasks that are frozen when
	// the dump begins. CRIU leaves them so, unless it kills them.
	FreezeCgroup string
	// Frozen, if set, is called when the tasks are frozen for the dump and it has yet
	// to be made. It must return at once. CRIU does not tell that of tasks in another's
	// network namespace.
	Frozen func()
	// PostDump, if set, runs when the images are complete and the tasks still
	// frozen. Its failure fails the dump, and CRIU resumes the tasks. The tasks
	// changed files before the moment that it is given; what they change from
	// there on has a ctime of that moment or later, see freezeMoment.
	PostDump func(frozen time.Time) error
	// BeforeEnd, if set, runs before a CRIU that hangs is killed.
	BeforeEnd func()
}

// Result is what a dump found and cost.
type Result struct {
	Stats  criuimg.Stats // of the final dump; zero after rounds alone
	Rounds []Round
	Stop   Stop // why the rounds ended, empty without rounds
}

// DumpError is a dump that CRIU refused or could not finish. CRIU has resumed
// the tasks by then.
type DumpError struct {
	Err error
	Log string // CRIU's log, since the image directory goes
}

// Error quotes the first error of the log, if there is one: CRIU's answer
// tends to name a harmless one.
func (e *DumpError) Error() string {
	cause := e.Err.Error()
	if x, err := FirstError(strings.NewReader(e.Log)); err == nil && len(x.Lines) > 0 && !errors.Is(e.Err, ErrHung) {
		_, last, _ := strings.Cut(x.Lines[len(x.Lines)-1], "Error (")
		cause = "Error (" + last
	}
	return "criu dump failed: " + cause
}
func (e *DumpError) Unwrap() error { return e.Err }

// Dumper dumps through one CRIU binary.
type Dumper struct {
	Path string // of the binary, or its name on the PATH
	// HangTimeout ends a CRIU that writes nothing for so long; 0 is never.
	HangTimeout time.Duration
	// Libexec, if set, is a directory of programs that CRIU runs in place of
	// those on the PATH: tar.
	Libexec string
	// Memory, if set, is a file that keeps the binary's version, so that not
	// each run starts it twice.
	Memory string

	// starts lets processes start one at a time: the socket that go-criu
	// (v7.2.0) hands to its worker has no close-on-exec, and one that another
	// inherits hides from both ends that the other is gone. It guards PATH, too.
	starts sync.Mutex

	once    sync.Once // of Version
	version Version
	err     error

	trackingOnce sync.Once // of DirtyTracking
	trackingErr  error
}

// Dump makes req.Rounds, if any, and then writes req's tasks into
// req.ImageDir. The tasks run on afterwards, unless the dump succeeded with
// LeaveRunning off: then CRIU has killed them. A failure of CRIU is a
// *DumpError.
func (d *Dumper) Dump(ctx context.Context, req Request) (Result, error) {
	w, err := d.start(ctx)
	if err != nil {
		return Result{}, err
	}
	// Its answers count, not its exit status: after pre-dumps it misses a dump,
	// and after a dump the tasks may be gone.
	defer func() { _ = w.Cleanup() }()
	var res Result
	to := images{dir: req.ImageDir, parent: req.Parent, freezeCgroup: req.FreezeCgroup}
	if req.Rounds != nil {
		if res.Rounds, res.Stop, err = w.rounds(ctx, req); err != nil {
			return Result{}, err
		}
		to.parent = RoundDir(len(res.Rounds))
	}
	if req.Ready != nil {
		if err := req.Ready(ctx); err != nil {
			return Result{}, err
		}
	}
	err = w.run(ctx, req, to, w.Dump, func(frozen time.Time) (err error) {
		if !req.Options.LeaveRunning { // the images must be whole before the tasks are killed
			err = req.pack()
		}
		if err == nil && req.PostDump != nil {
			err = req.PostDump(frozen)
		}
		return err
	})
	if err == nil && req.Options.LeaveRunning {
		err = req.pack()
	}
	if err != nil {
		return Result{}, err
	}
	res.Stats = criuimg.ReadStats(criuimg.Dir(req.ImageDir))
	return res, nil
}

// emptyTmpfs is the key of external mounts that become tmpfs in the images.
const emptyTmpfs = "checkpointctl-tmpfs"

func (r Request) pack() error {
	if len(r.EmptyTmpfs) == 0 {
		return nil
	}
	return criuimg.PackTmpfs(r.ImageDir, emptyTmpfs, r.EmptyTmpfs)
}

// PreDump makes req.Rounds alone. The tasks run on.
func (d *Dumper) PreDump(ctx context.Context, req Request) (Result, error) {
	w, err := d.start(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = w.Cleanup() }() // as in Dump
	rounds, stop, err := w.rounds(ctx, req)
	return Result{Rounds: rounds, Stop: stop}, err
}

// worker is one running `criu swrk`: it takes any number of pre-dumps, then a
// dump.
type worker struct {
	*gocriu.Criu
	dog *watchdog
}

func (d *Dumper) start(ctx context.Context) (worker, error) {
	w := worker{gocriu.MakeCriu(), &watchdog{limit: d.HangTimeout}}
	w.SetCriuPath(d.Path)
	if err := ctx.Err(); err != nil {
		return w, err
	}
	d.starts.Lock()
	defer d.starts.Unlock()
	if err := d.shielded(w); err != nil {
		return w, fmt.Errorf("%w: %s: %w", ErrNoCRIU, d.Path, err)
	}
	return w, nil
}

// run has the worker do one dump or round.
func (w worker) run(ctx context.Context, req Request, to images, do func(*rpc.CriuOpts, gocriu.Notify) error, postDump func(time.Time) error) error {
	opts, closeDir, err := rpcOptions(req, to)
	if err != nil {
		return err
	}
	defer closeDir()
	// CRIU resumes the tasks when it is told to stop by a failed notification,
	// never by a kill: a killed CRIU can leave its parasite in a task.
	n := &notify{ctx: ctx, postDump: postDump, busy: &w.dog.paused}
	if postDump != nil { // not in a round
		n.frozen = req.Frozen
	}
	w.dog.before = req.BeforeEnd
	stop := w.dog.watch(to.dir)
	err = do(opts, n)
	stop()
	if hung := w.dog.err(); hung != nil {
		err = hung
	}
	if err != nil {
		if n.err == nil {
			n.err = ctx.Err() // CRIU's own helpers die of Ctrl-C
		}
		if n.err != nil {
			return fmt.Errorf("dump ended: %w", n.err)
		}
		log, readErr := os.ReadFile(filepath.Join(to.dir, LogFile))
		return &DumpError{Err: errors.Join(err, readErr), Log: string(log)}
	}
	return nil
}

// shielded starts CRIU's worker with the signals of a terminal blocked, a mask
// that it inherits: Ctrl-C reaches the whole foreground process group, and a
// CRIU that dies of it leaves parasite code and a locked network behind.
func (d *Dumper) shielded(w worker) error {
	if path := os.Getenv("PATH"); d.Libexec != "" {
		// go-criu has no word for the worker's environment.
		if err := os.Setenv("PATH", d.Libexec+string(filepath.ListSeparator)+path); err != nil {
			return err
		}
		defer os.Setenv("PATH", path)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, old unix.Sigset_t
	for _, sig := range [...]syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		bit := uint(sig) - 1
		set.Val[bit/64] |= 1 << (bit % 64)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &old); err != nil {
		return err
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil) }()
	child := newChild()
	err := w.Prepare()
	w.dog.worker(child())
	return err
}

// notify lets an interrupt end a dump while CRIU can still undo it.
type notify struct {
	gocriu.NoNotify
	ctx      context.Context
	postDump func(time.Time) error
	frozen   func()
	seen     time.Time // when the tasks were frozen already
	busy     *atomic.Bool
	err      error // what a notification failed with
}

func (n *notify) PreDump() error { return n.interrupted() }

// NetworkLock comes right after the freeze, if the tasks have a network
// namespace of their own.
func (n *notify) NetworkLock() error {
	n.seen = fineClock()
	if n.frozen != nil {
		n.frozen()
	}
	return n.interrupted()
}

func (n *notify) PostDump() error {
	if n.interrupted() == nil && n.postDump != nil {
		n.busy.Store(true)
		defer n.busy.Store(false)
		if n.seen.IsZero() {
			n.seen = fineClock()
		}
		n.err = n.postDump(freezeMoment(n.seen))
	}
	return n.err
}

func (n *notify) interrupted() error {
	n.err = n.ctx.Err()
	return n.err
}
