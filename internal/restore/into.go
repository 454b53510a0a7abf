package restore

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// AddressError is a checkpoint with sockets of an address that the container
// will not have.
type AddressError struct {
	Container, Checkpoint string // as in web and web/before-upgrade
	Socket                criuimg.Socket
	Has                   []netip.Addr
}

func (e *AddressError) Error() string {
	what := "a socket bound to"
	if e.Socket.Connected {
		what = "an established TCP connection of"
	}
	has := "no address"
	if len(e.Has) > 0 {
		has = fmt.Sprint("the address ", joined(e.Has))
	}
	return fmt.Sprintf("%s has %s %s, but container %s will have %s", e.Checkpoint, what, e.Socket.Local, e.Container, has)
}

// Hint is what can be done.
func (e *AddressError) Hint() string {
	if e.Socket.Connected {
		return "--tcp-close closes established connections; or give the container the address " + e.Socket.Local.Addr().String()
	}
	return "give the container the address " + e.Socket.Local.Addr().String()
}

// addressesFit returns an *AddressError if it is known that the container will
// not have an address that the restore needs. Where Docker chooses one at the
// start, it is not.
func addressesFit(c docker.Container, from source, o Options) error {
	if c.Settings.ChosenIP || !checkpoint.OwnsNetwork(c) {
		return nil
	}
	sockets, err := criuimg.ReadSockets(criuimg.Dir(from.dir))
	if err != nil {
		return from.Damaged(err.Error())
	}
	// What --tcp-close does not help against comes first.
	slices.SortStableFunc(sockets, func(a, b criuimg.Socket) int { return cmp.Compare(rank(a), rank(b)) })
	for _, s := range sockets {
		if slices.Contains(c.Settings.FixedIPs, s.Local.Addr()) || s.Connected && o.TCPClose {
			continue
		}
		return &AddressError{Container: c.Name, Checkpoint: from.Name + "/" + from.Checkpoint, Socket: s, Has: c.Settings.FixedIPs}
	}
	return nil
}

func rank(s criuimg.Socket) int {
	if s.Connected {
		return 1
	}
	return 0
}

// addressChanged says that Docker gave another container other addresses.
func addressChanged(rec metadata.Record, now docker.Container) string {
	var was, is []string
	for _, n := range rec.Networks {
		was = append(was, n.IP)
	}
	for _, n := range now.Networks {
		is = append(is, n.IP)
	}
	if rec.IsOf(now.ID) || slices.Equal(was, is) {
		return ""
	}
	return fmt.Sprintf("its address is %s, the checkpoint's was %s", orNone(joined(is)), orNone(joined(was)))
}

// compare returns in what a container differs from the one of the checkpoint: in
// what its processes depend on, and in what the user only should know. A record
// of an older version does not say all.
func compare(rec metadata.Record, c docker.Container) (wrong, said []string) {
	if rec.IsOf(c.ID) {
		return nil, nil
	}
	what := "another container than the checkpoint's"
	if c.Name == rec.Name {
		what = "a newer container than the checkpoint's"
	}
	if _, ok := rec.Part(metadata.PartRootFS); !ok {
		what += ": files that the old one wrote are not in it"
	}
	said = append(said, fmt.Sprintf("%s is %s", c.Name, what))
	differ := func(what, was, is string) {
		if was != is {
			wrong = append(wrong, fmt.Sprintf("%s was %s, is %s", what, orNone(was), orNone(is)))
		}
	}
	differ("runtime", rec.Runtime, c.Runtime)
	was, is := rec.Settings, checkpoint.Settings(c)
	if was == nil {
		said = append(said, fmt.Sprintf("%s/%s is of an older version: user, capabilities, mounts and namespaces of %s are not compared", rec.Name, rec.Checkpoint, c.Name))
		return wrong, said
	}
	differ("user", user(was.User), user(is.User))
	differ("cap_add", joined(was.CapAdd), joined(is.CapAdd))
	differ("cap_drop", joined(was.CapDrop), joined(is.CapDrop))
	differ("privileged", fmt.Sprint(was.Privileged), fmt.Sprint(is.Privileged))
	differ("read-only root filesystem", fmt.Sprint(was.ReadOnly), fmt.Sprint(is.ReadOnly))
	differ("tty", fmt.Sprint(was.TTY), fmt.Sprint(is.TTY))
	differ("init", fmt.Sprint(was.Init), fmt.Sprint(is.Init))
	differ("pid mode", mode(was.PIDMode), mode(is.PIDMode))
	differ("ipc mode", mode(was.IPCMode), mode(is.IPCMode))
	differ("uts mode", mode(was.UTSMode), mode(is.UTSMode))
	differ("network mode", networkMode(was.NetworkMode), networkMode(is.NetworkMode))
	wrongMounts, saidMounts := compareMounts(was.Mounts, is.Mounts)
	wrong, said = append(wrong, wrongMounts...), append(said, saidMounts...)
	tell := func(format, was, is string) {
		if was != is {
			said = append(said, fmt.Sprintf(format, c.Name, orNone(is), orNone(was)))
		}
	}
	tell("%s has the hostname %s, but its processes go on with %s", was.Hostname, is.Hostname)
	tell("%s has the network %s, the checkpoint's was %s", was.NetworkMode, is.NetworkMode)
	tell("%s publishes the ports %s, the checkpoint's were %s", joined(was.Ports), joined(is.Ports))
	return wrong, said
}

func compareMounts(was, is []metadata.MountSetting) (wrong, said []string) {
	at := func(list []metadata.MountSetting, path string) metadata.MountSetting {
		i := slices.IndexFunc(list, func(m metadata.MountSetting) bool { return m.Destination == path })
		if i < 0 {
			return metadata.MountSetting{}
		}
		return list[i]
	}
	for _, old := range was {
		now := at(is, old.Destination)
		switch {
		case kind(now) != kind(old):
			wrong = append(wrong, fmt.Sprintf("mount %s was %s, is %s", old.Destination, kind(old), kind(now)))
		case now.Name != old.Name:
			said = append(said, fmt.Sprintf("the volume at %s is %s, the checkpoint's was %s", old.Destination, now.Name, old.Name))
		case now.Source != old.Source:
			said = append(said, fmt.Sprintf("what is mounted at %s is %s, the checkpoint's was %s", old.Destination, now.Source, old.Source))
		}
	}
	for _, now := range is {
		if at(was, now.Destination).Type == "" {
			wrong = append(wrong, fmt.Sprintf("mount %s was none, is %s", now.Destination, kind(now)))
		}
	}
	return wrong, said
}

// kind is what a mount must be again.
func kind(m metadata.MountSetting) string {
	switch {
	case m.Type == "":
		return "none"
	case m.ReadOnly:
		return "a read-only " + m.Type
	}
	return "a " + m.Type
}

func user(name string) string {
	if name == "" || name == "0" {
		return "root"
	}
	return name
}

// mode is what decides where a namespace comes from. It may be another
// container's that has been made anew.
func mode(of string) string {
	if strings.HasPrefix(of, "container:") {
		return "container"
	}
	return cmp.Or(of, "private")
}

func networkMode(of string) string {
	if of == "host" || of == "none" {
		return of
	}
	if m := mode(of); m == "container" {
		return m
	}
	return "a network of its own"
}

func joined[T any](list []T) string {
	var text []string
	for _, v := range list {
		text = append(text, fmt.Sprint(v))
	}
	return strings.Join(text, ", ")
}

func orNone(text string) string { return cmp.Or(text, "none") }
