package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// finding is one line of check.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, warning or failure
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
	code   int
}

// checkError carries the exit status of the worst finding.
type checkError struct{ code int }

func (e *checkError) Error() string {
	return "this machine cannot checkpoint and restore yet, see the failures"
}

func newCheckCmd(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check what this host can do",
		Long: `Check privileges, CRIU, the kernel, Docker and the store, and say how to fix what is
missing. Nothing is changed.
` + exits(exitDocker, exitCRIU),
		Example: "  sudo checkpointctl check",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCheck(cmd.Context(), d)
		},
	}
	d.jsonFlag(cmd)
	return cmd
}

func runCheck(ctx context.Context, d *deps) error {
	findings := []finding{checkPrivileges()}
	findings = append(findings, d.checkCRIU(ctx)...)
	findings = append(findings, d.checkDocker(ctx)...)
	findings = append(findings, checkCgroups(), checkSpace(d.cfg.Dir))
	var err error
	for _, f := range findings {
		if f.Status == "failure" {
			err = &checkError{code: f.code}
			break
		}
	}
	if d.json {
		if printErr := printJSON(d.out, findings); printErr != nil {
			return printErr
		}
		return err
	}
	if printErr := table(d.out, func(w io.Writer) {
		for _, f := range findings {
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.Status, f.Name, f.Detail)
			if f.Hint != "" {
				fmt.Fprintf(w, "\t\t-> %s\n", f.Hint)
			}
		}
	}); printErr != nil {
		return printErr
	}
	return err
}

func passed(name, detail string) finding { return finding{Name: name, Status: "ok", Detail: detail} }

func warned(name, detail, hint string) finding {
	return finding{Name: name, Status: "warning", Detail: detail, Hint: hint}
}

func failed(name, detail, hint string, code int) finding {
	return finding{Name: name, Status: "failure", Detail: detail, Hint: hint, code: code}
}

func checkPrivileges() finding {
	if os.Geteuid() != 0 {
		return failed("privileges", "not root", "run it with sudo", exitCRIU)
	}
	caps := effectiveCaps()
	switch {
	case caps&(1<<unix.CAP_SYS_ADMIN) == 0:
		return failed("privileges", "root without CAP_SYS_ADMIN", "CRIU cannot run in an unprivileged container", exitCRIU)
	case caps&(1<<unix.CAP_SYS_RESOURCE) == 0:
		return warned("privileges", "root without CAP_SYS_RESOURCE", "containers with processes of other users than root cannot be checkpointed")
	}
	return passed("privileges", "root with CAP_SYS_ADMIN and CAP_SYS_RESOURCE")
}

func effectiveCaps() uint64 {
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, _ := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return caps
		}
	}
	return 0
}

// features of CRIU that some checkpoints need, and what is lost without.
var features = [...]struct{ name, feature, without string }{
	{"dirty tracking", "mem_dirty_track", "no pre-dump: the kernel has no soft-dirty bit (CONFIG_MEM_SOFT_DIRTY)"},
	{"lazy pages", "uffd", "no lazy restore"},
	{"network lock nftables", "network_lock_nftables", "only --network-lock=iptables or skip"},
}

func (d *deps) checkCRIU(ctx context.Context) []finding {
	c := d.dumper()
	v, err := c.Version()
	if err != nil {
		return []finding{failed("criu", err.Error(), "scripts/setup.sh installs one, or name yours by --criu", exitCRIU)}
	}
	list := []finding{passed("criu", v.String())}
	if err := c.Check(ctx, ""); err != nil {
		return append(list, failed("criu check", err.Error(), "this CRIU does not work on this kernel; try a newer one", exitCRIU))
	}
	list = append(list, passed("criu check", "works on this kernel"))
	var uname unix.Utsname
	if err := unix.Uname(&uname); err == nil && v.NoTCP(unix.ByteSliceToString(uname.Release[:])) {
		list = append(list, failed("tcp sockets", v.String()+" cannot dump them on Linux 6.16 and newer", "install CRIU 4.2 or newer", exitCRIU))
	}
	for _, f := range features {
		if err := c.Check(ctx, f.feature); err != nil {
			list = append(list, warned(f.name, "not available", f.without))
		} else {
			list = append(list, passed(f.name, "available"))
		}
	}
	return list
}

func (d *deps) checkDocker(ctx context.Context) []finding {
	client, err := d.docker()
	var info docker.Daemon
	if err == nil {
		info, err = client.Daemon(ctx)
	}
	if err != nil {
		return []finding{failed("docker", err.Error(), "start dockerd, or name it by --docker-host", exitDocker)}
	}
	list := []finding{passed("docker", info.Version)}
	list = append(list, d.checkRestore(ctx, client))
	if info.Driver == "overlay2" || info.Driver == "overlayfs" {
		list = append(list, passed("storage driver", info.Driver))
	} else {
		list = append(list, warned("storage driver", info.Driver+" is untested", "overlay2 is known to work"))
	}
	v, err := client.Versions(ctx)
	if err != nil || v.Runc == "" {
		return append(list, warned("runtime", info.DefaultRuntime+", version unknown", "runc is known to work"))
	}
	return append(list, passed("runtime", info.DefaultRuntime+" "+v.Runc))
}

// checkRestore says how a `docker start` would come to restore here.
func (d *deps) checkRestore(ctx context.Context, client *docker.Client) finding {
	r, err := d.restorer(ctx, client)
	var route restore.Route
	if err == nil {
		route, err = r.Route(ctx, "")
	}
	switch {
	case err != nil:
		return failed("restore", err.Error(), "checkpoints can be made, and restored elsewhere", exitDocker)
	case route.Link == "":
		return passed("restore", "by runtime "+route.Runtime+", which is checkpointctl's")
	}
	return passed("restore", fmt.Sprintf("by a link %s before %s, during a restore only", route.Link, route.Runc))
}

func checkCgroups() finding {
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil {
		return failed("cgroups", err.Error(), "mount cgroups at /sys/fs/cgroup", exitCRIU)
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return passed("cgroups", "v2")
	}
	if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		return passed("cgroups", "hybrid")
	}
	return passed("cgroups", "v1")
}

const lowSpace = 1 << 30

func checkSpace(dir string) finding {
	at := dir
	var fs unix.Statfs_t
	for unix.Statfs(at, &fs) != nil && at != "/" {
		at = filepath.Dir(at) // not made yet
	}
	free := int64(fs.Bavail) * fs.Bsize
	detail := fmt.Sprintf("%s free for %s", size(free), dir)
	if free < lowSpace {
		return warned("space", detail, "a checkpoint is as large as the container's memory: take another --dir")
	}
	return passed("space", detail)
}
