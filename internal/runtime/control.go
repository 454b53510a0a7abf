package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/checkpointctl/checkpointctl/internal/linux/conntrack"
	"github.com/checkpointctl/checkpointctl/internal/linux/sysctl"
)

// ControlDir holds a directory for each container that is being restored. Only
// root can look into it, and it does not survive a reboot.
const ControlDir = "/run/checkpointctl/restore"

// Files of a container's control directory.
const (
	requestFile = "request.json" // until a stand-in claims it
	claimFile   = "claim.json"   // the same file after that
	resultFile  = "result.json"
	tasksFile   = "tasks.json"
	agentFile   = "agent.lock" // locked by the agent as long as it restores
	SocketFile  = "control.sock"
	RuncLog     = "runc.log"
	CRIUConfig  = "criu.conf"
	CgroupYard  = "cgroups" // a directory, with mounts in the agent's mount namespace
)

// Request is a restore that the next `docker start` of a container performs.
type Request struct {
	ImageDir string `json:"image_dir"`
	WorkDir  string `json:"work_dir"` // where CRIU writes its log
	CRIU     string `json:"criu"`     // path of the binary
	// CRIUConfig are lines of a CRIU configuration file: what runc has no flag for.
	CRIUConfig        []string `json:"criu_config,omitempty"`
	TCPEstablished    bool     `json:"tcp_established,omitempty"`
	FileLocks         bool     `json:"file_locks,omitempty"`
	ExtUnixSk         bool     `json:"ext_unix_sk,omitempty"`
	ManageCgroupsMode string   `json:"manage_cgroups_mode,omitempty"`
	// HoldPackets drops what arrives in the container's network namespace until
	// the restore has ended: the kernel answers a packet that finds no socket
	// with a reset, and the peer's connection is lost.
	HoldPackets bool `json:"hold_packets,omitempty"`
	// KeepHold leaves it to the caller to end that, by linux.UnlockInput: another
	// container, to be restored into the same namespace, has sockets to come.
	KeepHold bool `json:"keep_hold,omitempty"`
	// Sysctls are of the container's network namespace, and InterfaceSysctls of
	// the interfaces that Docker makes in it.
	Sysctls          sysctl.Settings `json:"sysctls,omitempty"`
	InterfaceSysctls sysctl.Settings `json:"interface_sysctls,omitempty"`
	// Connections are put back into the host's connection tracking.
	Connections []conntrack.Entry `json:"connections,omitempty"`
	// Shm, if set, is a tar of what the container had in /dev/shm, where Docker mounts
	// something empty at each start.
	Shm string `json:"shm,omitempty"`
	// LazyPages, if set, lets the tasks run before their memory is there, and
	// `criu lazy-pages` bring it.
	LazyPages *Fetch `json:"lazy_pages,omitempty"`
	// Deadline is how long the restored tasks wait for Docker to connect the
	// network.
	Deadline time.Duration `json:"deadline_ns"`
}

// Result is how a restore ended.
type Result struct {
	Error string `json:"error,omitempty"` // empty when the container runs
	// Aborted says that Docker gave the start up: its own error says why.
	Aborted bool `json:"aborted,omitempty"`
	Init    Task `json:"init"`
	// Warnings say what is not as it was.
	Warnings []string `json:"warnings,omitempty"`
}

// Control is the control directory of one container.
type Control struct{ Dir string }

// ControlOf returns the control directory of a container, which may not exist.
func ControlOf(id string) Control { return Control{filepath.Join(ControlDir, id)} }

var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// IsContainerID says whether s is the full ID of a Docker container.
func IsContainerID(s string) bool { return containerID.MatchString(s) }

// Path names a file in the directory.
func (c Control) Path(file string) string { return filepath.Join(c.Dir, file) }

// Pending says whether a restore waits for the container's next start.
func (c Control) Pending() bool { return exists(c.Path(requestFile)) }

// Claimed says whether a stand-in has begun the restore.
func (c Control) Claimed() bool { return exists(c.Path(claimFile)) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Write makes the restore pending.
func (c Control) Write(r Request) error { return writeJSON(c.Path(requestFile), r) }

// Claim takes the pending restore. Only the first caller gets it, so a restart
// policy does not restore twice; the others get os.ErrNotExist.
func (c Control) Claim() error { return os.Rename(c.Path(requestFile), c.Path(claimFile)) }

// Request reads what was claimed.
func (c Control) Request() (r Request, err error) { return r, readJSON(c.Path(claimFile), &r) }

// Unclaim lets the calls that concern the container go to runc again.
func (c Control) Unclaim() { _ = os.Remove(c.Path(claimFile)) }

// Note keeps which processes restore, for the case that the agent is killed.
func (c Control) Note(t Tasks) error { return writeJSON(c.Path(tasksFile), t) }

// Noted reads what Note kept.
func (c Control) Noted() (t Tasks, err error) { return t, readJSON(c.Path(tasksFile), &t) }

// SetResult says how the restore ended.
func (c Control) SetResult(r Result) error { return writeJSON(c.Path(resultFile), r) }

// Result reads how the restore ended; os.ErrNotExist if it has not.
func (c Control) Result() (r Result, err error) { return r, readJSON(c.Path(resultFile), &r) }

// LockAgent holds the directory for the agent. The kernel ends the lock with
// the process.
func (c Control) LockAgent() (*os.File, error) {
	f, err := os.OpenFile(c.Path(agentFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockLimit)
	defer cancel()
	if err := flock(ctx, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// AgentAlive says whether an agent is at work on the restore.
func (c Control) AgentAlive() bool { return c.locked(agentFile) }

// Owned says whether a checkpointctl waits for the restore.
func (c Control) Owned() bool { return c.locked(ownerFile) }

// inFlight is for how long dockerd may take from a start that it is asked for to the call
// of the stand-in.
const inFlight = time.Minute

// Withdraw is for a pending restore for which no checkpointctl waits any more. If the start
// that was to perform it may still be under way, it removes the request and returns true.
func (c Control) Withdraw() (recent bool) {
	info, err := os.Lstat(c.Path(requestFile))
	if err != nil {
		return false
	}
	return time.Since(info.ModTime()) < inFlight && os.Remove(c.Path(requestFile)) == nil
}

func (c Control) locked(file string) bool {
	f, err := os.OpenFile(c.Path(file), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// writeJSON lets the file appear whole. It lies on a tmpfs: there is nothing to
// sync.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
