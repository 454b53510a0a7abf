// Package criuimg reads the images that CRIU writes, and trusts nothing in them:
// what a size in an image promises is not allocated before it is there.
package criuimg

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	bpfmap_data "github.com/checkpoint-restore/go-criu/v7/crit/images/bpfmap-data"
	ghost_file "github.com/checkpoint-restore/go-criu/v7/crit/images/ghost-file"
	ipc_msg "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-msg"
	ipc_sem "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-sem"
	ipc_shm "github.com/checkpoint-restore/go-criu/v7/crit/images/ipc-shm"
	pipe_data "github.com/checkpoint-restore/go-criu/v7/crit/images/pipe-data"
	sk_packet "github.com/checkpoint-restore/go-criu/v7/crit/images/sk-packet"
	tcp_stream "github.com/checkpoint-restore/go-criu/v7/crit/images/tcp-stream"
	"google.golang.org/protobuf/proto"
)

// Decode calls each for every entry of an image, in their order. An image of a kind
// that is not known has none. The error names the image; that of one that is not
// there is fs.ErrNotExist.
func Decode(images fs.FS, name string, each func(proto.Message) error) error {
	if err := decode(images, name, each); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// decode does not use crit.Decode (go-criu v7.2.0), which trusts the sizes in the
// image, keeps all that it has read, and skips one word too many behind every IPC
// object.
func decode(images fs.FS, name string, each func(proto.Message) error) error {
	f, err := images.Open(name)
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
	in := bufio.NewReader(f)
	magic, used, err := readMagic(in, path.Base(name))
	if err != nil {
		return err
	}
	entry := entriesOf(magic)
	if entry == nil {
		return nil // of no kind that has messages
	}
	r := &frames{in: in, left: info.Size() - used}
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

// frames are the entries of an image: a size, a message, and for some kinds
// data that the message gives the size of.
type frames struct {
	in   *bufio.Reader
	left int64 // bytes of the file
	buf  []byte
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
	if n > maxMessage {
		return fmt.Errorf("has %d bytes, at most %d are read", n, maxMessage)
	}
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	data := r.buf[:n]
	if _, err := io.ReadFull(r.in, data); err != nil {
		return err
	}
	r.left -= n
	if err := bounded(data, m); err != nil {
		return err
	}
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
