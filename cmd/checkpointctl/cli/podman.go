package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/podman"
)

func exportPodman(ctx context.Context, d *deps, rec metadata.Record, o exportOptions) error {
	if o.sign != "" || o.withImage {
		return fmt.Errorf("%w: Podman takes no --sign or --with-image: docker save and podman load bring the image", config.ErrInvalid)
	}
	if err := d.mayBePlain(rec, o); err != nil {
		return err
	}
	opener, err := d.opener(ctx)
	if err != nil {
		return err
	}
	t := d.begin(rec.Name+"/"+rec.Checkpoint, "exporting")
	defer t.end() // also when nothing is written
	e := podman.Export{Store: d.store(), Opener: opener, Compression: archive.Compression(o.compress), Level: o.level, Progress: t.bytes("")}
	c, err := e.Open(ctx, rec)
	if err != nil {
		return err
	}
	for _, warning := range c.Warnings {
		d.warn(warning)
	}
	err = d.export(rec, o.output, func(w io.Writer) error {
		defer t.end()
		return c.Write(ctx, w)
	})
	return errors.Join(err, c.Close())
}

// mayBePlain refuses to write memory for all to read where it is to be encrypted.
func (d *deps) mayBePlain(rec metadata.Record, o exportOptions) error {
	encrypts := len(d.cfg.Encrypt.To) > 0 || d.cfg.Encrypt.PassphraseFile != ""
	if (encrypts || rec.Encrypted) && !o.plain {
		return fmt.Errorf("%w: Podman reads no encrypted archive: --plain writes %s/%s without encryption", config.ErrInvalid, rec.Name, rec.Checkpoint)
	}
	return nil
}
