// Command workload is what runs in the containers of the e2e suite.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"log"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	args := os.Args[1:]
	if len(args) == 0 {
		log.Fatal("usage: workload server | client ADDRESS | knock ADDRESS CLIENTS | lock FILE | trylock FILE | memory MIB [ZERO-MIB] | dirty MIB HOT-MIB | tick KEY=VALUE...")
	}
	switch args[0] {
	case "server":
		serve()
	case "client":
		ask(args[1])
	case "knock":
		knock(args[1], number(args[2]))
	case "lock":
		lock(args[1])
	case "trylock":
		tryLock(args[1])
	case "memory":
		hold(number(args[1])<<20, args[2:])
	case "dirty":
		dirty(number(args[1])<<20, number(args[2])<<20)
	case "tick":
		tick(args[1:])
	default:
		log.Fatalf("unknown mode %q", args[0])
	}
}

// serve answers each number with its successor and says when a client comes or
// goes.
func serve() {
	l, err := net.Listen("tcp", ":7000")
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("accepted")
		go func() {
			defer fmt.Println("closed")
			defer c.Close()
			for s := bufio.NewScanner(c); s.Scan(); {
				n, err := strconv.Atoi(s.Text())
				if err != nil {
					log.Fatal(err)
				}
				fmt.Fprintln(c, n+1)
			}
		}()
	}
}

// ask counts with the server's help over one connection, which it never opens
// again.
func ask(address string) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	in := bufio.NewReader(c)
	for n := 0; ; time.Sleep(50 * time.Millisecond) {
		fmt.Fprintln(c, n)
		line, err := in.ReadString('\n')
		if err != nil {
			fmt.Printf("connection lost at %d: %v\n", n, err)
			for { // to end at once after a restore would crash containerd's shim
				time.Sleep(time.Hour)
			}
		}
		got, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || got != n+1 {
			log.Fatalf("sent %d, got %q", n, line)
		}
		n = got
		fmt.Println(n)
	}
}

// knock lets so many clients connect anew for each number that they ask, one
// after the other. It counts the answers, and says of each connection that failed
// why.
func knock(address string, clients int) {
	answered := make(chan int)
	for range clients {
		go func() {
			for n := 0; ; n++ {
				if err := once(address, n); err != nil {
					fmt.Println("failed:", err)
				}
				answered <- 1
			}
		}()
	}
	printed := time.Now()
	for n := 0; ; n += <-answered {
		if time.Since(printed) > 50*time.Millisecond {
			printed = time.Now()
			fmt.Println(n)
		}
	}
}

// once asks one number over a connection of its own.
func once(address string, n int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintln(c, n)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && strings.TrimSpace(line) != strconv.Itoa(n+1) {
		err = fmt.Errorf("sent %d, got %q", n, line)
	}
	return err
}

func openLock(file string) *os.File {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	return f
}

func lock(file string) {
	f := openLock(file)
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		log.Fatal(err)
	}
	for n := 1; ; n++ {
		fmt.Println(n)
		time.Sleep(50 * time.Millisecond)
	}
}

// tryLock prints held or free.
func tryLock(file string) {
	if err := syscall.Flock(int(openLock(file).Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		fmt.Println("held")
		return
	}
	fmt.Println("free")
}

// hold keeps random memory, and zeros that were written after it, and checks it
// against the sum taken at the start.
func hold(size int, zeros []string) {
	random := size
	if len(zeros) > 0 {
		size += number(zeros[0]) << 20
	}
	memory := make([]byte, size)
	fill(memory[:random])
	touch(memory[random:])
	want := sum(memory)
	for n := 1; ; n++ {
		fmt.Println(n)
		time.Sleep(50 * time.Millisecond)
		if n%20 == 0 && sum(memory) != want {
			log.Fatal("memory changed")
		}
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		log.Fatal(err)
	}
	return n
}

const pageSize = 4096

// fill makes memory random, and sum is different when any one word of it is:
// both are quick also where AES and SHA have no instructions, in an emulator.
func fill(memory []byte) {
	random := rand.NewPCG(rand.Uint64(), rand.Uint64())
	for i := 0; i < len(memory); i += 8 {
		binary.LittleEndian.PutUint64(memory[i:], random.Uint64())
	}
}

func sum(memory []byte) uint64 {
	var h uint64
	for i := 0; i < len(memory); i += 8 {
		h = (bits.RotateLeft64(h, 5) ^ binary.LittleEndian.Uint64(memory[i:])) * 0x9e3779b97f4a7c15
	}
	return h
}

// touch writes a zero to each page, so that it is there.
func touch(memory []byte) {
	for i := 0; i < len(memory); i += pageSize {
		memory[i] = 0
	}
}

// dirty holds random memory and writes to the pages of its first part over and
// over, one tenth of them each millisecond. SIGUSR1 prints its longest gap
// between two ticks since the last time, SIGUSR2 whether its memory is right.
func dirty(size, hot int) {
	debug.SetGCPercent(-1)
	memory := make([]byte, size)
	fill(memory)
	idle := sum(memory[hot:])
	written := make([]uint64, hot/pageSize) // what each hot page holds
	for i := range written {
		binary.LittleEndian.PutUint64(memory[i*pageSize:], 0)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	var gap time.Duration
	next, value := 0, uint64(0)
	last, printed := time.Now(), time.Now()
	for n := 0; ; time.Sleep(time.Millisecond) {
		now := time.Now()
		gap, last = max(gap, now.Sub(last)), now
		for range (len(written) + 9) / 10 {
			value++
			written[next] = value
			binary.LittleEndian.PutUint64(memory[next*pageSize:], value)
			next = (next + 1) % len(written)
		}
		if now.Sub(printed) >= 50*time.Millisecond {
			n, printed = n+1, now
			fmt.Println(n)
		}
		select {
		case s := <-signals:
			if s == syscall.SIGUSR1 {
				fmt.Printf("gap %d us\n", gap.Microseconds())
			} else {
				fmt.Println("memory", verdict(memory, hot, idle, written))
			}
			gap, last = 0, time.Now()
		default:
		}
	}
}

func verdict(memory []byte, hot int, idle uint64, written []uint64) string {
	if sum(memory[hot:]) != idle {
		return "wrong: idle part"
	}
	for i, want := range written {
		if got := binary.LittleEndian.Uint64(memory[i*pageSize:]); got != want {
			return fmt.Sprintf("wrong: page %d holds %d, not %d", i, got, want)
		}
	}
	return "right"
}
