package criuimg

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"regexp"
	"sync"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/apparmor"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/autofs"
	binfmt_misc "github.com/checkpoint-restore/go-criu/v7/crit/images/binfmt-misc"
	bpfmap_data "github.com/checkpoint-restore/go-criu/v7/crit/images/bpfmap-data"
	bpfmap_file "github.com/checkpoint-restore/go-criu/v7/crit/images/bpfmap-file"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/cgroup"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/cpuinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/creds"
	criu_core "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-core"
	criu_sa "github.com/checkpoint-restore/go-criu/v7/crit/images/criu-sa"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/eventfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/eventpoll"
	ext_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ext-file"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fh"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fifo"
	file_lock "github.com/checkpoint-restore/go-criu/v7/crit/images/file-lock"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fs"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/fsnotify"
	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/inventory"
	ipc_msg "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-msg"
	ipc_sem "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-sem"
	ipc_shm "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-shm"
	ipc_var "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-var"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/memfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/mnt"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/netdev"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/ns"
	packet_sock "github.com/checkpoint-restore/go-criu/v7/crit/images/packet-sock"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pidns"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pipe"
	pipe_data "github.com/checkpoint-restore/go-criu/v7/crit/images/pipe-data"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pstree"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/regfile"
	remap_file_path "github.com/checkpoint-restore/go-criu/v7/crit/images/remap-file-path"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/rlimit"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/seccomp"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/signalfd"
	sk_inet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-inet"
	sk_netlink "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-netlink"
	sk_packet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-packet"
	sk_unix "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-unix"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/stats"
	tcp_stream "github.com/checkpoint-restore/go-criu/v7/crit/images/tcp-stream"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timens"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timer"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/timerfd"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tty"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/tun"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/userns"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/utsns"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/vma"
	"github.com/checkpoint-restore/go-criu/v7/magic"
	"google.golang.org/protobuf/proto"
)

// kinds are images that CRIU 3.17 to 4.2 write with this magic. An image of
// another name is read if its magic is known and else left alone: CRIU keeps
// archives and the like without one, and a newer CRIU has new kinds.
var kinds = [...]struct {
	name  *regexp.Regexp
	magic string
}{
	{regexp.MustCompile(`^inventory\.img$`), "INVENTORY"},
	{regexp.MustCompile(`^pstree\.img$`), "PSTREE"},
	{regexp.MustCompile(`^core-\d+\.img$`), "CORE"},
	{regexp.MustCompile(`^mm-\d+\.img$`), "MM"},
	{regexp.MustCompile(`^ids-\d+\.img$`), "IDS"},
	{regexp.MustCompile(`^fs-\d+\.img$`), "FS"},
	{regexp.MustCompile(`^fdinfo-\d+\.img$`), "FDINFO"},
	{regexp.MustCompile(`^files\.img$`), "FILES"},
	{regexp.MustCompile(`^filelocks\.img$`), "FILE_LOCKS"},
	{regexp.MustCompile(`^pagemap-(shmem-)?\d+\.img$`), "PAGEMAP"},
	{regexp.MustCompile(`^mountpoints-\d+\.img$`), "MNTS"},
	{regexp.MustCompile(`^utsns-\d+\.img$`), "UTSNS"},
	{regexp.MustCompile(`^tcp-stream-[0-9a-f]+\.img$`), "TCP_STREAM"},
	{regexp.MustCompile(`^pipes-data\.img$`), "PIPES_DATA"},
	{regexp.MustCompile(`^cgroup\.img$`), "CGROUP"},
	{regexp.MustCompile(`^seccomp\.img$`), "SECCOMP"},
	{regexp.MustCompile(`^tty-info\.img$`), "TTY_INFO"},
	{regexp.MustCompile(`^ghost-file-[0-9a-f]+\.img$`), "GHOST_FILE"},
}

// magicSize is the size of one of the one or two words that begin an image.
const magicSize = 4

// magics is a table that takes as long to make as a small image to read.
var magics = sync.OnceValue(magic.LoadMagic)

// readMagic returns the name of the magic that an image begins with, and how many
// bytes that takes; no name if it is not known and the image has no name of ours.
func readMagic(in *bufio.Reader, name string) (string, int64, error) {
	known := magics()
	magicName, used := "", int64(0)
	for _, common := range [...]bool{true, false} {
		word, err := in.Peek(magicSize)
		if err != nil {
			break
		}
		magicName = known.ByValue[uint64(binary.LittleEndian.Uint32(word))]
		_, _ = in.Discard(magicSize)
		used += magicSize
		if !common || magicName != "IMG_COMMON" && magicName != "IMG_SERVICE" {
			break
		}
		magicName = ""
	}
	for _, k := range kinds {
		if k.name.MatchString(name) && magicName != k.magic {
			return "", used, fmt.Errorf("its magic is not %s", k.magic)
		}
	}
	return magicName, used, nil
}

// entriesOf returns what makes the n-th entry of an image with this magic; nil if
// it has none that are known.
func entriesOf(magic string) func(n int) proto.Message {
	switch magic {
	case "PAGEMAP":
		return first(&pagemap.PagemapHead{}, &pagemap.PagemapEntry{})
	case "GHOST_FILE":
		return first(&ghost_file.GhostFileEntry{}, &ghost_file.GhostChunkEntry{})
	}
	if m := messageOf(magic); m != nil {
		return first(m, m)
	}
	return nil
}

func first(head, rest proto.Message) func(int) proto.Message {
	return func(n int) proto.Message {
		if n == 0 {
			return head.ProtoReflect().New().Interface()
		}
		return rest.ProtoReflect().New().Interface()
	}
}

// messageOf is the message of images all of whose entries are of one kind; nil for
// others.
func messageOf(magic string) proto.Message {
	switch magic {
	case "APPARMOR":
		return &apparmor.ApparmorEntry{}
	case "AUTOFS":
		return &autofs.AutofsEntry{}
	case "BINFMT_MISC":
		return &binfmt_misc.BinfmtMiscEntry{}
	case "BPFMAP_DATA":
		return &bpfmap_data.BpfmapDataEntry{}
	case "BPFMAP_FILE":
		return &bpfmap_file.BpfmapFileEntry{}
	case "CGROUP":
		return &cgroup.CgroupEntry{}
	case "CORE":
		return &criu_core.CoreEntry{}
	case "CPUINFO":
		return &cpuinfo.CpuinfoEntry{}
	case "CREDS":
		return &creds.CredsEntry{}
	case "EVENTFD_FILE":
		return &eventfd.EventfdFileEntry{}
	case "EVENTPOLL_FILE":
		return &eventpoll.EventpollFileEntry{}
	case "EVENTPOLL_TFD":
		return &eventpoll.EventpollTfdEntry{}
	case "EXT_FILES":
		return &ext_file.ExtFileEntry{}
	case "FANOTIFY_FILE":
		return &fsnotify.FanotifyFileEntry{}
	case "FANOTIFY_MARK":
		return &fsnotify.FanotifyMarkEntry{}
	case "FDINFO":
		return &fdinfo.FdinfoEntry{}
	case "FIFO":
		return &fifo.FifoEntry{}
	case "FIFO_DATA":
		return &pipe_data.PipeDataEntry{}
	case "FILES":
		return &fdinfo.FileEntry{}
	case "FILE_LOCKS":
		return &file_lock.FileLockEntry{}
	case "FS":
		return &fs.FsEntry{}
	case "IDS":
		return &criu_core.TaskKobjIdsEntry{}
	case "INETSK":
		return &sk_inet.InetSkEntry{}
	case "INOTIFY_FILE":
		return &fsnotify.InotifyFileEntry{}
	case "INOTIFY_WD":
		return &fsnotify.InotifyWdEntry{}
	case "INVENTORY":
		return &inventory.InventoryEntry{}
	case "IPCNS_MSG":
		return &ipc_msg.IpcMsgEntry{}
	case "IPCNS_SEM":
		return &ipc_sem.IpcSemEntry{}
	case "IPCNS_SHM":
		return &ipc_shm.IpcShmEntry{}
	case "IPC_VAR":
		return &ipc_var.IpcVarEntry{}
	case "IRMAP_CACHE":
		return &fh.IrmapCacheEntry{}
	case "ITIMERS":
		return &timer.ItimerEntry{}
	case "MEMFD_INODE":
		return &memfd.MemfdInodeEntry{}
	case "MM":
		return &mm.MmEntry{}
	case "MNTS":
		return &mnt.MntEntry{}
	case "NETDEV":
		return &netdev.NetDeviceEntry{}
	case "NETLINK_SK":
		return &sk_netlink.NetlinkSkEntry{}
	case "NETNS":
		return &netdev.NetnsEntry{}
	case "NS_FILES":
		return &ns.NsFileEntry{}
	case "PACKETSK":
		return &packet_sock.PacketSockEntry{}
	case "PIDNS":
		return &pidns.PidnsEntry{}
	case "PIPES":
		return &pipe.PipeEntry{}
	case "PIPES_DATA":
		return &pipe_data.PipeDataEntry{}
	case "POSIX_TIMERS":
		return &timer.PosixTimerEntry{}
	case "PSTREE":
		return &pstree.PstreeEntry{}
	case "REG_FILES":
		return &regfile.RegFileEntry{}
	case "REMAP_FPATH":
		return &remap_file_path.RemapFilePathEntry{}
	case "RLIMIT":
		return &rlimit.RlimitEntry{}
	case "SECCOMP":
		return &seccomp.SeccompEntry{}
	case "SIGACT":
		return &criu_sa.SaEntry{}
	case "SIGNALFD":
		return &signalfd.SignalfdEntry{}
	case "SK_QUEUES":
		return &sk_packet.SkPacketEntry{}
	case "STATS":
		return &stats.StatsEntry{}
	case "TCP_STREAM":
		return &tcp_stream.TcpStreamEntry{}
	case "TIMENS":
		return &timens.TimensEntry{}
	case "TIMERFD":
		return &timerfd.TimerfdEntry{}
	case "TTY_DATA":
		return &tty.TtyDataEntry{}
	case "TTY_FILES":
		return &tty.TtyFileEntry{}
	case "TTY_INFO":
		return &tty.TtyInfoEntry{}
	case "TUNFILE":
		return &tun.TunfileEntry{}
	case "UNIXSK":
		return &sk_unix.UnixSkEntry{}
	case "USERNS":
		return &userns.UsernsEntry{}
	case "UTSNS":
		return &utsns.UtsnsEntry{}
	case "VMAS":
		return &vma.VmaEntry{}
	}
	return nil
}
