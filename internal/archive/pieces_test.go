package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// cut returns the pieces of a checkpoint and what they hold.
func cut(t *testing.T, e Export, r metadata.Record) (list []Piece, data [][]byte) {
	t.Helper()
	dir := t.TempDir()
	err := e.WritePieces(context.Background(), r, dir, func(p Piece) error {
		stored, err := io.ReadAll(p.Data)
		list, data = append(list, p), append(data, stored)
		if int64(len(stored)) != p.SizeBytes || described("", string(stored)).SHA256 != p.SHA256 {
			t.Errorf("%s %d: %d bytes, said to have %d", p.File, p.Part, len(stored), p.SizeBytes)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	return list, data
}

// reading hands pieces out one after the other.
func reading(data [][]byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		if len(data) == 0 {
			return nil, io.EOF
		}
		next := io.NopCloser(bytes.NewReader(data[0]))
		data = data[1:]
		return next, nil
	}
}

func TestPieces(t *testing.T) {
	from := store(t)
	r := publish(t, from, record("x"), plain())
	whole := export(t, Export{Store: from, Compression: None}, r)
	list, data := cut(t, Export{Store: from, Compression: None, PieceBytes: 200 << 10}, r)
	if joined := bytes.Join(data, nil); !bytes.Equal(joined, whole) {
		t.Errorf("the pieces have %d bytes, the archive has %d", len(joined), len(whole))
	}
	// Of 500 KiB and 4 bytes of memory there are three pieces, and one before and behind.
	if len(list) != 5 || list[1].File != "pages-1.img" || list[3].Part != 2 || list[3].ContentBytes != 100<<10+4 || list[4].File != "" {
		t.Errorf("pieces: %+v", list)
	}
	if total, err := (Export{Store: from}).ContentBytes(r); err != nil || total < 500<<10 || total > int64(len(whole)) {
		t.Errorf("content: %d bytes, %v", total, err)
	}
	_, data = cut(t, Export{Store: from, Compression: Zstd}, r)
	to := store(t)
	got, err := importer(to).ReadPieces(context.Background(), reading(data))
	if err != nil {
		t.Fatal(err)
	}
	same(t, to, got, plain())
}

// Checkpoints with the same large file have its pieces in common.
func TestPiecesInCommon(t *testing.T) {
	s := store(t)
	e := Export{Store: s, Compression: Zstd}
	x, _ := cut(t, e, publish(t, s, record("x"), plain()))
	again, _ := cut(t, e, func() metadata.Record { r, _ := s.Get("web", "x"); return r }())
	other := plain()
	other["core-1.img"] = "another core"
	y, _ := cut(t, e, publish(t, s, record("y"), other))
	for n := range x {
		if x[n].SHA256 != again[n].SHA256 {
			t.Errorf("piece %d differs the second time", n)
		}
	}
	if x[0].SHA256 == y[0].SHA256 || x[1].SHA256 != y[1].SHA256 || x[1].File == "" {
		t.Errorf("%+v and %+v", x, y)
	}
}

func TestEncryptedPieces(t *testing.T) {
	to, err := seal.ParseRecipients([]string{"age1q32jsppzsdzrcj7x333tv9jgk204m83xmtf2mhk9xyldu9lnsdgsf3yc35"}, "")
	if err != nil {
		t.Fatal(err)
	}
	s := store(t)
	_, data := cut(t, Export{Store: s, Compression: Zstd, Seal: to}, publish(t, s, record("x"), plain()))
	for _, d := range data {
		if !bytes.HasPrefix(d, []byte(seal.Intro)) {
			t.Errorf("a piece begins with %q", d[:10])
		}
	}
	there := store(t)
	i := importer(there)
	if _, err := i.ReadPieces(context.Background(), reading(data)); !errors.Is(err, seal.ErrNoIdentity) || errors.Is(err, ErrRefused) {
		t.Errorf("without a key: %v", err)
	}
	i.Identities = identity(t, "AGE-SECRET-KEY-1XYU4D5K99DA5S5XHMTL97AAKL46D4RY9KDM43FKJYJ9TE25GDVTQPML79N")
	for name, list := range map[string][][]byte{"a piece cut": append([][]byte{data[0][:len(data[0])-3]}, data[1:]...), "the last missing": data[:len(data)-1]} {
		if _, err := i.ReadPieces(context.Background(), reading(list)); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	nothing(t, there)
	if _, err := i.ReadPieces(context.Background(), reading(data)); err != nil {
		t.Error(err)
	}
}

// A piece that is not taken ends it, and so does a file that changed.
func TestPiecesThatFail(t *testing.T) {
	s, dir := store(t), t.TempDir()
	r := publish(t, s, record("x"), plain())
	full := errors.New("full")
	if err := (Export{Store: s, Compression: Zstd}).WritePieces(context.Background(), r, dir, func(Piece) error { return full }); !errors.Is(err, full) {
		t.Errorf("not taken: %v", err)
	}
	if err := os.WriteFile(s.Path("web", "x")+"/pages-1.img", []byte(strings.Repeat("x", 500<<10+4)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (Export{Store: s, Compression: Zstd}).WritePieces(context.Background(), r, dir, func(Piece) error { return nil }); !errors.Is(err, metadata.ErrDamaged) {
		t.Errorf("changed: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}
