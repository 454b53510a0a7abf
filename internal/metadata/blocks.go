package metadata

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

const (
	// window is how much of a file is mapped at once: all of it would count as memory of
	// the program.
	window = 2 << 20
	// readSize fits the caches. Memory is slower to get than most files are to read.
	readSize = 256 << 10
)

// eachBlock calls do for all that is in a file from one offset to another, block by block.
// Large files are mapped, not copied out of the page cache.
func eachBlock(f *os.File, from, to int64, do func([]byte)) error {
	if to-from < readSize {
		return readBlocks(f, from, to, do)
	}
	for from < to {
		end := min(to, from&^(window-1)+window)
		known, err := mapBlock(f, from, end, do)
		if !known { // a filesystem that maps nothing
			err = readBlocks(f, from, end, do)
		}
		if err != nil {
			return err
		}
		from = end
	}
	return nil
}

func readBlocks(f *os.File, from, to int64, do func([]byte)) error {
	buf := make([]byte, min(readSize, to-from))
	for from < to {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if n == 0 {
			return err
		}
		do(buf[:n])
		from += int64(n)
	}
	return nil
}

// mapBlock says, too, whether the file could be mapped.
func mapBlock(f *os.File, from, to int64, do func([]byte)) (known bool, err error) {
	start := from &^ int64(os.Getpagesize()-1)
	m, err := unix.Mmap(int(f.Fd()), start, int(to-start), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return false, nil
	}
	defer func() { _ = unix.Munmap(m) }()
	// The kernel sends SIGBUS for a page that the disk does not give, or that was cut off.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case runtime.Error:
			if _, ok := fault.(interface{ Addr() uintptr }); !ok {
				panic(fault)
			}
			err = fmt.Errorf("read %s: %w", f.Name(), unix.EIO)
		default:
			panic(fault)
		}
	}()
	known = true
	do(m[from-start:])
	return known, nil
}
