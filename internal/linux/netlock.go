package linux

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// criuMark is on CRIU's own packets, which its lock lets through (SOCCR_MARK).
const criuMark = "--mark 0xc114"

// NetworkLock is CRIU's, in the network namespace of a process.
type NetworkLock struct {
	pid   int
	rules map[string][]string // by tool
}

// FindNetworkLock looks for CRIU's lock in what `iptables -S`, `ip6tables -S`
// and `nft list tables` show in the network namespace of a process: a chain CRIU
// with jumps to it, a rule for each connection where the namespace is the
// host's, or a table CRIU-ID (criu/net.c, criu/netfilter.c). Tools that are not
// there made no lock, but for nft, which CRIU does without.
func FindNetworkLock(pid int) (NetworkLock, error) {
	found := map[string][]string{}
	err := netns.Do(netns.Of(pid), func() error {
		if !mayFilter() {
			return nil
		}
		for _, tool := range [...]string{"iptables", "ip6tables"} {
			out, _ := exec.Command(tool, "-w", "-S").Output()
			for line := range strings.Lines(string(out)) {
				if isLock(line) {
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
		return nil
	})
	return NetworkLock{pid: pid, rules: found}, err
}

// mayFilter says whether the thread's network namespace has a table that CRIU's
// lock can be in, or cannot be asked. Starting the tools takes longer than all else
// that a recovery looks at.
func mayFilter() bool {
	for _, names := range [...]string{"ip_tables_names", "ip6_tables_names"} { // of iptables-legacy
		data, err := os.ReadFile("/proc/thread-self/net/" + names)
		if strings.Contains(string(data), "filter") || err != nil && !errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	c, err := nftables.New()
	if err != nil {
		return true
	}
	tables, err := c.ListTables()
	return err != nil || slices.ContainsFunc(tables, func(t *nftables.Table) bool {
		return t.Name == "filter" || strings.HasPrefix(t.Name, "CRIU-")
	})
}

func isLock(rule string) bool {
	f := strings.Fields(rule)
	return len(f) > 1 && (f[1] == "CRIU" || strings.Contains(rule, "-j CRIU") ||
		strings.Contains(rule, "! "+criuMark) && strings.Contains(rule, "-j DROP"))
}

// Found says whether there is a lock.
func (l NetworkLock) Found() bool { return len(l.rules) > 0 }

// Remove takes the lock away.
func (l NetworkLock) Remove() error {
	return netns.Do(netns.Of(l.pid), func() error {
		var errs []error
		for tool, lines := range l.rules {
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
		return errors.Join(errs...)
	})
}

// LockInput drops what the network namespace of a process takes in, but for
// CRIU's own packets. It is in the form of CRIU's own lock: FindNetworkLock
// finds it.
func LockInput(pid int) error { return input(pid, "-I ") }

// UnlockInput takes back what LockInput did.
func UnlockInput(pid int) error { return input(pid, "-D ") }

func input(pid int, action string) error {
	return netns.Do(netns.Of(pid), func() error {
		var errs []error
		for _, tool := range [...]string{"iptables", "ip6tables"} {
			errs = append(errs, filter(tool, action+"INPUT -m mark ! "+criuMark+" -j DROP"))
		}
		return errors.Join(errs...)
	})
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
