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
	plainHTTP *bool
}

func newPushCmd(d *deps) *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push CONTAINER [CHECKPOINT] REF",
		Short: "Push a checkpoint to a registry",
		Long: `Push a checkpoint, by default the newest, to an OCI registry, from which another host can
pull it. The login is Docker's: run docker login as the user that runs checkpointctl. No
container is touched.

Whoever can pull a checkpoint can read the container's memory. Therefore it is encrypted
to the recipients of --encrypt-to. A checkpoint that is not encrypted is only pushed with
--plain. The names of the container and its image can be read in any case. --sign signs
the checkpoint with an SSH key.

The checkpoint is pushed as an archive (see export) in several layers. Layers that the
registry already has are not sent again. If the container's image is in the same
repository, it becomes the subject of the manifest. The reference with its digest is
printed.
` + exits(exitNoContainer, exitState, exitNoCheckpoint, exitSealed, exitCRIU, exitDamaged, exitRegistry),
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
				return errPlainSealed()
			}
			o.plainHTTP = plainHTTP(cmd.Flags())
			return runPush(cmd.Context(), d, container, checkpoint, args[last], o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.level, "level", 0, "zstd compression level, 1 to 22 (default: zstd's)")
	f.BoolVar(&o.plain, "plain", false, "push an unencrypted checkpoint, which everybody who can pull it can read")
	o.flags(f)
	d.recipientFlags(f)
	plainHTTPFlag(f)
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the reference with its digest")
	return cmd
}

func plainHTTPFlag(f *pflag.FlagSet) {
	f.Bool("plain-http", false, "use HTTP without TLS (default: only for a registry on this host)")
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
	t := d.begin(rec.Name+"/"+rec.Checkpoint, "pushing")
	p := registry.Push{Export: e, Bases: d.baseDigests(ctx, rec), Progress: t.bytes("")}
	pushed, err := r.Push(ctx, p, rec)
	t.end()
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
		Short: "Pull a checkpoint from a registry into the store",
		Long: `Pull a checkpoint that push sent to a registry into the store. No container is touched;
restore --name makes one from the checkpoint. The login is Docker's.

Neither the registry nor the checkpoint is trusted. Every layer is compared with its
digest, and then checked like an archive (see import). With --signed-by, only checkpoints
signed by one of these keys (push --sign) are pulled.

With --encrypt-to, or encrypt.to in the configuration, the checkpoint is encrypted on its
way into the store, as import does.

After an error, the layers that have arrived are kept, and the next pull of the same REF
only fetches the missing ones. repair removes them. Layers that were pushed with --plain
are not kept if the checkpoint is to be encrypted here.
` + exits(exitExists, exitNoCheckpoint, exitSealed, exitCRIU, exitArchive, exitRegistry),
		Example: `  checkpointctl pull registry.example/checkpoints/myapp:v1 --identity key.txt
  checkpointctl pull localhost:5000/myapp --as copy --signed-by allowed_signers`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.plain && cmd.Flags().Changed("encrypt-to") {
				return errPlainSealed()
			}
			return runPull(cmd.Context(), d, args[0], plainHTTP(cmd.Flags()), o)
		},
	}
	d.importFlags(cmd.Flags(), &o)
	plainHTTPFlag(cmd.Flags())
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the name of the checkpoint")
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
	t := d.begin(ref, "pulling")
	i.Progress = t.bytes("importing")
	rec, err := r.Pull(ctx, i, t.bytes(""))
	t.end()
	if err != nil {
		return err
	}
	return printImported(d, rec)
}
