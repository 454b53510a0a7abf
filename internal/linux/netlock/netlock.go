// Package netlock finds and removes the lock that CRIU puts on a network namespace
// while it dumps.
package netlock

import (
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/google/nftables"

	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// Lock is CRIU's, in the network namespace of a process.
type Lock struct {
	pid    int
	rules  map[string][]string // by tool
	tables []*nftables.Table
}

// Find looks for CRIU's lock in the network namespace of a process: a chain CRIU with
// jumps to it, a rule for each connection where the namespace is the host's, or a table
// CRIU-ID (criu/net.c, criu/netfilter.c).
func Find(pid int) (Lock, error) {
	l := Lock{pid: pid, rules: map[string][]string{}}
	err := netns.Do(netns.Of(pid), func() error {
		filters := legacyFilters()
		all, err := listTables()
		for _, t := range all {
			filters = filters || t.Name == "filter"
			if strings.HasPrefix(t.Name, "CRIU-") {
				l.tables = append(l.tables, t)
			}
		}
		if filters || err != nil { // the tools take longer to start than all else that is looked at
			l.findRules()
		}
		return nil
	})
	return l, err
}

// legacyFilters says whether the thread's namespace has a table of iptables-legacy.
func legacyFilters() bool {
	for _, names := range [...]string{"ip_tables_names", "ip6_tables_names"} {
		data, err := os.ReadFile("/proc/thread-self/net/" + names)
		if strings.Contains(string(data), "filter") || err != nil && !errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return false
}

func listTables() ([]*nftables.Table, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	return c.ListTables()
}

// findRules reads what `iptables -S` and `ip6tables -S` show. A tool that is not there
// made no lock.
func (l *Lock) findRules() {
	for _, tool := range [...]string{"iptables", "ip6tables"} {
		out, _ := exec.Command(tool, "-w", "-S").Output()
		for line := range strings.Lines(string(out)) {
			if isLock(line) {
				l.rules[tool] = append(l.rules[tool], strings.TrimSpace(line))
			}
		}
	}
}

func isLock(rule string) bool {
	f := strings.Fields(rule)
	return len(f) > 1 && (f[1] == "CRIU" || strings.Contains(rule, "-j CRIU") ||
		strings.Contains(rule, "! "+linux.CRIUMark) && strings.Contains(rule, "-j DROP"))
}

// Found says whether there is a lock.
func (l Lock) Found() bool { return len(l.rules) > 0 || len(l.tables) > 0 }

// Remove takes the lock away.
func (l Lock) Remove() error {
	return netns.Do(netns.Of(l.pid), func() error {
		var errs []error
		for tool, lines := range l.rules {
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
			errs = append(errs, linux.Filter(tool, rules...), linux.Filter(tool, chains...))
		}
		return errors.Join(append(errs, removeTables(l.tables))...)
	})
}

func removeTables(tables []*nftables.Table) error {
	if tables == nil {
		return nil
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	for _, t := range tables {
		c.DelTable(t)
	}
	return c.Flush()
}
