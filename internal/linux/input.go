package linux

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// CRIUMark is on CRIU's own packets, which its lock lets through (SOCCR_MARK).
const CRIUMark = "--mark 0xc114"

// LockInput drops what the network namespace of a process takes in, but for
// CRIU's own packets. It is in the form of CRIU's own lock: netlock.Find
// finds it.
func LockInput(pid int) error { return input(pid, "-I ") }

// UnlockInput takes back what LockInput did.
func UnlockInput(pid int) error { return input(pid, "-D ") }

func input(pid int, action string) error {
	return netns.Do(netns.Of(pid), func() error {
		var errs []error
		for _, tool := range [...]string{"iptables", "ip6tables"} {
			errs = append(errs, Filter(tool, action+"INPUT -m mark ! "+CRIUMark+" -j DROP"))
		}
		return errors.Join(errs...)
	})
}

// Filter gives lines of its language, for the table filter of the thread's network
// namespace, to iptables or ip6tables.
func Filter(tool string, lines ...string) error {
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
