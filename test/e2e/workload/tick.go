package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// held keeps what nothing reads.
var held []any //nolint:unused // on purpose

// tick holds what its settings say and beats, once a millisecond, into a file of
// three numbers: beats, the longest gap between two in microseconds, and how
// often SIGUSR1 set that back to zero. It prints a line when it begins.
//
// Settings: file=PATH, memory=MIB of random bytes, zero=MIB of zeros that were
// written, untouched=MIB, rate=KIB written again each second, files=N open,
// tcp=N connections to itself, every=MS between two beats.
func tick(settings []string) {
	debug.SetGCPercent(-1)
	set := map[string]string{"memory": "0", "zero": "0", "untouched": "0", "rate": "0", "files": "0", "tcp": "0", "every": "1"}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		set[key] = value
	}
	memory := make([]byte, number(set["memory"])<<20)
	fill(memory)
	zeros := make([]byte, number(set["zero"])<<20)
	touch(zeros)
	held = []any{zeros, make([]byte, number(set["untouched"])<<20), openMany(number(set["files"])), connectMany(number(set["tcp"]))}
	file, err := os.OpenFile(set["file"], os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ticking")
	beat(file, memory, number(set["rate"])<<10/pageSize, time.Duration(number(set["every"]))*time.Millisecond)
}

// beat never returns.
func beat(file *os.File, memory []byte, pagesEachSecond int, every time.Duration) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1)
	var buf [24]byte
	var beats, resets, value uint64
	var gap time.Duration
	began, last := time.Now(), time.Now()
	next, written := 0, 0
	for ; ; time.Sleep(every) {
		now := time.Now()
		gap, last = max(gap, now.Sub(last)), now
		for len(memory) > 0 && written < int(now.Sub(began).Seconds()*float64(pagesEachSecond)) {
			value++
			binary.LittleEndian.PutUint64(memory[next:], value)
			next, written = (next+pageSize)%len(memory), written+1
		}
		select {
		case <-signals:
			resets, gap, last = resets+1, 0, time.Now()
		default:
		}
		beats++
		for i, n := range [...]uint64{beats, uint64(gap.Microseconds()), resets} {
			binary.LittleEndian.PutUint64(buf[8*i:], n)
		}
		if _, err := file.WriteAt(buf[:], 0); err != nil {
			log.Fatal(err)
		}
	}
}

func openMany(n int) []*os.File {
	var list []*os.File
	for i := range n {
		f, err := os.Create(filepath.Join(os.TempDir(), fmt.Sprintf("held-%d", i)))
		if err != nil {
			log.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}

// connectMany returns both ends of n connections.
func connectMany(n int) []net.Conn {
	if n == 0 {
		return nil
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false) // CRIU cannot dump it
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var list []net.Conn
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		list = append(list, c, s)
	}
	return list
}
