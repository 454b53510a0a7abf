// Package criu dumps process trees through go-criu and reads what CRIU leaves
// behind: logs, statistics, version, features.
package criu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	gocriu "github.com/checkpoint-restore/go-criu/v7"
	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"github.com/checkpoint-restore/go-criu/v7/stats"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// LogFile is CRIU's log of a dump, in the image directory.
const LogFile = "dump.log"

// Options are named as the CRIU flags they stand for.
type Options struct {
	LeaveRunning      bool
	TCPEstablished    bool
	FileLocks         bool
	ShellJob          bool
	ExtUnixSk         bool
	LinkRemap         bool
	GhostLimit        uint32 // bytes
	ManageCgroupsMode string
	NetworkLock       string
	LogLevel          int
	TimeoutSeconds    uint32
	ConfigFile        string
}

// Request is one dump.
type Request struct {
	PID      int
	Root     string            // the container's root filesystem on the host
	ImageDir string            // exists, empty
	External map[string]string // CRIU ext-mount key to value
	// ExternalNS are namespaces that belong to somebody else, as CRIU writes
	// them: net[INODE]:extRootNetNS.
	ExternalNS []string
	EmptyNetNS bool // the network namespace's content is made again by Docker
	Options    Options
	// PostDump, if set, runs when the images are complete and the tasks still
	// frozen. Its failure fails the dump, and CRIU resumes the tasks.
	PostDump func() error
}

// Stats are CRIU's own figures, from stats-dump.
type Stats struct {
	FreezingUS   uint64
	FrozenUS     uint64
	MemDumpUS    uint64
	MemWriteUS   uint64
	PagesScanned uint64
	PagesSkipped uint64
	PagesWritten uint64
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
	if x, err := FirstError(strings.NewReader(e.Log)); err == nil && len(x.Lines) > 0 {
		last := x.Lines[len(x.Lines)-1]
		cause = last[strings.Index(last, "Error ("):]
	}
	return fmt.Sprintf("criu dump failed, the container runs on: %s", cause)
}
func (e *DumpError) Unwrap() error { return e.Err }

// Dumper dumps through one CRIU binary.
type Dumper struct {
	Path string // of the binary, or its name on the PATH
}

var cgroupModes = map[string]rpc.CriuCgMode{
	"ignore": rpc.CriuCgMode_IGNORE, "none": rpc.CriuCgMode_CG_NONE, "props": rpc.CriuCgMode_PROPS,
	"soft": rpc.CriuCgMode_SOFT, "full": rpc.CriuCgMode_FULL, "strict": rpc.CriuCgMode_STRICT,
}

var networkLocks = map[string]rpc.CriuNetworkLockMethod{
	"iptables": rpc.CriuNetworkLockMethod_IPTABLES, "nftables": rpc.CriuNetworkLockMethod_NFTABLES,
	"skip": rpc.CriuNetworkLockMethod_SKIP,
}

// Dump writes req's tasks into req.ImageDir and returns CRIU's figures. The
// tasks run on afterwards, unless the dump succeeded with LeaveRunning off:
// then CRIU has killed them. A failure of CRIU is a *DumpError.
func (d *Dumper) Dump(ctx context.Context, req Request) (Stats, error) {
	opts, closeDir, err := rpcOptions(req)
	if err != nil {
		return Stats{}, err
	}
	defer closeDir()
	c := gocriu.MakeCriu()
	c.SetCriuPath(d.Path)
	if err := ctx.Err(); err != nil {
		return Stats{}, err
	}
	if err := startShielded(c); err != nil {
		return Stats{}, fmt.Errorf("%w: %s: %w", ErrNoCRIU, d.Path, err)
	}
	// CRIU resumes the tasks when it is told to stop by a failed notification,
	// never by a kill: a killed CRIU can leave its parasite in a task.
	n := &notify{ctx: ctx, postDump: req.PostDump}
	if err := errors.Join(c.Dump(opts, n), c.Cleanup()); err != nil {
		if n.err == nil {
			n.err = ctx.Err() // CRIU's own helpers die of Ctrl-C
		}
		if n.err != nil {
			return Stats{}, fmt.Errorf("dump ended, the container runs on: %w", n.err)
		}
		log, _ := os.ReadFile(filepath.Join(req.ImageDir, LogFile))
		return Stats{}, &DumpError{Err: err, Log: string(log)}
	}
	return readStats(req.ImageDir), nil
}

func rpcOptions(req Request) (*rpc.CriuOpts, func(), error) {
	o := req.Options
	mode, ok := cgroupModes[o.ManageCgroupsMode]
	if !ok {
		return nil, nil, fmt.Errorf("unknown manage-cgroups-mode %q", o.ManageCgroupsMode)
	}
	lock, ok := networkLocks[o.NetworkLock]
	if !ok {
		return nil, nil, fmt.Errorf("unknown network-lock %q", o.NetworkLock)
	}
	dir, err := os.Open(req.ImageDir)
	if err != nil {
		return nil, nil, err
	}
	opts := &rpc.CriuOpts{
		ImagesDirFd:       proto.Int32(int32(dir.Fd())),
		Pid:               proto.Int32(int32(req.PID)),
		Root:              proto.String(req.Root),
		LogFile:           proto.String(LogFile),
		LogLevel:          proto.Int32(int32(o.LogLevel)),
		NotifyScripts:     proto.Bool(true),
		LeaveRunning:      proto.Bool(o.LeaveRunning),
		TcpEstablished:    proto.Bool(o.TCPEstablished),
		FileLocks:         proto.Bool(o.FileLocks),
		ShellJob:          proto.Bool(o.ShellJob),
		ExtUnixSk:         proto.Bool(o.ExtUnixSk),
		LinkRemap:         proto.Bool(o.LinkRemap),
		OrphanPtsMaster:   proto.Bool(true),
		ManageCgroups:     proto.Bool(true), // older CRIU reads this one only
		ManageCgroupsMode: &mode,
		NetworkLock:       &lock,
		External:          req.ExternalNS,
	}
	if o.GhostLimit > 0 {
		opts.GhostLimit = proto.Uint32(o.GhostLimit)
	}
	if o.TimeoutSeconds > 0 {
		opts.Timeout = proto.Uint32(o.TimeoutSeconds)
	}
	if o.ConfigFile != "" {
		opts.ConfigFile = proto.String(o.ConfigFile)
	}
	if req.EmptyNetNS {
		opts.EmptyNs = proto.Uint32(unix.CLONE_NEWNET)
	}
	for k, v := range req.External {
		opts.ExtMnt = append(opts.ExtMnt, &rpc.ExtMountMap{Key: proto.String(k), Val: proto.String(v)})
	}
	return opts, func() { _ = dir.Close() }, nil
}

// startShielded starts CRIU's worker with the signals of a terminal blocked,
// a mask that it inherits: Ctrl-C reaches the whole foreground process group,
// and a CRIU that dies of it leaves parasite code and a locked network behind.
func startShielded(c *gocriu.Criu) error {
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
	return c.Prepare()
}

// notify lets an interrupt end a dump while CRIU can still undo it.
type notify struct {
	gocriu.NoNotify
	ctx      context.Context
	postDump func() error
	err      error // what a notification failed with
}

func (n *notify) PreDump() error     { return n.interrupted() }
func (n *notify) NetworkLock() error { return n.interrupted() }

func (n *notify) PostDump() error {
	if n.interrupted() == nil && n.postDump != nil {
		n.err = n.postDump()
	}
	return n.err
}

func (n *notify) interrupted() error {
	n.err = n.ctx.Err()
	return n.err
}

// readStats returns zeros when there are no figures to read: the images are
// whole without them, and may be all that is left of the container.
func readStats(dir string) Stats {
	f, err := os.Open(dir)
	if err != nil {
		return Stats{}
	}
	defer f.Close()
	if !wholeStats(filepath.Join(dir, stats.StatsDump)) {
		return Stats{}
	}
	s, err := stats.CriuGetDumpStats(f)
	if err != nil {
		return Stats{}
	}
	return Stats{
		FreezingUS: uint64(s.GetFreezingTime()), FrozenUS: uint64(s.GetFrozenTime()),
		MemDumpUS: uint64(s.GetMemdumpTime()), MemWriteUS: uint64(s.GetMemwriteTime()),
		PagesScanned: s.GetPagesScanned(), PagesSkipped: s.GetPagesSkippedParent(), PagesWritten: s.GetPagesWritten(),
	}
}

// wholeStats says whether the file holds the two magics, a size, and as many
// bytes: go-criu (v7.2.0) panics on a shorter one.
func wholeStats(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && len(data) >= stats.PayloadOffset &&
		uint64(len(data)) >= stats.PayloadOffset+uint64(binary.LittleEndian.Uint32(data[stats.SizeOffset:]))
}
