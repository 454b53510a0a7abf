package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// job is a checkpoint under way.
type job struct {
	name, kind, trackID string
	draft               *metadata.Draft
	images              string // where CRIU writes: the draft's directory or the stage's
	stage               *metadata.Stage
	sealer              *seal.Sealer // set when the images are to be encrypted
	parentDir           string       // relative to images
	options             criu.Options
	lockChosen          bool // by LockAuto
	ended               bool // Docker has killed the container: CRIU cannot resume it
	policy              criu.Policy
	began, frozen       time.Time
	asked               <-chan answers
	network             *network
	leftOut             *leftOut
	files               *files
	asideDone           <-chan struct{} // nil if nothing is done aside
}

// LockAuto holds packets off by iptables if the container has connections, and
// else not at all: the two runs of iptables-restore, with the container frozen,
// take as long as the rest of a small dump. A dump that finds a connection then is
// made again, which one with a parent cannot be, see mendable. Members of a group may talk to each
// other, and connect until they are frozen: there it is always iptables.
const LockAuto = "auto"

const (
	lockSkip     = "skip"
	lockIptables = "iptables"
)

// errConnected ends a dump without a network lock that met a connection, made
// since the container was inspected.
var errConnected = errors.New("a TCP connection was made meanwhile")

// tcpStream begins the name of the image that CRIU writes for each established
// connection.
const tcpStream = "tcp-stream-"

// HasTCP says whether the images hold an established connection.
func HasTCP(rec metadata.Record) bool {
	return slices.ContainsFunc(rec.Files, func(f metadata.File) bool { return strings.HasPrefix(f.Name, tcpStream) })
}

// hasStreams is HasTCP for images that have no record yet.
func hasStreams(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, tcpStream+"*"))
	return err != nil || found != nil
}

// begin settles what the store has to say: name, parent, a place for the images.
func (m *Creator) begin(ctx context.Context, req Request) (job, error) {
	j := job{kind: metadata.KindCheckpoint, options: req.Options, began: time.Now().UTC(), network: &network{}, leftOut: &leftOut{}, files: &files{}}
	if req.RoundsOnly {
		j.kind = metadata.KindPreDump
	}
	if req.Parent != "" {
		parent, err := m.Store.Get(req.Container.Name, req.Parent)
		if err == nil {
			err = continues(req.Container, parent, m.Store.Tracked(req.Container.Name))
		}
		if err != nil {
			return j, err
		}
		j.parentDir = filepath.Join("..", req.Parent, parent.Last())
	}
	if req.Rounds != nil {
		j.policy = *req.Rounds
		// Best known from the container's last checkpoint, if it has one.
		if last, err := m.Store.Find(req.Container.Name, ""); err == nil {
			j.policy.Fixed = criuimg.Stats(last.Stats).Fixed()
		}
	}
	if j.options.NetworkLock == LockAuto {
		j.lockChosen, j.options.NetworkLock = true, lockIptables
		if OwnsNetwork(req.Container) && req.member == nil && req.Parent == "" && !m.isConnected(req.Container) {
			j.options.NetworkLock = lockSkip
		}
	}
	var err error
	if j.name, err = m.Store.Free(req.Container.Name, req.Name); err != nil {
		return j, err
	}
	if j.draft, err = m.Store.Begin(req.Container.Name, j.name); err != nil {
		return j, err
	}
	j.draft.NoSync, j.draft.Progress = req.NoSync && req.Options.LeaveRunning, req.Progress
	j.images = j.draft.Dir
	if req.Seal != nil {
		if err := j.beginSealed(ctx, req); err != nil {
			j.discard(err)
			return j, err
		}
	}
	if !req.tracked() {
		return j, nil
	}
	// From here on the kernel counts for this chain, even if it fails.
	j.trackID, j.options.TrackMem = rand.Text(), true
	if err := m.Store.Track(req.Container.Name, j.trackID); err != nil {
		j.discard(err)
		return j, err
	}
	return j, nil
}

// continues refuses a parent whose memory changes were not counted up to now:
// the images would silently lack pages.
func continues(c docker.Container, parent metadata.Record, tracked string) error {
	why := ""
	switch {
	case parent.TrackID == "":
		why = "it was made without tracking memory changes"
	case parent.ID != c.ID || parent.PID != c.PID || !parent.StartedAt.Equal(c.StartedAt):
		why = "the container was started again since"
	case parent.TrackID != tracked:
		why = "another one tracked memory changes since"
	default:
		return nil
	}
	return &docker.StateError{Name: c.Name, Is: "cannot continue " + parent.Checkpoint + ": " + why, Hint: "begin a new chain: checkpointctl pre-dump " + c.Name}
}

// discard drops the draft of a dump that failed, and keeps CRIU's log of it.
func (j job) discard(err error) {
	log := ""
	var failed *criu.DumpError
	if errors.As(err, &failed) && j.sealer == nil {
		log = failed.Log
	}
	j.draft.Discard(criu.LogFile, log)
}

// publish completes the record and lets the checkpoint appear.
func (j job) publish(ctx context.Context, r *metadata.Record) (err error) {
	if err = j.files.write(ctx, j.draft.Dir, j.sealer); err == nil {
		err = j.seal()
	}
	if err == nil {
		// The disk takes the images while their sums are made.
		var g errgroup.Group
		g.Go(j.draft.Sync)
		r.Files, r.SizeBytes, err = j.draft.Sum()
		err = errors.Join(err, g.Wait())
		r.Parts = j.files.parts()
		r.SumParts()
		d := <-j.asked
		r.Versions.Docker, r.Versions.Runc, r.ImageLayers = d.Version, d.Runc, d.imageLayers
	}
	if j.asideDone != nil {
		<-j.asideDone
		j.network.into(r)
		j.leftOut.into(r)
	}
	if err == nil {
		err = j.draft.Publish(*r)
	}
	switch {
	case err == nil:
		return nil
	case j.options.LeaveRunning:
		j.discard(err)
		return err
	default:
		// The container has ended: these images are all there is of it.
		return fmt.Errorf("the container is stopped and its images are kept in %s: %w", j.draft.Keep(), err)
	}
}
