package restore

import (
	"slices"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
)

// usual is what the images of a container without privileges say.
func usual() criuimg.Restored {
	thread := criuimg.Thread{Image: "core-1.img", UIDs: []uint32{0, 0, 0, 0}, Capabilities: 0xa80425fb, Seccomp: true, LSM: "docker-default", Namespaces: "1 2 3"}
	other := thread
	other.Image, other.Namespaces = "core-2.img", ""
	return criuimg.Restored{
		Threads: []criuimg.Thread{thread, other},
		Mounts: []criuimg.RestoredMount{
			{Path: "/", FSType: "overlayfs"}, {Path: "/proc", FSType: "proc"}, {Path: "/dev", FSType: "tmpfs"}, {Path: "/sys", FSType: "sysfs", ReadOnly: true},
			{Path: "/data", FSType: "unsupported", External: "/data"}, {Path: "/proc/kcore", FSType: "tmpfs", External: "/dev/null"},
			{Path: "/proc/acpi", FSType: "tmpfs", ReadOnly: true}, {Path: "/proc/sys", FSType: "proc", ReadOnly: true},
		},
	}
}

func TestBeyond(t *testing.T) {
	ordinary := docker.Container{Settings: docker.Settings{MaskedPaths: []string{"/proc/kcore", "/proc/acpi", "/proc/none"}, ReadonlyPaths: []string{"/proc/sys"}}}
	with := func(change func(*docker.Settings)) docker.Container {
		c := ordinary
		change(&c.Settings)
		return c
	}
	dropped := with(func(s *docker.Settings) { s.CapDrop = []string{"MKNOD"} })
	strict := with(func(s *docker.Settings) { s.SecurityOpt, s.User = []string{"no-new-privileges:true"}, "7" })
	for name, test := range map[string]struct {
		container docker.Container
		change    func(*criuimg.Restored)
		want      []string
	}{
		"as usual":           {ordinary, func(*criuimg.Restored) {}, nil},
		"more capabilities":  {ordinary, func(r *criuimg.Restored) { r.Threads[1].Capabilities |= 1<<21 | 1<<16 }, []string{"capabilities SYS_MODULE, SYS_ADMIN"}},
		"unknown capability": {ordinary, func(r *criuimg.Restored) { r.Threads[1].Capabilities |= 1 << 60 }, []string{"capabilities 60"}},
		"dropped capability": {dropped, func(*criuimg.Restored) {}, []string{"capabilities MKNOD"}},
		"added capability": {with(func(s *docker.Settings) { s.CapAdd = []string{"SYS_ADMIN"} }), func(r *criuimg.Restored) {
			r.Threads[0].Capabilities |= 1 << 21
		}, nil},
		"all but one": {with(func(s *docker.Settings) { s.CapAdd, s.CapDrop = []string{"ALL"}, []string{"SYS_ADMIN"} }), func(r *criuimg.Restored) {
			r.Threads[0].Capabilities = 1<<21 | 1<<16
		}, []string{"capabilities SYS_ADMIN"}},
		"no filter":           {ordinary, func(r *criuimg.Restored) { r.Threads[1].Seccomp = false }, []string{"no seccomp filter"}},
		"no filter, allowed":  {with(func(s *docker.Settings) { s.SecurityOpt = []string{"seccomp=unconfined"} }), func(r *criuimg.Restored) { r.Threads[1].Seccomp = false }, nil},
		"no profile":          {ordinary, func(r *criuimg.Restored) { r.Threads[1].LSM = "unconfined" }, []string{"no AppArmor profile"}},
		"new privileges":      {strict, func(r *criuimg.Restored) { r.Threads[0].NoNewPrivs = true }, []string{"no no_new_privs", "root's user ID, though it cannot become root"}},
		"another namespace":   {ordinary, func(r *criuimg.Restored) { r.Threads[1].Namespaces = "1 2 9" }, []string{"processes in several namespaces"}},
		"writable sysctls":    {ordinary, func(r *criuimg.Restored) { r.Mounts[7].ReadOnly = false }, []string{"/proc/sys writable", "a mount of proc at /proc/sys"}},
		"no mask":             {ordinary, func(r *criuimg.Restored) { r.Mounts = slices.Delete(r.Mounts, 5, 6) }, []string{"/proc/kcore not masked"}},
		"another file for it": {ordinary, func(r *criuimg.Restored) { r.Mounts[5].External = "/data" }, []string{"/proc/kcore not masked"}},
		"covered mask": {ordinary, func(r *criuimg.Restored) {
			r.Mounts = append(r.Mounts, criuimg.RestoredMount{Path: "/proc/acpi", FSType: "tmpfs"})
		}, []string{"/proc/acpi not masked"}},
		"writable sysfs": {ordinary, func(r *criuimg.Restored) { r.Mounts[3].ReadOnly = false }, []string{"/sys (sysfs) writable"}},
		"debugfs":        {ordinary, func(r *criuimg.Restored) { r.Mounts[2].FSType = "debugfs" }, []string{"a mount of debugfs at /dev"}},
		"odd": {ordinary, func(r *criuimg.Restored) {
			r.Odd = []string{"core-1.img: creds_entry has a field 99 that is not known"}
		}, []string{"core-1.img: creds_entry has a field 99 that is not known"}},
		"privileged": {with(func(s *docker.Settings) { s.Privileged = true }), func(r *criuimg.Restored) {
			r.Threads[0].Capabilities, r.Threads[0].Seccomp, r.Threads[0].LSM, r.Mounts = ^uint64(0), false, "", nil
		}, nil},
	} {
		images := usual()
		test.change(&images)
		a := allowedTo(test.container, docker.Daemon{Seccomp: true, AppArmor: true})
		a.exists = func(path string) bool { return path != "/proc/none" }
		if got := beyond(images, a); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
