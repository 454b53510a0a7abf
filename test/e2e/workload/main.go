// Command workload is what runs in the containers of the e2e suite.
package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	args := os.Args[1:]
	if len(args) == 0 {
		log.Fatal("usage: workload server | client ADDRESS | lock FILE | trylock FILE | memory MIB")
	}
	switch args[0] {
	case "server":
		serve()
	case "client":
		ask(args[1])
	case "lock":
		lock(args[1])
	case "trylock":
		tryLock(args[1])
	case "memory":
		hold(args[1])
	default:
		log.Fatalf("unknown mode %q", args[0])
	}
}

// serve answers each number with its successor and says when a client comes
// or goes.
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
			log.Fatalf("connection lost at %d: %v", n, err)
		}
		got, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || got != n+1 {
			log.Fatalf("sent %d, got %q", n, line)
		}
		n = got
		fmt.Println(n)
	}
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

// hold keeps random memory and checks it against the sum taken at the start.
func hold(mib string) {
	n, err := strconv.Atoi(mib)
	if err != nil {
		log.Fatal(err)
	}
	memory := make([]byte, n<<20)
	if _, err := rand.Read(memory); err != nil {
		log.Fatal(err)
	}
	want := sha256.Sum256(memory)
	for n := 1; ; n++ {
		fmt.Println(n)
		time.Sleep(50 * time.Millisecond)
		if n%20 == 0 && sha256.Sum256(memory) != want {
			log.Fatal("memory changed")
		}
	}
}
