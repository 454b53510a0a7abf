package criu

import (
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

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
	TrackMem          bool
	PreDumpMode       string // splice or read
	AutoDedup         bool
}

var cgroupModes = map[string]rpc.CriuCgMode{
	"ignore": rpc.CriuCgMode_IGNORE, "none": rpc.CriuCgMode_CG_NONE, "props": rpc.CriuCgMode_PROPS,
	"soft": rpc.CriuCgMode_SOFT, "full": rpc.CriuCgMode_FULL, "strict": rpc.CriuCgMode_STRICT,
}

var networkLocks = map[string]rpc.CriuNetworkLockMethod{
	"iptables": rpc.CriuNetworkLockMethod_IPTABLES, "nftables": rpc.CriuNetworkLockMethod_NFTABLES,
	"skip": rpc.CriuNetworkLockMethod_SKIP,
}

var preDumpModes = map[string]rpc.CriuPreDumpMode{
	"": rpc.CriuPreDumpMode_SPLICE, "splice": rpc.CriuPreDumpMode_SPLICE, "read": rpc.CriuPreDumpMode_VM_READ,
}

// images are where one dump or round goes.
type images struct {
	dir    string
	parent string // relative to dir, empty for none
	// freezeCgroup is of tasks that are frozen already, empty for others.
	freezeCgroup string
}

// rpcOptions returns what CRIU takes, and what closes the directory it names.
func rpcOptions(req Request, to images) (*rpc.CriuOpts, func(), error) {
	o := req.Options
	mode, ok := cgroupModes[o.ManageCgroupsMode]
	if !ok {
		return nil, nil, fmt.Errorf("unknown manage-cgroups-mode %q", o.ManageCgroupsMode)
	}
	lock, ok := networkLocks[o.NetworkLock]
	if !ok {
		return nil, nil, fmt.Errorf("unknown network-lock %q", o.NetworkLock)
	}
	preDumpMode, ok := preDumpModes[o.PreDumpMode]
	if !ok {
		return nil, nil, fmt.Errorf("unknown pre-dump-mode %q", o.PreDumpMode)
	}
	dir, err := os.Open(to.dir)
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
		IrmapScanPaths:    req.Watched,
		// The kernel takes connections for a server that has no time to accept
		// them, a frozen one above all. CRIU would refuse them; so it leaves them
		// out of the images: if the server runs on, it accepts them afterwards.
		TcpSkipInFlight: proto.Bool(true),
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
	if o.TrackMem {
		opts.TrackMem, opts.PreDumpMode = proto.Bool(true), &preDumpMode
	}
	if to.parent != "" {
		opts.ParentImg = proto.String(to.parent)
		// Deduplication punches holes into all ancestors (criu/page-xfer.c,
		// dedup_one_iovec): never into a checkpoint that others restore from.
		opts.AutoDedup = proto.Bool(o.AutoDedup && req.Parent == "")
	}
	if req.CgroupYard != "" {
		opts.CgroupYard = proto.String(req.CgroupYard)
	}
	if to.freezeCgroup != "" {
		opts.FreezeCgroup = proto.String(to.freezeCgroup)
	}
	if req.EmptyNetNS {
		opts.EmptyNs = proto.Uint32(unix.CLONE_NEWNET)
	}
	for k, v := range req.External {
		opts.ExtMnt = append(opts.ExtMnt, &rpc.ExtMountMap{Key: proto.String(k), Val: proto.String(v)})
	}
	for path := range req.EmptyTmpfs {
		opts.ExtMnt = append(opts.ExtMnt, &rpc.ExtMountMap{Key: proto.String(path), Val: proto.String(emptyTmpfs)})
	}
	return opts, func() { _ = dir.Close() }, nil
}
