// Package netns runs functions in other network namespaces.
package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Of is the path of the network namespace of a process.
func Of(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }

// Do runs f on a thread in the network namespace at path, or in the caller's own
// for an empty path, and returns its error. Sockets and processes that f makes
// belong to that namespace; goroutines that it starts do not.
func Do(path string, f func() error) error {
	if path == "" {
		return f()
	}
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the network namespace %s: %w", path, err)
		}
		return f()
	})
}

// Fresh runs f on a thread in a new network namespace, which ends with it.
func Fresh(f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own, which ends with it: no other goroutine
// ever meets the namespace.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread does not end, and /proc/PID/ns/net is its
			// namespace. Held here, it cannot be the next one.
			err := onThread(f)
			runtime.UnlockOSThread()
			done <- err
			return
		}
		done <- f() // never unlocked: Go ends such a thread
	}()
	return <-done
}
