package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/registry"
)

type pushOptions struct {
	exportOptions
	plain     bool
	plainHTTP *bool
}

func newPushCmd(d *deps) *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push CONTAINER [CHECKPOINT] REF",
		Short: "Send a checkpoint to a registry",
		Long: `Send a checkpoint, by default the newest, to an OCI registry, as docker push does an
image: pull takes it there on another host. No container is touched. The login is
Docker's: docker login as the user that this runs as.

Whoever can pull it can read the container's memory. So it is encrypted to the
recipients of --encrypt-to, and a checkpoint that is not encrypted itself is not sent
without, unless --plain says so. The names of the container and its image can be
read in any case. --sign signs it by an SSH key.

It is an archive (see export) in pieces. What the registry has already is not sent:
of an earlier try, of another checkpoint of the same chain, or with the same files.
The image of the container is the subject of the manifest if it is in the same
repository. The reference by digest is printed.
` + exitHelp,
		Example: `  checkpointctl push myapp registry.example/checkpoints/myapp:v1 --encrypt-to age1...
  checkpointctl push myapp before-upgrade localhost:5000/myapp --plain --sign ~/.ssh/id_ed25519`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			last := len(args) - 1
			container, checkpoint, err := reference(args[:last])
			if err != nil {
				return err
			}
			if err := archive.Zstd.Check(o.level); err != nil {
				return fmt.Errorf("%w: --level: %w", config.ErrInvalid, err)
			}
			if o.plain && (cmd.Flags().Changed("encrypt-to") || cmd.Flags().Changed("passphrase-file")) {
				return fmt.Errorf("%w: --plain and encryption", config.ErrInvalid)
			}
			o.plainHTTP = plainHTTP(cmd.Flags())
			return runPush(cmd.Context(), d, container, checkpoint, args[last], o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.level, "level", 0, "of the zstd compression, 1 to 22 (default zstd's)")
	f.BoolVar(&o.plain, "plain", false, "send it as it is, readable for all who can pull it")
	o.flags(f)
	d.recipientFlags(f)
	plainHTTPFlag(f)
	d.jsonFlag(cmd)
	return cmd
}

func plainHTTPFlag(f *pflag.FlagSet) {
	f.Bool("plain-http", false, "speak HTTP without TLS to the registry (default only to one on this host)")
}

// plainHTTP is what the flag says; nil if it is not given.
func plainHTTP(f *pflag.FlagSet) *bool {
	if !f.Changed("plain-http") {
		return nil
	}
	plain, _ := f.GetBool("plain-http")
	return &plain
}

func (d *deps) registry(ref string, plainHTTP *bool) (*registry.Remote, error) {
	return registry.Open(ref, registry.Options{PlainHTTP: plainHTTP, UserAgent: "checkpointctl/" + Version})
}

func runPush(ctx context.Context, d *deps, container, name, ref string, o pushOptions) error {
	r, err := d.registry(ref, o.plainHTTP)
	if err != nil {
		return err
	}
	stored, err := d.storedName(ctx, container)
	if err != nil {
		return err
	}
	rec, err := d.store().Find(stored, name)
	if err != nil {
		return err
	}
	e, err := d.exporter(ctx, rec, o.exportOptions)
	if err != nil {
		return err
	}
	if o.plain {
		e.Seal = nil
	}
	if e.Seal == nil && !rec.Encrypted && !o.plain {
		return fmt.Errorf("%w: the memory of %s/%s is not encrypted: --encrypt-to says who shall read it, --plain that all may who can pull it", config.ErrInvalid, rec.Name, rec.Checkpoint)
	}
	bar := newTransfer(d.progress(), "pushing "+rec.Name+"/"+rec.Checkpoint)
	p := registry.Push{Export: e, Bases: d.baseDigests(ctx, rec), Progress: bar.set}
	pushed, err := r.Push(ctx, p, rec)
	bar.end()
	if err != nil {
		return err
	}
	return printPushed(d, rec, r, pushed)
}

// baseDigests are what registries may know the container's image by. A push does
// not need Docker: without it there are none.
func (d *deps) baseDigests(ctx context.Context, rec metadata.Record) []string {
	client, err := d.docker()
	var digests []string
	if err == nil {
		digests, err = client.ImageDigests(ctx, rec.ImageDigest)
	}
	if err != nil {
		d.log.Debugf("the image of %s: %v", rec.Name, err)
	}
	return digests
}

type pushedJSON struct {
	Container  string `json:"container"`
	Checkpoint string `json:"checkpoint"`
	Reference  string `json:"reference"`
	Digest     string `json:"digest"`
	SizeBytes  int64  `json:"size_bytes"`
	SentBytes  int64  `json:"sent_bytes"`
	Blobs      int    `json:"blobs"`
	SentBlobs  int    `json:"sent_blobs"`
}

func printPushed(d *deps, rec metadata.Record, r *registry.Remote, p registry.Pushed) error {
	if d.json {
		return printJSON(d.out, pushedJSON{rec.Name, rec.Checkpoint, r.Reference, p.Digest, p.SizeBytes, p.SentBytes, p.Blobs, p.SentBlobs})
	}
	_, err := fmt.Fprintln(d.out, r.ByDigest(p.Digest))
	return err
}

func newPullCmd(d *deps) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "pull REF",
		Short: "Take a checkpoint from a registry into the store",
		Long: `Fetch what push sent into the store. No container is touched: restore --name makes
one from it. The login is Docker's.

Neither the registry nor what it holds is trusted: every layer is compared with its
digest, and then taken as import takes an archive, which says what is refused.
--signed-by takes it only if one of these keys has signed it (push --sign).

What was fetched is kept until all of it is there: after an error of the registry the
next pull of the same REF fetches only what is missing. repair removes it.
` + exitHelp,
		Example: `  checkpointctl pull registry.example/checkpoints/myapp:v1 --identity key.txt
  checkpointctl pull localhost:5000/myapp --as copy --signed-by allowed_signers`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPull(cmd.Context(), d, args[0], plainHTTP(cmd.Flags()), o)
		},
	}
	o.flags(cmd.Flags())
	d.identityFlags(cmd.Flags())
	plainHTTPFlag(cmd.Flags())
	d.jsonFlag(cmd)
	return cmd
}

func runPull(ctx context.Context, d *deps, ref string, plainHTTP *bool, o importOptions) error {
	r, err := d.registry(ref, plainHTTP)
	if err != nil {
		return err
	}
	i, err := d.importer(o)
	if err != nil {
		return err
	}
	fetching, importing := newTransfer(d.progress(), "pulling "+ref), newTransfer(d.progress(), "importing "+ref)
	i.Progress = importing.set
	rec, err := r.Pull(ctx, i, fetching.set)
	fetching.end()
	importing.end()
	if err != nil {
		return err
	}
	return printImported(d, rec)
}
