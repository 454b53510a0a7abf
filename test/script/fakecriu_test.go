package script

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/stats"
	"github.com/checkpoint-restore/go-criu/v7/rpc"
	"google.golang.org/protobuf/proto"

	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// fakeCRIU is a criu that copies no memory. FAKE_CRIU says how it behaves:
//
//	old       it is CRIU 3.16
//	no-check  `criu check` fails
//	no-dirty  the kernel has no dirty tracking
//	no-uffd   the kernel has no userfaultfd
//	tcp       a dump meets an established TCP connection
//	nonsense  it answers a dump with bytes that are no answer
//	no-stats  its stats-dump is cut short
//	connects  a connection is made after the container was inspected
//	dies      it exits in the middle of a dump
//	hangs     it stops there, for ever
//	slow      it stops there for a while, with its images written
//
// FAKE_OPEN are the files that the container has open, and FAKE_CONNECTED its ends
// of TCP connections, separated by spaces.
//
// FAKE_ROUNDS are the figures of its pre-dumps: pages written, pages skipped
// and microseconds to write them, as in 1000/0/500,20/980/10. Rounds beyond
// the last fail.
func fakeCRIU(args []string) int {
	mode := strings.Split(os.Getenv("FAKE_CRIU"), ",")
	is := func(what string) bool { return slices.Contains(mode, what) }
	switch {
	case len(args) > 0 && args[0] == "check":
		if is("no-check") || is("no-dirty") && slices.Contains(args, "mem_dirty_track") || is("no-uffd") && slices.Contains(args, "uffd-noncoop") {
			fmt.Fprintln(os.Stderr, "Error (criu/fake.c:1): the feature is missing")
			return 1
		}
		return 0
	case len(args) == 2 && args[0] == "swrk":
		fd, err := strconv.Atoi(args[1])
		if err == nil {
			err = (&worker{sock: os.NewFile(uintptr(fd), "rpc"), is: is}).serve()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "fake criu:", err)
			return 1
		}
		return 0
	}
	fmt.Fprintln(os.Stderr, "fake criu: unknown command", args)
	return 1
}

type worker struct {
	sock *os.File
	is   func(string) bool
}

func (w *worker) receive() (*rpc.CriuReq, error) {
	buf := make([]byte, 1<<16)
	n, err := w.sock.Read(buf)
	if err != nil {
		return nil, err
	}
	req := &rpc.CriuReq{}
	return req, proto.Unmarshal(buf[:n], req)
}

func (w *worker) send(resp *rpc.CriuResp) error {
	data, err := proto.Marshal(resp)
	if err == nil {
		_, err = w.sock.Write(data)
	}
	return err
}

func (w *worker) serve() error {
	req, err := w.receive()
	if err != nil {
		return nil // closed without a request
	}
	switch req.GetType() {
	case rpc.CriuReqType_VERSION:
		v := &rpc.CriuVersion{MajorNumber: proto.Int32(4), MinorNumber: proto.Int32(2), Sublevel: proto.Int32(1)}
		if w.is("old") {
			v = &rpc.CriuVersion{MajorNumber: proto.Int32(3), MinorNumber: proto.Int32(16)}
		}
		return w.send(&rpc.CriuResp{Type: req.Type, Success: proto.Bool(true), Version: v})
	case rpc.CriuReqType_DUMP:
		return w.dump(req)
	case rpc.CriuReqType_PRE_DUMP:
		for n := 0; ; n++ {
			if err := w.preDump(req, n); err != nil {
				return err
			}
			if req, err = w.receive(); err != nil {
				return fmt.Errorf("no dump after the pre-dumps")
			}
			if req.GetType() == rpc.CriuReqType_DUMP {
				return w.dump(req)
			}
		}
	default:
		return fmt.Errorf("unknown request %s", req.GetType())
	}
}

// images returns what writes into the image directory, with its parent linked.
func images(opts *rpc.CriuOpts) (func(name, text string) error, error) {
	// CRIU, too, reaches the descriptors of who asks through /proc.
	dir, err := filepath.EvalSymlinks(fmt.Sprintf("/proc/%d/fd/%d", os.Getppid(), opts.GetImagesDirFd()))
	if err != nil {
		return nil, err
	}
	if parent := opts.GetParentImg(); parent != "" {
		if _, err := os.Stat(filepath.Join(dir, parent)); err != nil {
			return nil, err
		}
		if err := os.Symlink(parent, filepath.Join(dir, "parent")); err != nil {
			return nil, err
		}
	}
	return func(name, text string) error {
		return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	}, nil
}

func (w *worker) preDump(req *rpc.CriuReq, n int) error {
	write, err := images(req.GetOpts())
	if err != nil {
		return err
	}
	rounds := strings.Split(os.Getenv("FAKE_ROUNDS"), ",")
	if n >= len(rounds) || rounds[n] == "" {
		log := "(00.002) Error (criu/fake.c:2): the round fails\n"
		return errors.Join(write(req.GetOpts().GetLogFile(), log), w.send(&rpc.CriuResp{Type: req.Type, Success: proto.Bool(false)}))
	}
	var written, skipped uint64
	var us uint32
	if _, err := fmt.Sscanf(rounds[n], "%d/%d/%d", &written, &skipped, &us); err != nil {
		return err
	}
	err = errors.Join(
		write(req.GetOpts().GetLogFile(), "(00.001) Pre-dumping finished successfully\n"),
		writeRound(write, req.GetOpts()),
		write("stats-dump", statsDump(&stats.DumpStatsEntry{
			FreezingTime: proto.Uint32(400), FrozenTime: proto.Uint32(600), MemdumpTime: proto.Uint32(100), MemwriteTime: &us,
			PagesScanned: proto.Uint64(written + skipped), PagesSkippedParent: &skipped, PagesWritten: &written, PagesLazy: proto.Uint64(0),
		})),
	)
	if err != nil {
		return err
	}
	return w.send(&rpc.CriuResp{Type: req.Type, Success: proto.Bool(true)})
}

func (w *worker) dump(req *rpc.CriuReq) error {
	opts := req.GetOpts()
	write, err := images(opts)
	if err != nil {
		return err
	}
	switch {
	case w.is("nonsense"):
		_, err := w.sock.Write([]byte("\xff\xff nonsense"))
		return err
	case w.is("tcp"):
		log := "(00.001) before\n(00.002) Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.\n"
		if err := write(opts.GetLogFile(), log); err != nil {
			return err
		}
		return w.send(&rpc.CriuResp{Type: req.Type, Success: proto.Bool(false)})
	}
	if err := write(opts.GetLogFile(), "(00.001) Dumping finished successfully\n"); err != nil {
		return err
	}
	for _, script := range []string{"pre-dump", "network-lock", "post-dump"} {
		if script == "post-dump" {
			if w.is("dies") {
				return fmt.Errorf("dies")
			}
			if w.is("hangs") {
				select {}
			}
			if err := writeImages(write, opts); err != nil {
				return err
			}
			if w.is("slow") {
				time.Sleep(700 * time.Millisecond)
			}
			if w.is("connects") {
				if err := write("tcp-stream-1.img", tcpStream()); err != nil {
					return err
				}
			}
			if w.is("no-stats") {
				if err := write("stats-dump", "\x0a"); err != nil {
					return err
				}
			}
		}
		typ := rpc.CriuReqType_NOTIFY
		if err := w.send(&rpc.CriuResp{Type: &typ, Success: proto.Bool(true), Notify: &rpc.CriuNotify{Script: proto.String(script)}}); err != nil {
			return err
		}
		if answer, err := w.receive(); err != nil || !answer.GetNotifySuccess() {
			return fmt.Errorf("%s failed, the tasks are resumed", script)
		}
	}
	if !opts.GetLeaveRunning() {
		// On v1 a frozen task does not die. Like CRIU, thaw it.
		if dir := opts.GetFreezeCgroup(); dir != "" {
			if err := linux.FreezerAt(dir).Thaw(); err != nil {
				return err
			}
		}
		if err := syscall.Kill(int(opts.GetPid()), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return w.send(&rpc.CriuResp{Type: req.Type, Success: proto.Bool(true), Dump: &rpc.CriuDumpResp{}})
}
