package recovery

import (
	"context"
	"os"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// inStore finds hidden directories. The caller holds the container's lock.
func (r *Recoverer) inStore(_ context.Context, c container) ([]Finding, error) {
	var list []Finding
	for _, hidden := range r.store.Findings(c.name) {
		f := Finding{What: "incomplete checkpoint", Path: hidden.Path, Action: Remove, do: func(context.Context) error {
			return os.RemoveAll(hidden.Path)
		}}
		switch {
		case hidden.Record != nil:
			f.What, f.Action = "whole checkpoint", Publish
			f.do = func(context.Context) error {
				hidden.Record.Stats = metadata.Stats(criuimg.ReadStats(criuimg.Dir(hidden.Path)))
				_, err := r.store.Adopt(hidden)
				return err
			}
		case hidden.Only:
			f.What, f.Action = "images kept of a killed container", Leave
		}
		list = append(list, f)
	}
	return list, nil
}

// Stages finds unencrypted images on their way into or out of a checkpoint, in
// dir, or in the usual places if it is empty. Whose they are shows nowhere.
func Stages(ctx context.Context, dir string) []Finding {
	var list []Finding
	for _, path := range metadata.AbandonedStages(ctx, dir) {
		list = append(list, Finding{What: "unencrypted images", Path: path, Action: Remove, do: func(context.Context) error { return os.RemoveAll(path) }})
	}
	return list
}

func (r *Recoverer) stages(ctx context.Context, c container) ([]Finding, error) {
	if c != (container{}) {
		return nil, nil
	}
	return Stages(ctx, r.stageDir), nil
}

// transfers finds what is kept of a push or a pull that did not end well.
func (r *Recoverer) transfers(_ context.Context, c container) ([]Finding, error) {
	if c != (container{}) {
		return nil, nil
	}
	var list []Finding
	for _, dir := range r.store.AbandonedTransfers() {
		list = append(list, Finding{What: "push or pull that did not end", Path: dir, Action: Remove, do: func(context.Context) error { return r.store.RemoveTransfer(dir) }})
	}
	return list, nil
}
