package restore

import (
	"context"
	"fmt"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Clones are containers that are made from one checkpoint: all or none.
type Clones struct {
	*Maker
	Count int
	// ExecAfter, if set, is run by sh in each, with its name in CHECKPOINTCTL_NAME.
	ExecAfter string
	Exec      func(ctx context.Context, id string, env, command []string) (output string, status int, err error)
}

// Plan returns what Make would make, or the first refusal. Nothing is made. Of the
// checkpoint's files only sizes and links are verified, as in DryRun.
func (c Clones) Plan(ctx context.Context, rec metadata.Record, n New) ([]docker.Draft, error) {
	quick := *c.Restorer
	quick.NoVerify = true
	c.Maker = &Maker{Restorer: &quick, Engine: c.Engine}
	var drafts []docker.Draft
	for _, one := range c.each(rec, n) {
		draft, err := c.planNew(ctx, rec, one)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, draft)
	}
	return drafts, nil
}

// each are the containers by themselves.
func (c Clones) each(rec metadata.Record, n New) []New {
	if c.Count == 1 {
		return []New{n}
	}
	var list []New
	for i := 1; i <= c.Count; i++ {
		list = append(list, numbered(rec, n, i))
	}
	return list
}

// Make makes them one after the other. Several are called NAME-1 and so on, and have
// volumes of their own where the checkpoint has the files. If one fails, those
// before are removed. Until it returns the checkpoint is locked; it is verified once.
func (c Clones) Make(ctx context.Context, rec metadata.Record, n New, o Options) ([]docker.Container, error) {
	unlock, err := c.Store.Lock(rec.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r := *c.Restorer
	c.Maker = &Maker{Restorer: &r, Engine: c.Engine}
	var list []made
	for _, one := range c.each(rec, n) {
		clone, err := c.one(ctx, rec, one, o)
		if err != nil {
			for _, before := range list {
				err = before.undo(ctx, c.Engine, err)
			}
			return nil, err
		}
		list = append(list, clone)
		r.NoVerify, r.canBeLazy = true, o.LazyPages
	}
	if c.Count > 1 {
		c.warn("clones share the hostname, machine ID, keys, sessions and random state in their memory; --exec-after can change what must differ")
	}
	var containers []docker.Container
	for _, m := range list {
		containers = append(containers, m.Container)
	}
	return containers, nil
}

// numbered is the i-th of several.
func numbered(rec metadata.Record, n New, i int) New {
	n.Name = fmt.Sprintf("%s-%d", n.Name, i)
	n.AnyIP = true
	volumes := map[string]string{}
	for from, to := range n.Volumes {
		volumes[from] = to
	}
	for _, p := range rec.Parts {
		if !strings.HasPrefix(p.Name, metadata.PartVolume) || p.Volume == "" {
			continue
		}
		name := p.Volume
		if other := volumes[name]; other != "" {
			name = other
		}
		volumes[p.Volume] = fmt.Sprintf("%s-%s", name, n.Name)
	}
	n.Volumes = volumes
	return n
}

func (c Clones) one(ctx context.Context, rec metadata.Record, n New, o Options) (made, error) {
	clone, err := c.makeOne(ctx, rec, n, o)
	if err != nil || c.ExecAfter == "" {
		return clone, err
	}
	output, status, err := c.Exec(ctx, clone.ID, []string{"CHECKPOINTCTL_NAME=" + n.Name}, []string{"sh", "-c", c.ExecAfter})
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d: %s", status, lastLine(output))
	}
	if err != nil {
		return clone, clone.undo(ctx, c.Engine, &HookError{Container: n.Name, Err: err})
	}
	return clone, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// HookError is a command after a restore that failed.
type HookError struct {
	Container string
	Err       error
}

func (e *HookError) Error() string { return fmt.Sprintf("--exec-after in %s: %v", e.Container, e.Err) }
func (e *HookError) Unwrap() error { return e.Err }
