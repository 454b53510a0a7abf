package checkpoint

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// stageReserve is for all that is not memory of the container's processes.
const stageReserve = 32 << 20

// beginSealed makes CRIU write to a stage, which is encrypted into the draft
// later.
func (j *job) beginSealed(ctx context.Context, req Request) error {
	need, err := linux.Memory(req.Container.PID)
	if err != nil {
		return err
	}
	if j.stage, err = metadata.NewStage(ctx, req.StageDir, need+stageReserve); err != nil {
		return err
	}
	j.images = j.stage.Dir
	j.sealer, err = seal.New(j.draft.Dir, req.Seal)
	return err
}

// seal encrypts what is in the stage, and is not encrypted yet. CRIU writes
// its log and its figures to the very end, after the post-dump notification.
func (j job) seal() error {
	if j.sealer == nil {
		return nil
	}
	return j.sealer.Images(j.images, criu.LogFile, criuimg.StatsFile)
}

// empty is for another try.
func (j *job) empty() error {
	if j.stage != nil {
		return j.stage.Empty()
	}
	return j.draft.Empty()
}

func (j job) removeStage() {
	if j.stage != nil {
		_ = j.stage.Remove()
	}
	_ = j.files.remove()
}

// Opener opens encrypted checkpoints into memory, or into StageDir if it is
// not empty.
type Opener struct {
	Identities seal.Identities
	StageDir   string
}

// LargeFiles are the tars that need not lie beside the images for a restore.
func LargeFiles(r metadata.Record) (list []string) {
	for _, p := range r.Parts {
		if p.File != "" && p.Name != metadata.PartShm {
			list = append(list, p.File)
		}
	}
	return list
}

// Open returns a stage with the images as CRIU wrote them, and the record as
// if they lay there; LargeFiles stay sealed.
func (o Opener) Open(ctx context.Context, s metadata.Store, r metadata.Record) (*metadata.Stage, *seal.Opener, metadata.Record, error) {
	none := func(err error) (*metadata.Stage, *seal.Opener, metadata.Record, error) { return nil, nil, r, err }
	sealed, err := seal.Open(s.Path(r.Name, r.Checkpoint), o.Identities)
	if err != nil {
		return none(err)
	}
	need := int64(stageReserve)
	leave := LargeFiles(r)
	for _, f := range r.Files {
		if !slices.Contains(leave, strings.TrimSuffix(f.Name, seal.Suffix)) {
			need += f.SizeBytes
		}
	}
	stage, err := metadata.NewStage(ctx, o.StageDir, need)
	if err != nil {
		return none(err)
	}
	err = sealed.Images(stage.Dir, leave...)
	if err == nil {
		r.Files, err = metadata.ListFiles(stage.Dir)
	}
	if err != nil {
		return none(errors.Join(err, stage.Remove()))
	}
	return stage, sealed, r, nil
}
