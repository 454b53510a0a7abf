package docker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// criuMark is on CRIU's own packets, which its lock lets through (SOCCR_MARK).
const criuMark = "--mark 0xc114"

// networkLock returns what `iptables -S`, `ip6tables -S` and `nft list tables`
// show of CRIU's lock in the network namespace of a process, as commands that
// make it: a chain CRIU with jumps to it, a rule for each connection where the
// namespace is the host's, or a table CRIU-ID (criu/net.c, criu/netfilter.c).
// Tools that are not there made no lock, but for nft, which CRIU does without.
func networkLock(pid int) (map[string][]string, error) {
	found := map[string][]string{}
	err := inNetNS(pid, func() {
		for _, tool := range [...]string{"iptables", "ip6tables"} {
			out, _ := exec.Command(tool, "-w", "-S").Output()
			for line := range strings.Lines(string(out)) {
				if f := strings.Fields(line); len(f) > 1 && (f[1] == "CRIU" || strings.Contains(line, "-j CRIU") ||
					strings.Contains(line, "! "+criuMark) && strings.Contains(line, "-j DROP")) {
					found[tool] = append(found[tool], strings.TrimSpace(line))
				}
			}
		}
		out, _ := exec.Command("nft", "list", "tables").Output()
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "table inet CRIU-") {
				found["nft"] = append(found["nft"], strings.TrimSpace(line))
			}
		}
	})
	return found, err
}

// unlockNetwork takes back what networkLock found.
func unlockNetwork(pid int, found map[string][]string) error {
	var errs []error
	err := inNetNS(pid, func() {
		for tool, lines := range found {
			if tool == "nft" {
				for _, table := range lines {
					errs = append(errs, feed("", tool, append([]string{"delete"}, strings.Fields(table)...)...))
				}
				continue
			}
			var rules, chains []string
			for _, line := range lines {
				if rest, ok := strings.CutPrefix(line, "-A "); ok {
					rules = append(rules, "-D "+rest)
				} else if rest, ok := strings.CutPrefix(line, "-N "); ok {
					chains = append(chains, "-X "+rest)
				}
			}
			// The chain goes in a second step: with the nft backend it counts
			// as used until the first is done.
			errs = append(errs, filter(tool, rules...), filter(tool, chains...))
		}
	})
	return errors.Join(append(errs, err)...)
}

// filter gives lines of its language to iptables or ip6tables.
func filter(tool string, lines ...string) error {
	return feed("*filter\n"+strings.Join(lines, "\n")+"\nCOMMIT\n", tool+"-restore", "-w", "--noflush")
}

func feed(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// inNetNS runs f on a thread in the network namespace of a process. Commands
// that f starts are born there. The thread ends with it.
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
