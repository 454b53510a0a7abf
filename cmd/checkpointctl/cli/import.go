package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
	"github.com/checkpointctl/checkpointctl/internal/signature"
)

type importOptions struct {
	as, signedBy, maxSize string
	loadImage, plain      bool
}

func newImportCmd(d *deps) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Import an exported checkpoint into the store",
		Long: `Read an archive that export wrote, from a file or from standard input, into the store.
No container is touched; restore --name makes one from the checkpoint.

An archive is not trusted. It is refused, with the name of the entry, if an entry is
not a plain file, has a name that leads elsewhere, appears twice, is larger than
declared or than --max-size, or does not match its record. It is also refused if the
record has keys that this version does not know or if CRIU's images contradict each
other. The checkpoint appears once all of it is there; after an error nothing is left.
With --signed-by, only archives signed by one of these keys (export --sign) are
imported.

With --encrypt-to, or encrypt.to in the configuration, the checkpoint is encrypted on its
way into the store. A passphrase that decrypts the archive also encrypts the checkpoint.
--plain stores it as it is in the archive. A checkpoint that was encrypted before it was
exported is stored as it is.

An image in the archive is only loaded with --load-image, and only if it has the layers
that the record names. It gets no name: docker image ls shows it as <none>.

What an archive says about its container is not used unless you ask for it: see
checkpointctl restore --help.
` + exits(exitExists, exitSealed, exitCRIU, exitArchive),
		Example: `  checkpointctl import myapp.ckpt
  checkpointctl import myapp.ckpt --as myapp2/copied --signed-by allowed_signers
  checkpointctl import myapp.ckpt --encrypt-to age1...`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.plain && cmd.Flags().Changed("encrypt-to") {
				return errPlainSealed()
			}
			return runImport(cmd.Context(), d, args[0], cmd.InOrStdin(), o)
		},
	}
	d.importFlags(cmd.Flags(), &o)
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the name of the checkpoint")
	return cmd
}

func (d *deps) importFlags(f *pflag.FlagSet, o *importOptions) {
	d.identityFlags(f)
	f.StringArray("encrypt-to", nil, "encrypt to this `recipient`: age1..., ssh-..., or @FILE (repeatable)")
	d.bind(f, map[string]string{"encrypt.to": "encrypt-to"})
	f.BoolVar(&o.plain, "plain", false, "store the checkpoint as it is in the archive, whatever the configuration says about encryption")
	f.StringVar(&o.as, "as", "", "`NAME` or NAME/CHECKPOINT in the store (default: the archive's own)")
	f.StringVar(&o.signedBy, "signed-by", "", "require a signature by one of the SSH public keys in `file`, such as id_ed25519.pub or allowed_signers")
	f.BoolVar(&o.loadImage, "load-image", false, "load the image that it includes into Docker (--with-image)")
	f.StringVar(&o.maxSize, "max-size", "", "largest unpacked size in `bytes`, such as 20g (default: the free space of the store)")
}

// importer is how what is not trusted comes into the store.
func (d *deps) importer(o importOptions) (i archive.Import, err error) {
	i = archive.Import{Store: d.store(), Problems: problemsOf}
	if err := i.Store.CheckAccess(); err != nil {
		return i, err
	}
	if o.as != "" {
		if i.Container, i.Checkpoint, err = reference([]string{o.as}); err == nil {
			err = metadata.CheckName(i.Container)
		}
		if err != nil {
			return i, err
		}
	}
	if i.MaxBytes, err = i.Store.FreeBytes(); err != nil {
		return i, err
	}
	if o.maxSize != "" {
		if i.MaxBytes, err = units.RAMInBytes(o.maxSize); err != nil {
			return i, fmt.Errorf("%w: --max-size: %w", config.ErrInvalid, err)
		}
	}
	if i.Identities, err = seal.ParseIdentities(d.cfg.Encrypt.Identity, d.cfg.Encrypt.PassphraseFile); err != nil {
		return i, err
	}
	if !o.plain {
		passphraseFile := d.cfg.Encrypt.PassphraseFile
		if len(d.cfg.Encrypt.To) > 0 {
			passphraseFile = "" // it is for reading the archive
		}
		if i.Seal, err = seal.ParseRecipients(d.cfg.Encrypt.To, passphraseFile); err != nil {
			return i, err
		}
	}
	if o.signedBy != "" {
		if i.SignedBy, err = signature.ReadAllowed(o.signedBy); err != nil {
			return i, err
		}
	}
	if o.loadImage {
		client, err := d.docker()
		if err != nil {
			return i, err
		}
		i.LoadImage = client.LoadImage
	}
	return i, nil
}

func runImport(ctx context.Context, d *deps, file string, stdin io.Reader, o importOptions) error {
	i, err := d.importer(o)
	if err != nil {
		return err
	}
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	t := d.begin(file, "importing")
	i.Progress = t.bytes("")
	rec, err := i.Read(ctx, in)
	t.end()
	if err != nil {
		return err
	}
	return printImported(d, rec)
}

// printImported says what came into the store.
func printImported(d *deps, rec metadata.Record) error {
	if d.json {
		return printJSON(d.out, rec)
	}
	_, err := fmt.Fprintf(d.out, "%s/%s\n", rec.Name, rec.Checkpoint)
	return err
}

// problemsOf are where images contradict each other. Those of an encrypted
// checkpoint are looked into when it is opened.
func problemsOf(dir string, r metadata.Record) []string {
	if r.Encrypted {
		return nil
	}
	problems := checkpoint.ImageProblems(dir, r)
	if n := len(problems); n > 5 {
		problems = append(problems[:5], fmt.Sprintf("and %d more", n-5))
	}
	return problems
}
