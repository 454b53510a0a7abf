package metadata

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/checkpointctl/checkpointctl/internal/linux/sparse"
)

// pieceSize is how much of a file one core reads, so that all read one large file.
const pieceSize = 32 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// piece is a part of a file, and its CRC-32C.
type piece struct {
	file     *File
	at, size int64
	crc      uint32
}

// readChecksums lists the files as readHashes does, with their CRC-32C alone. It does
// not read holes. Zeros in the images of memory stay where they are unless they are to be
// punched out.
func readChecksums(dir string, punch bool, report func(done, total int64)) ([]File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, err := ListFiles(dir)
	if err != nil {
		return nil, err
	}
	pieces, m := cut(files), newMeter(files, report)
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i := range pieces {
		g.Go(func() error { return pieces[i].read(root, punch, m) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range files {
		crc := uint32(0)
		for ; len(pieces) > 0 && pieces[0].file == &files[i]; pieces = pieces[1:] {
			crc = shift(crc, pieces[0].size) ^ pieces[0].crc
		}
		files[i].CRC32C = hex.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
	}
	return files, nil
}

// cut lists the pieces of all files, in order.
func cut(files []File) []piece {
	var pieces []piece
	for i := range files {
		for at := int64(0); at < files[i].SizeBytes; at += pieceSize {
			pieces = append(pieces, piece{file: &files[i], at: at, size: min(pieceSize, files[i].SizeBytes-at)})
		}
	}
	return pieces
}

func (p *piece) read(root *os.Root, punch bool, m *meter) error {
	f, err := openFile(root, p.file.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	z := zeros{at: p.at, from: p.at}
	if punch {
		if err := z.open(root, p.file); err != nil {
			return err
		}
		defer z.close()
	}
	for at, end := p.at, p.at+p.size; at < end; {
		data, hole := sparse.Extent(f, at, end)
		p.crc = ^shift(^p.crc, data-at) // as if the zeros had been read
		z.at = data
		m.add(data - at)
		err := eachBlock(f, data, hole, func(block []byte) {
			p.crc = crc32.Update(p.crc, castagnoli, block)
			_, _ = z.Write(block)
			m.add(int64(len(block)))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", p.file.Name, err)
		}
		at = hole
	}
	return nil
}

// shift returns a CRC-32C times x to the power of 8n, modulo the polynomial: what
// the bytes before do to the sum of n bytes behind them. See crc32_combine in
// zlib's crc32.c.
func shift(crc uint32, n int64) uint32 {
	for power := uint32(1) << (31 - 8); n > 0; n >>= 1 { // bits are reflected: this is x^8
		if n&1 != 0 {
			crc = multiply(crc, power)
		}
		power = multiply(power, power)
	}
	return crc
}

func multiply(a, b uint32) uint32 {
	product := uint32(0)
	for ; a != 0; a <<= 1 {
		if a>>31 != 0 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= crc32.Castagnoli
		}
	}
	return product
}
