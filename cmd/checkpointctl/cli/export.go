package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
	"github.com/checkpointctl/checkpointctl/internal/signature"
)

type exportOptions struct {
	output, compress, sign string
	level                  int
	withImage, plain       bool
	format                 string
}

// Formats of an archive.
const (
	formatOwn    = "checkpointctl"
	formatPodman = "podman"
)

func newExportCmd(d *deps) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export CONTAINER [CHECKPOINT] -o FILE|-",
		Short: "Export a checkpoint to a file",
		Long: `Write a checkpoint, by default the newest, to a file that import reads on this or
another host; with - to standard output. No container is touched.

Every file is compared with the record on the way. If the checkpoint is damaged, no
FILE is left. A checkpoint that continues others is exported together with them. The
same checkpoint always gives the same bytes, unless the file is encrypted.

--encrypt-to encrypts the whole file. Without it, whoever has the file can read the
container's memory, unless the checkpoint itself is encrypted; that one is exported
as it is. --sign signs the record, which has the checksums of all files, with an SSH
key.

--with-image adds the container's image, for a host that does not have it and cannot
pull it; import --load-image loads it.

Entries are named as in Podman's checkpoints where they mean the same, so that other
tools can read them. docs/design/0006-archives.md has the format.

--format podman writes an archive for podman container restore --import instead. Podman
must use runc and have the container's image. What Podman cannot restore is refused
before anything is written, and what is left out is reported. An encrypted checkpoint is
decrypted with --identity or --passphrase-file. Such an archive cannot be encrypted,
signed or imported by checkpointctl. docs/podman.md has the details.
` + exits(exitNoContainer, exitState, exitNoCheckpoint, exitRefused, exitSealed, exitCRIU, exitDamaged),
		Example: `  checkpointctl export myapp before-upgrade -o myapp.ckpt
  checkpointctl export myapp/before-upgrade --encrypt-to age1... -o - | ssh host checkpointctl import -
  checkpointctl export myapp --sign ~/.ssh/id_ed25519 --compress none -o myapp.ckpt
  checkpointctl export myapp --format podman -o myapp.tar.zst`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			container, checkpoint, err := reference(args)
			if err != nil {
				return err
			}
			if o.output == "" {
				return fmt.Errorf("%w: --output is missing: give a FILE, or - for standard output", config.ErrInvalid)
			}
			if err := archive.Compression(o.compress).Check(o.level); err != nil {
				return fmt.Errorf("%w: --compress: %w", config.ErrInvalid, err)
			}
			if o.format != formatOwn && o.format != formatPodman {
				return fmt.Errorf("%w: --format: %q is not %s or %s", config.ErrInvalid, o.format, formatOwn, formatPodman)
			}
			// The passphrase is for reading an encrypted checkpoint if it is for Podman.
			if o.plain && (cmd.Flags().Changed("encrypt-to") || o.format == formatOwn && cmd.Flags().Changed("passphrase-file")) {
				return errPlainSealed()
			}
			return runExport(cmd.Context(), d, container, checkpoint, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "write to this `file`, or to standard output if it is -")
	f.StringVar(&o.compress, "compress", string(archive.Zstd), "compression: `none`, zstd or gzip")
	f.IntVar(&o.level, "level", 0, "compression level: 1 to 22 for zstd, 1 to 9 for gzip (default: theirs)")
	f.StringVar(&o.format, "format", formatOwn, "`format` of the file: checkpointctl or podman")
	f.BoolVar(&o.plain, "plain", false, "write an unencrypted file, whatever encrypt.to in the configuration says")
	o.flags(f)
	d.recipientFlags(f)
	f.String("identity", "", "decrypt with the age identity or SSH private key in `file` (--format podman)")
	d.bind(f, map[string]string{"encrypt.identity": "identity"})
	d.stageFlag(f)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatOwn, formatPodman}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("compress", cobra.FixedCompletions([]string{"none", "zstd", "gzip"}, cobra.ShellCompDirectiveNoFileComp))
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the name of the file")
	return cmd
}

func (o *exportOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.withImage, "with-image", false, "include the container's image, as docker save does")
	f.StringVar(&o.sign, "sign", "", "sign with the SSH private key in `file`")
}

func runExport(ctx context.Context, d *deps, ref, name string, o exportOptions) error {
	container, err := d.storedName(ctx, ref)
	if err != nil {
		return err
	}
	rec, err := d.store().Find(container, name)
	if err != nil {
		return err
	}
	if o.format == formatPodman {
		return exportPodman(ctx, d, rec, o)
	}
	e, err := d.exporter(ctx, rec, o)
	if err != nil {
		return err
	}
	if o.plain {
		e.Seal = nil
	}
	t := d.begin(rec.Name+"/"+rec.Checkpoint, "exporting")
	e.Progress = t.bytes("")
	return d.export(rec, o.output, func(w io.Writer) error {
		defer t.end()
		return e.Write(ctx, rec, w)
	})
}

// export writes to a file, whose name it prints, or to standard output.
func (d *deps) export(rec metadata.Record, output string, write func(io.Writer) error) error {
	if output == "-" {
		return toStdout(d, write)
	}
	size, err := toFile(output, func(f *os.File) error { return write(f) })
	if err != nil {
		return err
	}
	return printExported(d, rec, output, size)
}

// exporter is for whom and by whom a checkpoint leaves the store, and with what.
func (d *deps) exporter(ctx context.Context, rec metadata.Record, o exportOptions) (archive.Export, error) {
	e := archive.Export{Store: d.store(), Compression: archive.Compression(o.compress), Level: o.level}
	var err error
	if e.Seal, err = seal.ParseRecipients(d.cfg.Encrypt.To, d.cfg.Encrypt.PassphraseFile); err != nil {
		return e, err
	}
	if o.sign != "" {
		if e.Sign, err = signature.ReadKey(o.sign); err != nil {
			return e, err
		}
	}
	if !o.withImage {
		return e, nil
	}
	client, err := d.docker()
	if err != nil {
		return e, err
	}
	id, err := client.FindImage(ctx, rec.ImageLayers, rec.ImageDigest)
	if err != nil {
		return e, fmt.Errorf("the image of %s/%s: %w", rec.Name, rec.Checkpoint, err)
	}
	e.Image = func(ctx context.Context) (io.ReadCloser, error) { return client.SaveImage(ctx, id) }
	return e, nil
}

func toStdout(d *deps, write func(io.Writer) error) error {
	if _, ok := d.out.(terminal); ok {
		return fmt.Errorf("%w: an archive is not written to a terminal: use -o FILE or a pipe", config.ErrInvalid)
	}
	return write(d.out)
}

// toFile writes a file that appears when it is whole. A device or a pipe is written
// to. It returns the size.
func toFile(path string, write func(*os.File) error) (int64, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		return 0, errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // for its owner alone
	if err != nil {
		return 0, err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return 0, errors.Join(err, os.Remove(f.Name()))
	}
	return info.Size(), nil
}

type exported struct {
	Container  string `json:"container"`
	Checkpoint string `json:"checkpoint"`
	File       string `json:"file"`
	SizeBytes  int64  `json:"size_bytes"`
}

func printExported(d *deps, rec metadata.Record, file string, size int64) error {
	if d.json {
		return printJSON(d.out, exported{rec.Name, rec.Checkpoint, file, size})
	}
	_, err := fmt.Fprintln(d.out, file)
	return err
}
