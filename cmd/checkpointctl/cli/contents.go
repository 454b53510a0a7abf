package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/report"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// contentsHelp says how commands that look into checkpoints name them.
const contentsHelp = `
CHECKPOINT is the newest by default. FILE is an archive written by export, Podman, CRI-O or
containerd, or a directory of CRIU images. An argument that begins with / or . is a FILE,
and so is the name of a file if the store has no container of that name. Docker and CRIU
are not needed, and root only if nobody else may read the files. Encrypted checkpoints
are decrypted in memory with --identity or --passphrase-file.
`

// contentsFlags are for what looks into checkpoints.
func (d *deps) contentsFlags(f *pflag.FlagSet) {
	d.identityFlags(f)
	d.stageFlag(f)
}

// isFile says whether an argument means a file and not a container.
func (d *deps) isFile(arg string) bool {
	if strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, ".") {
		return true
	}
	container, _, _ := strings.Cut(arg, "/")
	if _, err := os.Stat(filepath.Join(d.cfg.Dir, container)); err == nil {
		return false
	}
	_, err := os.Stat(arg)
	return err == nil
}

// contents opens the checkpoint that one or two arguments name.
func (d *deps) contents(ctx context.Context, args []string) (*contents.Contents, error) {
	opener, err := d.opener(ctx)
	if err != nil {
		return nil, err
	}
	if len(args) == 1 && d.isFile(args[0]) {
		return contents.FromFile(ctx, args[0], opener.Identities, opener.StageDir)
	}
	ref, name, err := reference(args)
	if err != nil {
		return nil, err
	}
	container, err := d.storedName(ctx, ref)
	if err != nil {
		return nil, err
	}
	r, err := d.store().Find(container, name)
	if err != nil {
		return nil, err
	}
	return contents.FromStore(ctx, d.store(), r, opener)
}

// completeContents completes a checkpoint, or a file.
func (d *deps) completeContents(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		names, _ := d.completeNames(cmd, args, word)
		return names, cobra.ShellCompDirectiveDefault
	}
	return d.completeNames(cmd, args, word)
}

// damagedContents is the error of images that cannot be read.
func damagedContents(c *contents.Contents, err error) error {
	if errors.Is(err, report.ErrNoProcess) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", metadata.ErrDamaged, c.Name, err)
}

// readSnapshot reads what a checkpoint holds. It is an error if there is no process of
// this PID; 0 asks for none.
func readSnapshot(c *contents.Contents, pid uint32) (*snapshot.Snapshot, error) {
	s, err := snapshot.Read(c.Images)
	if err != nil {
		return nil, damagedContents(c, err)
	}
	if pid != 0 && s.Process(pid) == nil {
		return nil, fmt.Errorf("%w: %d", report.ErrNoProcess, pid)
	}
	return s, nil
}

// closing reports an error of closing, unless there is another one.
func closing(c *contents.Contents, err *error) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}
