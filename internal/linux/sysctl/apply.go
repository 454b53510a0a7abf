package sysctl

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/netns"
)

// Error names the sysctls that do not have their value.
type Error struct {
	Missing []string // do not exist here, as those of an interface that is not there
	Failed  []Failure
}

// Failure is a sysctl with another value than the wanted one.
type Failure struct {
	Name, Want, Is string
	Err            error // of writing or reading, nil if the kernel took it and has another
}

func (e *Error) Error() string {
	var parts []string
	for _, name := range e.Missing {
		parts = append(parts, name+" does not exist here")
	}
	for _, f := range e.Failed {
		text := fmt.Sprintf("%s is %q, not %q", f.Name, f.Is, f.Want)
		if f.Err != nil {
			text += ": " + f.Err.Error()
		}
		parts = append(parts, text)
	}
	return "sysctl: " + strings.Join(parts, "; ")
}

// ApplyIn is Apply in the network namespace at a path.
func ApplyIn(path string, s Settings) error {
	return netns.Do(path, func() error { return Apply(s) })
}

// Apply sets sysctls of the network namespace of the calling thread, which must
// be locked if that is not the process's, and reads them back. It tries all and
// returns an *Error for those that do not have their value then.
func Apply(s Settings) error {
	names := ordered(s)
	var e Error
	// The limits of some depend on others, such as ip_local_port_range and
	// ip_unprivileged_port_start, and some set others: again until all are right.
	for range 4 {
		e = Error{}
		wrote := false
		for _, name := range names {
			wrote = set(name, s[name]) || wrote
		}
		for _, name := range names {
			e.check(name, s[name])
		}
		if len(e.Failed) == 0 || !wrote {
			break
		}
	}
	// The reason is in the last attempt.
	for i, f := range e.Failed {
		e.Failed[i].Err = write(f.Name, f.Want)
	}
	if e.Missing == nil && e.Failed == nil {
		return nil
	}
	return &e
}

// set says whether it changed the value.
func set(name, want string) bool {
	is, err := value(name)
	return err == nil && is != normal(want) && write(name, want) == nil
}

func (e *Error) check(name, want string) {
	is, err := value(name)
	switch {
	case errors.Is(err, unix.ENOENT):
		e.Missing = append(e.Missing, name)
	case err != nil || is != normal(want):
		e.Failed = append(e.Failed, Failure{Name: name, Want: want, Is: is})
	}
}

func value(name string) (string, error) {
	path, err := pathOf(name)
	if err != nil {
		return "", err
	}
	return readFile(unix.AT_FDCWD, path, make([]byte, 4096))
}

func write(name, value string) error {
	path, err := pathOf(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}

// ordered are the names in the order in which they are set.
func ordered(s Settings) []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
	return names
}

// rank puts first what sets others: ip_forward and conf.all those of all
// interfaces, conf.default those that have not been set themselves.
func rank(name string) int {
	switch {
	case name == "net.ipv4.ip_forward":
		return 0
	case strings.Contains(name, ".conf.all."):
		return 1
	case strings.Contains(name, ".default."):
		return 2
	case strings.Contains(name, ".conf.") || strings.Contains(name, ".neigh."):
		return 4
	default:
		return 3
	}
}
