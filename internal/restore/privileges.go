package restore

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
)

// PrivilegeError is an imported checkpoint whose images have more than its
// container is allowed: CRIU restores what they say.
type PrivilegeError struct {
	Container, Checkpoint string
	What                  []string
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("%s would have in %s what the container is not allowed: %s", e.Checkpoint, e.Container, strings.Join(e.What, "; "))
}

// allowed is what a container may have.
type allowed struct {
	capabilities      uint64
	privileged        bool
	noNewPrivs        bool
	notRoot           bool // it starts as another user
	seccomp, appArmor bool // it must have these
	masked, readOnly  []string
	exists            func(path string) bool // on this host
}

// contained returns a *PrivilegeError if an imported checkpoint has more than the
// container is allowed. Those made here had what Docker gave them.
func (r *Restorer) contained(ctx context.Context, c docker.Container, from source) error {
	if from.Imported == nil {
		return nil
	}
	images, err := criuimg.ReadRestored(criuimg.Dir(from.dir))
	if err != nil {
		return from.Damaged(err.Error())
	}
	d, err := r.Docker.Daemon(ctx)
	if err != nil {
		return err
	}
	what := beyond(images, allowedTo(c, d))
	switch {
	case what == nil:
		return nil
	case r.AllowPrivileges:
		r.warn(fmt.Sprintf("container %s gets what it is not allowed by Docker: %s", c.Name, strings.Join(what, "; ")))
		return nil
	}
	return &PrivilegeError{Container: c.Name, Checkpoint: from.Name + "/" + from.Checkpoint, What: what}
}

// allowedTo is what Docker gives to a container when it starts it.
func allowedTo(c docker.Container, d docker.Daemon) allowed {
	s := c.Settings
	a := allowed{
		capabilities: capabilities(s.CapAdd, s.CapDrop), privileged: s.Privileged, seccomp: d.Seccomp, appArmor: d.AppArmor,
		notRoot: user(s.User) != "root" && !strings.HasPrefix(s.User, "0:") && !strings.HasPrefix(s.User, "root:"), masked: s.MaskedPaths, readOnly: s.ReadonlyPaths,
		exists: func(path string) bool { _, err := os.Stat(path); return err == nil },
	}
	if s.Privileged {
		a.capabilities, a.seccomp, a.appArmor = ^uint64(0), false, false
	}
	for _, o := range s.SecurityOpt {
		switch strings.ReplaceAll(o, ":", "=") {
		case "no-new-privileges", "no-new-privileges=true":
			a.noNewPrivs = true
		case "seccomp=unconfined":
			a.seccomp = false
		case "apparmor=unconfined":
			a.appArmor = false
		}
	}
	return a
}

// beyond returns what images have and a container is not allowed, each once.
func beyond(images criuimg.Restored, a allowed) []string {
	what := slices.Clone(images.Odd)
	add := func(format string, args ...any) { what = append(what, fmt.Sprintf(format, args...)) }
	namespaces := ""
	for _, t := range images.Threads {
		if more := t.Capabilities &^ a.capabilities; more != 0 {
			add("capabilities %s", strings.Join(linux.CapabilityNames(more), ", "))
		}
		if a.noNewPrivs && !t.NoNewPrivs {
			add("no no_new_privs")
		}
		if a.noNewPrivs && a.notRoot && slices.Contains(t.UIDs, 0) {
			add("root's user ID, though it cannot become root")
		}
		if a.seccomp && !t.Seccomp {
			add("no seccomp filter")
		}
		if a.appArmor && (t.LSM == "" || t.LSM == "unconfined") {
			add("no AppArmor profile")
		}
		switch {
		case t.Namespaces == "":
		case namespaces == "":
			namespaces = t.Namespaces
		case namespaces != t.Namespaces:
			add("processes in several namespaces")
		}
	}
	if !a.privileged {
		what = append(what, mountsBeyond(images.Mounts, a)...)
	}
	slices.Sort(what)
	return slices.Compact(what)
}

// mountsBeyond returns mounts that Docker would not make, or not writable, and
// those that it would make and that are not there.
func mountsBeyond(mounts []criuimg.RestoredMount, a allowed) (what []string) {
	at := map[string]criuimg.RestoredMount{}
	for _, m := range mounts {
		at[m.Path] = m // the last one covers those before
		if why := judged(m); why != "" {
			what = append(what, why)
		}
	}
	for _, path := range a.masked {
		m, is := at[path]
		hidden := is && (m.External == "/dev/null" || m.FSType == "tmpfs" && m.ReadOnly)
		if !hidden && a.exists(path) {
			what = append(what, path+" not masked")
		}
	}
	for _, path := range a.readOnly {
		if m, is := at[path]; (!is || !m.ReadOnly) && a.exists(path) {
			what = append(what, path+" writable")
		}
	}
	return what
}

// judged says what is wrong with a mount by itself.
func judged(m criuimg.RestoredMount) string {
	switch {
	case m.Path == "/", m.External != "":
		return "" // runc's to make
	case slices.Contains([]string{"tmpfs", "devpts", "mqueue"}, m.FSType):
		return ""
	case m.FSType == "proc" && (m.Path == "/proc" || m.ReadOnly):
		return ""
	case slices.Contains([]string{"sysfs", "cgroup", "cgroup2"}, m.FSType):
		if m.ReadOnly {
			return ""
		}
		return fmt.Sprintf("%s (%s) writable", m.Path, m.FSType)
	}
	return fmt.Sprintf("a mount of %s at %s", m.FSType, m.Path)
}

// defaultCapabilities are Docker's.
var defaultCapabilities = [...]string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
}

func capabilities(added, dropped []string) (set uint64) {
	bit := func(name string) uint64 {
		if name == "ALL" {
			return ^uint64(0)
		}
		return linux.Capability(name)
	}
	if !slices.Contains(dropped, "ALL") {
		for _, name := range defaultCapabilities {
			set |= bit(name)
		}
	}
	for _, name := range added {
		set |= bit(name)
	}
	for _, name := range dropped {
		if name != "ALL" {
			set &^= bit(name)
		}
	}
	return set
}
