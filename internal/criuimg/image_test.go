package criuimg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/checkpoint-restore/go-criu/v7/crit/images/mm"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A message may neither promise more than there is, nor become many times as large.
func TestDecodeKeepsToBounds(t *testing.T) {
	empty := protowire.AppendVarint(protowire.AppendTag(nil, 14, protowire.BytesType), 0) // a mapping that says nothing
	many := bytes.Repeat(empty, maxNested+1)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"many messages": {slices.Concat(head("MM"), binary.LittleEndian.AppendUint32(nil, uint32(len(many))), many), "messages in it"},
		"large message": {slices.Concat(head("MM"), binary.LittleEndian.AppendUint32(nil, maxMessage+1), make([]byte, maxMessage+1)), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string][]byte{"mm-1.img": test.data})
			err := Decode(Dir(dir), "mm-1.img", func(proto.Message) error { return nil })
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "mm-1.img: entry 1: ") {
				t.Error(err)
			}
		})
	}
}

func TestDecodeWhatIsNoImage(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "core-1.img"), 0o600), os.Symlink("/etc/passwd", filepath.Join(dir, "core-2.img"))); err != nil {
		t.Fatal(err)
	}
	each := func(m proto.Message) error { t.Error(m); return nil }
	for name, want := range map[string]error{"core-1.img": nil, "core-2.img": syscall.ELOOP, "core-3.img": fs.ErrNotExist, "../x/core-1.img": fs.ErrInvalid} {
		if err := Decode(Dir(dir), name, each); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What each returns ends the reading, and is told with the entry.
func TestDecodeStops(t *testing.T) {
	m := &mm.MmEntry{}
	stop := errors.New("stop")
	raw := proto.MarshalOptions{AllowPartial: true}
	msg, err := raw.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string][]byte{"x.img": slices.Concat(head("PSTREE"), binary.LittleEndian.AppendUint32(nil, uint32(len(msg))), msg)})
	err = Decode(Dir(dir), "x.img", func(proto.Message) error { return stop })
	if err == nil || errors.Is(err, stop) { // it lacks what is required
		t.Error(err)
	}
	dir = write(t, map[string][]byte{"pstree.img": sound(t)["pstree.img"]})
	if err := Decode(Dir(dir), "pstree.img", func(proto.Message) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
