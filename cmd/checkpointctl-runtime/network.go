package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	control "github.com/checkpointctl/checkpointctl/internal/runtime"
)

// held lets through what CRIU sends itself (SOCCR_MARK), like the lock that CRIU
// makes in a dump: `checkpointctl repair` finds both by it.
const held = "INPUT -m mark ! --mark 0xc114 -j DROP"

// prepareNamespaces makes the init's network namespace ready before Docker
// knows that there is one.
func prepareNamespaces(pid int, req control.Request) error {
	if !req.HoldPackets {
		return nil
	}
	return filter(pid, "-I "+held)
}

// releasePackets ends what prepareNamespaces holds.
func releasePackets(pid int) error { return filter(pid, "-D "+held) }

// filter changes a rule in the network namespace of a process, for IPv4 and
// IPv6. CRIU needs the same programs.
func filter(pid int, rule string) error {
	var errs []error
	err := inNetNS(pid, func() {
		for _, tool := range [...]string{"iptables-restore", "ip6tables-restore"} {
			cmd := exec.Command(tool, "-w", "--noflush")
			cmd.Stdin = strings.NewReader("*filter\n" + rule + "\nCOMMIT\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w: %s", tool, err, bytes.TrimSpace(out)))
			}
		}
	})
	return errors.Join(append(errs, err)...)
}

// inNetNS runs f on a thread in the network namespace of a process. What f
// starts is born there. The thread ends with f.
func inNetNS(pid int, f func()) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: Go ends such a thread
		err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}
