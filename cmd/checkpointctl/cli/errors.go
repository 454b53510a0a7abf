package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/sirupsen/logrus"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/changes"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/dockerd"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/podman"
	"github.com/checkpointctl/checkpointctl/internal/preflight"
	"github.com/checkpointctl/checkpointctl/internal/recovery"
	"github.com/checkpointctl/checkpointctl/internal/registry"
	"github.com/checkpointctl/checkpointctl/internal/restore"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
	"github.com/checkpointctl/checkpointctl/internal/seal"
	"github.com/checkpointctl/checkpointctl/internal/signature"
)

// Exit statuses, see docs/exit-codes.md.
const (
	exitOK           = 0
	exitOther        = 1
	exitUsage        = 2
	exitIncomplete   = 3
	exitNoContainer  = 10
	exitState        = 11
	exitNoCheckpoint = 12
	exitExists       = 13
	exitRefused      = 14
	exitSealed       = 15
	exitFiles        = 16
	exitDocker       = 20
	exitCRIU         = 21
	exitDump         = 22
	exitRestore      = 23
	exitDamaged      = 24
	exitArchive      = 25
	exitRegistry     = 26
	exitInterrupted  = 130
)

var errNotRoot = errors.New("this needs root: CRIU reads the memory of other users' processes")

// classify is the one place that turns errors into exit statuses and hints.
func classify(err error, parsed bool) (code int, hint string) {
	var (
		state   *docker.StateError
		refused *mounts.RefusedError
		unfit   *preflight.RefusedError
		changed *changes.RefusedError
		dump    *criu.DumpError
		failed  *restore.Error
		address *restore.AddressError
		cannot  *restore.CannotMakeError
		more    *restore.PrivilegeError
		foreign *podman.RefusedError
		hook    *restore.HookError
		checks  *checkError
		several *batchError
	)
	switch {
	case errors.Is(err, errIncomplete):
		return exitIncomplete, ""
	case errors.As(err, &checks):
		return checks.code, ""
	case errors.As(err, &several):
		return several.code, ""
	case !parsed:
		return exitUsage, ""
	case errors.Is(err, metadata.ErrExposed):
		return exitUsage, "chown it to root and chmod it to 700, or choose another --dir"
	case errors.Is(err, metadata.ErrNoAccess):
		return exitCRIU, "the checkpoints are root's: run it with sudo"
	case errors.Is(err, seal.ErrNoIdentity):
		return exitSealed, "give --identity FILE, or --passphrase-file FILE"
	case errors.Is(err, seal.ErrWrongIdentity):
		return exitSealed, "checkpointctl inspect CONTAINER CHECKPOINT shows to whom"
	case errors.Is(err, metadata.ErrNoStage):
		return exitOther, "give --stage a tmpfs with enough space, or a directory on a disk if unencrypted images may be there meanwhile"
	case errors.Is(err, metadata.ErrNoRoom):
		return exitOther, "free some space, choose another --dir, or leave the files out with --rootfs=false"
	case errors.Is(err, archive.ErrRefused):
		return exitArchive, "the store is as before"
	case errors.Is(err, contents.ErrSealedInside):
		return exitSealed, ""
	case errors.Is(err, registry.ErrNotFound):
		return exitNoCheckpoint, ""
	case errors.Is(err, registry.ErrUnauthorized):
		return exitRegistry, "docker login to it, as the user that this runs as"
	case errors.Is(err, registry.ErrRegistry):
		return exitRegistry, "what was sent or fetched is not sent or fetched again the next time"
	case errors.Is(err, archive.ErrNotExportable):
		return exitState, "checkpointctl list shows what can be restored"
	case errors.Is(err, restore.ErrCircle):
		return exitState, "docker inspect shows whose namespaces each has"
	case errors.Is(err, config.ErrInvalid), errors.Is(err, metadata.ErrBadName), errors.Is(err, registry.ErrBadReference), errors.Is(err, seal.ErrBadKey), errors.Is(err, signature.ErrBadKey):
		return exitUsage, ""
	case errors.Is(err, errNotRoot):
		return exitCRIU, "run it with sudo"
	case errors.Is(err, docker.ErrNoSuchContainer):
		return exitNoContainer, "docker ps -a shows the containers"
	case errors.As(err, &state):
		return exitState, state.Hint
	case errors.Is(err, metadata.ErrNoCheckpoint):
		return exitNoCheckpoint, "checkpointctl list shows the checkpoints"
	case errors.Is(err, metadata.ErrExists):
		return exitExists, "choose another --name, or remove it with checkpointctl rm"
	case errors.Is(err, metadata.ErrNeeded):
		return exitExists, "remove the one that needs it first"
	case errors.Is(err, metadata.ErrParked):
		return exitExists, "checkpointctl unpark restores the container"
	case errors.Is(err, metadata.ErrInUse):
		return exitExists, "checkpointctl list shows the progress"
	case errors.Is(err, metadata.ErrLocked), errors.Is(err, recovery.ErrBusy):
		return exitExists, ""
	case errors.As(err, &refused):
		return exitRefused, "unmount it, or add a rule under mounts.rules in the configuration"
	case errors.As(err, &unfit):
		return exitRefused, unfit.Hint()
	case errors.As(err, &failed) && errors.Is(err, docker.ErrUnreachable):
		return exitRestore, "when Docker answers again, docker ps shows the state; a stopped container can be restored again"
	case errors.As(err, &failed):
		return exitRestore, ""
	case errors.As(err, &cannot):
		return exitRestore, "nothing was made"
	case errors.As(err, &more):
		return exitRefused, "--allow-privileges restores it with them; do so only if you trust who made it"
	case errors.As(err, &foreign):
		return exitRefused, "docs/podman.md says what Podman can restore"
	case errors.As(err, &hook):
		return exitRestore, ""
	case errors.As(err, &address):
		return exitRestore, address.Hint()
	case errors.As(err, &changed):
		return exitFiles, changed.Hint()
	case errors.Is(err, docker.ErrUnreachable):
		return exitDocker, "is dockerd running, and are you root or in group docker?"
	case errors.Is(err, docker.ErrNotSetUp), errors.Is(err, dockerd.ErrConfig):
		return exitDocker, ""
	case errors.Is(err, runtime.ErrUnfit):
		return exitDocker, "see checkpointctl check; checkpointctl runtime install may help"
	case errors.Is(err, criu.ErrNoDirtyTracking):
		return exitCRIU, "--pre-dump=auto makes a plain dump on such a kernel"
	case errors.Is(err, criu.ErrNoUserfaultfd):
		return exitCRIU, "restore it without --lazy-pages"
	case errors.Is(err, criu.ErrNoCRIU), errors.Is(err, criu.ErrTooOld):
		return exitCRIU, "checkpointctl check says what is missing"
	case errors.Is(err, metadata.ErrDamaged):
		return exitDamaged, "another checkpoint of the container may be whole: checkpointctl list"
	case errors.Is(err, criu.ErrHung):
		return exitDump, "is the store's filesystem reachable? a longer --criu-hang-timeout waits longer"
	case errors.As(err, &dump):
		return exitDump, ""
	case errors.Is(err, restore.ErrNotLazy):
		return exitRestore, "restore it without --lazy-pages"
	case errors.Is(err, restore.ErrIncompatible):
		return exitRestore, ""
	case errors.Is(err, context.Canceled):
		return exitInterrupted, ""
	default:
		return exitOther, ""
	}
}

// reportError prints the error, an excerpt of CRIU's log if there is one, and the
// hint; with --json as one object.
func reportError(d *deps, err error, code int, hint string) {
	excerpt := excerptOf(err)
	if excerpt.Hint != "" {
		hint = excerpt.Hint
	}
	if d.json && d.events == nil {
		_ = json.NewEncoder(d.errOut).Encode(struct {
			Error string   `json:"error"`
			Code  int      `json:"code"`
			Hint  string   `json:"hint"`
			Log   []string `json:"log,omitempty"`
		}{err.Error(), code, hint, excerpt.Lines})
		return
	}
	if d.events != nil {
		e := d.log.WithFields(logrus.Fields{"code": code, "hint": hint})
		if excerpt.Lines != nil {
			e = e.WithField("log", excerpt.Lines)
		}
		e.Error(oneLine(err))
		return
	}
	for _, line := range excerpt.Lines {
		fmt.Fprintf(d.errOut, "  %s\n", line)
	}
	fmt.Fprintf(d.errOut, "checkpointctl: error: %s\n", oneLine(err))
	if hint != "" {
		fmt.Fprintf(d.notes(), "checkpointctl: hint: %s\n", hint)
	}
}

// oneLine is the text of an error on one line, with control characters shown, not
// obeyed: it may quote what somebody else named.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	var b strings.Builder
	for _, r := range strings.Join(lines, "; ") {
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func excerptOf(err error) criu.Excerpt {
	var (
		dump   *criu.DumpError
		failed *restore.Error
	)
	switch {
	case errors.As(err, &dump):
		e, _ := criu.FirstError(strings.NewReader(dump.Log))
		return e
	case errors.As(err, &failed):
		e, _ := criu.FirstError(strings.NewReader(string(failed.Log)))
		return e
	}
	return criu.Excerpt{}
}
