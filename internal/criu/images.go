package criu

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/checkpoint-restore/go-criu/v7/crit"
	critcli "github.com/checkpoint-restore/go-criu/v7/crit/cli"
	bpfmap_data "github.com/checkpoint-restore/go-criu/v7/crit/images/bpfmap-data"
	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	ipc_msg "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-msg"
	ipc_sem "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-sem"
	ipc_shm "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-shm"
	"github.com/checkpoint-restore/go-criu/v7/crit/images/pagemap"
	pipe_data "github.com/checkpoint-restore/go-criu/v7/crit/images/pipe-data"
	sk_packet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-packet"
	tcp_stream "github.com/checkpoint-restore/go-criu/v7/crit/images/tcp-stream"
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

// decode reads an image entry by entry. It does not use crit.Decode (go-criu
// v7.2.0), which trusts the sizes in the image, keeps all that it has read, and
// skips one word too many behind every IPC object.
func decode(path string, each func(proto.Message) error) error {
	// A FIFO must not hold us up.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a file")
	}
	magic, entry, err := entryType(f, filepath.Base(path))
	if magic == "" || err != nil {
		return err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	r := &frames{in: bufio.NewReader(f), left: info.Size() - at}
	for n := 0; r.left > 0; n++ {
		m := entry(n)
		err := r.next(m)
		if err == nil {
			err = r.skipData(m)
		}
		if err == nil {
			err = each(m)
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", n+1, err)
		}
	}
	return nil
}

// entryType reads the magic and returns what makes the n-th entry; no magic
// for a file that is no image of a known kind.
func entryType(f *os.File, name string) (string, func(n int) proto.Message, error) {
	magic, err := crit.ReadMagic(f)
	for _, k := range kinds {
		if k.name.MatchString(name) && (err != nil || magic != k.magic) {
			return "", nil, fmt.Errorf("its magic is not %s", k.magic)
		}
	}
	if err != nil {
		return "", nil, nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", nil, err
	}
	m, err := critcli.GetEntryTypeFromImg(f)
	if err != nil {
		return "", nil, nil // a magic without a message
	}
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return "", nil, err
	}
	switch magic {
	case "PAGEMAP":
		return magic, first(&pagemap.PagemapHead{}, &pagemap.PagemapEntry{}), nil
	case "GHOST_FILE":
		return magic, first(&ghost_file.GhostFileEntry{}, &ghost_file.GhostChunkEntry{}), nil
	}
	return magic, first(m, m), nil
}

func first(head, rest proto.Message) func(int) proto.Message {
	return func(n int) proto.Message {
		if n == 0 {
			return head.ProtoReflect().New().Interface()
		}
		return rest.ProtoReflect().New().Interface()
	}
}

// frames are the entries of an image: a size, a message, and for some kinds
// data that the message gives the size of.
type frames struct {
	in   *bufio.Reader
	left int64 // bytes of the file
}

var errCut = errors.New("ends in the middle")

func (r *frames) next(m proto.Message) error {
	var size [4]byte
	if r.left < int64(len(size)) {
		return errCut
	}
	if _, err := io.ReadFull(r.in, size[:]); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(size[:]))
	if r.left -= int64(len(size)); n > r.left {
		return errCut
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r.in, data); err != nil {
		return err
	}
	r.left -= n
	return proto.Unmarshal(data, m)
}

func (r *frames) skip(n uint64) error {
	if n > uint64(r.left) {
		return errCut
	}
	_, err := io.CopyN(io.Discard, r.in, int64(n))
	r.left -= int64(n)
	return err
}

// skipData skips what belongs to an entry but is no message (criu/ipc_ns.c,
// pipes.c, sk-queue.c, sk-tcp.c, files-reg.c, bpfmap.c).
func (r *frames) skipData(m proto.Message) error {
	switch e := m.(type) {
	case *pipe_data.PipeDataEntry:
		return r.skip(uint64(e.GetBytes()))
	case *sk_packet.SkPacketEntry:
		return r.skip(uint64(e.GetLength()))
	case *tcp_stream.TcpStreamEntry:
		return r.skip(uint64(e.GetInqLen()) + uint64(e.GetOutqLen()))
	case *bpfmap_data.BpfmapDataEntry:
		return r.skip(uint64(e.GetKeysBytes()) + uint64(e.GetValuesBytes()))
	case *ipc_sem.IpcSemEntry:
		return r.skip(roundUp(2*uint64(e.GetNsems()), 8))
	case *ipc_shm.IpcShmEntry:
		if e.GetInPagemaps() {
			return nil
		}
		return r.skip(roundUp(e.GetSize(), 4))
	case *ipc_msg.IpcMsgEntry:
		return r.skipMessages(e.GetQnum())
	case *ghost_file.GhostFileEntry:
		if e.GetChunks() {
			return nil
		}
		return r.skip(uint64(r.left))
	case *ghost_file.GhostChunkEntry:
		return r.skip(e.GetLen())
	}
	return nil
}

func (r *frames) skipMessages(n uint32) error {
	for range n {
		var msg ipc_msg.IpcMsg
		if err := r.next(&msg); err != nil {
			return err
		}
		if err := r.skip(roundUp(uint64(msg.GetMsize()), 8)); err != nil {
			return err
		}
	}
	return nil
}

func roundUp(n, to uint64) uint64 { return (n + to - 1) / to * to }
