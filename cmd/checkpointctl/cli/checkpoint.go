package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/metrics"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

type checkpointOptions struct {
	containers            []string
	name, parent, comment string
	roundsOnly            bool
	selectOptions
}

// operation is what it counts as.
func (o checkpointOptions) operation() string {
	if o.roundsOnly {
		return opPreDump
	}
	return opCheckpoint
}

func newCheckpointCmd(d *deps) *cobra.Command {
	var o checkpointOptions
	cmd := &cobra.Command{
		Use:   "checkpoint CONTAINER... | --all | --label KEY[=VALUE] | --compose-project NAME | --image PATTERN | --batch NAME",
		Short: "Checkpoint running containers",
		Long: `Checkpoint running containers and keep the checkpoints in the store.

CRIU freezes a container, writes out its memory, open files, TCP connections and
file locks, and lets it run on. With --leave-running=false the container is killed
once its checkpoint is on the disk. If anything fails, the container runs on and
only CRIU's log is kept.

A connection that the server has not accepted yet is not part of the checkpoint. If
the container runs on, the server accepts it as usual; if the container is killed,
the client gets a reset.

A checkpoint includes the files in the container's writable layer. --volumes adds
the files in its volumes. Bind mounts are never included. Most files are copied
before the container is frozen.

With --pre-dump, memory is copied in rounds while the container runs, so that it is
frozen only for what changed since the last round. The rounds end when
--max-downtime can be met, or when another round would not help.

Several containers are checkpointed in parallel, and a failure of one does not stop
the others. With --consistent all are frozen before the first one is dumped, and
either all checkpoints are kept or none. --batch takes the selection and the options
from the configuration file, and prunes afterwards by the batch's keep rules.

With --encrypt-to or --passphrase-file only the record is stored unencrypted. The
images wait in memory until they are encrypted, which takes as much memory as the
container uses.
` + exits(exitIncomplete, exitNoContainer, exitState, exitNoCheckpoint, exitExists, exitRefused, exitDocker, exitCRIU, exitDump),
		Example: `  checkpointctl checkpoint myapp --name before-upgrade
  checkpointctl checkpoint myapp --max-downtime 50ms
  checkpointctl checkpoint --compose-project shop --consistent
  checkpointctl checkpoint --batch nightly --dry-run`,
		Args: func(_ *cobra.Command, args []string) error {
			o.containers = args
			return errors.Join(o.check(), checkComment(o.comment))
		},
		ValidArgsFunction: d.completeContainers,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.measured(cmd.Context(), metrics.Run{Operation: opCheckpoint, Batch: o.batch}, o.containers, o.dryRun, func() error {
				if len(o.containers) == 1 && !o.dryRun {
					return runCheckpoint(cmd.Context(), d, o)
				}
				return runBatch(cmd.Context(), d, o)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "`name` of the checkpoint (default: the next free of checkpoint1, checkpoint2, ...)")
	f.StringVar(&o.comment, "comment", "", "`text` to keep with the checkpoint: why it was made")
	f.Bool("leave-running", true, "let the container run on")
	d.syncFlag(f)
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the names of checkpoints")
	d.selectFlags(cmd, &o.selectOptions)
	group(f, "Files", func(f *pflag.FlagSet) {
		f.Bool("rootfs", true, "include the container's writable layer")
		f.StringSlice("volumes", nil, "include volumes: all, or these `names`")
		f.Lookup("volumes").NoOptDefVal = checkpoint.AllVolumes
		f.StringSlice("volume", nil, "leave a volume out of --volumes: `NAME=skip`")
	})
	group(f, "Memory rounds", func(f *pflag.FlagSet) {
		f.String("pre-dump", "off", "copy memory in rounds first: off, on or auto (on if the kernel can track changes)")
		f.Lookup("pre-dump").NoOptDefVal = "on"
		d.roundFlags(f, &o)
	})
	group(f, "Encryption", d.encryptFlags)
	group(f, "CRIU", d.dumpFlags)
	d.bind(f, map[string]string{
		"checkpoint.leave_running": "leave-running", "checkpoint.pre_dump": "pre-dump",
		"checkpoint.rootfs": "rootfs", "checkpoint.volumes": "volumes", "checkpoint.volume": "volume",
	})
	// A goal for the rounds asks for rounds.
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if f.Changed("max-downtime") && !f.Changed("pre-dump") {
			d.cfg.Checkpoint.PreDump = "on"
		}
		return nil
	}
	return cmd
}

// syncFlag says when a checkpoint is on the disk.
func (d *deps) syncFlag(f *pflag.FlagSet) {
	f.String("sync", config.SyncFull, "full: write the checkpoint to the disk before the command ends; none: leave that to the kernel, so that a power cut can damage it, and record no SHA-256 of its files")
	d.bind(f, map[string]string{"checkpoint.sync": "sync"})
}

// dumpFlags are CRIU's options, for every command that dumps.
func (d *deps) dumpFlags(f *pflag.FlagSet) {
	f.Bool("tcp-established", true, "checkpoint established TCP connections")
	f.Bool("file-locks", true, "checkpoint file locks")
	f.Bool("shell-job", false, "allow a session leader outside the container")
	f.Bool("ext-unix-sk", false, "allow unix sockets connected to processes outside")
	f.Bool("link-remap", false, "allow open files that were deleted but have other hard links")
	f.String("ghost-limit", "auto", "largest deleted file that is still open to put into the images (auto: what is needed, up to 256MiB)")
	f.String("manage-cgroups-mode", "soft", "ignore, none, props, soft, full or strict")
	f.String("network-lock", "auto", "iptables, nftables, skip or auto (skip if there are no TCP connections)")
	f.String("criu-config", "", "CRIU configuration `file`")
	f.Int("criu-log-level", 4, "verbosity of dump.log, 0 to 4")
	f.Duration("criu-timeout", 0, "CRIU's limit for freezing the tasks (default: CRIU's, 10s)")
	f.Duration("criu-hang-timeout", 2*time.Minute, "kill CRIU if it makes no progress for this long (0 disables)")
	d.bind(f, map[string]string{
		"checkpoint.tcp_established": "tcp-established",
		"checkpoint.file_locks":      "file-locks", "checkpoint.shell_job": "shell-job",
		"checkpoint.ext_unix_sk": "ext-unix-sk", "checkpoint.link_remap": "link-remap",
		"checkpoint.ghost_limit": "ghost-limit", "checkpoint.manage_cgroups_mode": "manage-cgroups-mode",
		"checkpoint.network_lock": "network-lock", "criu.config": "criu-config",
		"criu.log_level": "criu-log-level", "criu.timeout": "criu-timeout", "criu.hang_timeout": "criu-hang-timeout",
	})
}

func runCheckpoint(ctx context.Context, d *deps, o checkpointOptions) error {
	if o.name != "" {
		if err := metadata.CheckName(o.name); err != nil {
			return err
		}
	}
	if err := d.requireRoot(); err != nil {
		return err
	}
	m, err := d.maker(ctx, o)
	if err != nil {
		return err
	}
	r, err := m.one(ctx, o)
	switch {
	case d.json && !o.roundsOnly: // one is an array, as several are
		printErr := printJSON(d.out, []outcome{outcomeOf(o.containers[0], r, err)})
		return cmp.Or(err, printErr)
	case err != nil:
		return err
	case d.json:
		return printJSON(d.out, r)
	}
	if err := printRounds(d.notes(), r); err != nil {
		return err
	}
	fmt.Fprintln(d.notes(), summary(r))
	_, err = fmt.Fprintf(d.out, "%s/%s\n", r.Name, r.Checkpoint)
	return err
}

// one makes the checkpoint of the one container that was named.
func (m *maker) one(ctx context.Context, o checkpointOptions) (metadata.Record, error) {
	c, err := m.container(ctx, o.containers[0])
	if err != nil {
		return metadata.Record{}, err
	}
	began := time.Now()
	defer m.begin(c.Name, "preparing").end()
	r, err := m.creator.Create(ctx, m.request(ctx, m.cfg.Config, c, o))
	if err == nil {
		m.ran(o.operation(), r.Name, time.Since(began), exitOK, &r)
	}
	return r, err
}

// maker makes checkpoints as the command line and the configuration say.
type maker struct {
	*deps
	dumper  *criu.Dumper
	client  *docker.Client
	creator *checkpoint.Creator
	seal    *seal.Recipients // nil for plain images
}

func (d *deps) maker(ctx context.Context, o checkpointOptions) (*maker, error) {
	recipients, err := d.recipients(o)
	if err != nil {
		return nil, err
	}
	if !o.dryRun {
		d.recoverStages(ctx)
	}
	client, err := d.docker()
	if err != nil {
		return nil, err
	}
	m := &maker{deps: d, dumper: d.dumper(), client: client, seal: recipients}
	m.dumper.Memory = d.store().Memory()
	go func() { _, _ = m.dumper.Version() }() // while Docker answers
	m.creator = &checkpoint.Creator{
		Dumper: m.dumper, Docker: client, Store: d.store(), Recovery: d.recovery(client), Policy: d.policy(), Version: Version, MadeBy: invoker(),
		Facts: checkpoint.Facts, Volumes: client.Volumes, Warned: func(text string) { d.log.Warn(text) }, Happened: d.happened,
	}
	return m, nil
}

// container asks Docker for the container that the user named. One that a killed
// run of an older version left paused runs on first.
func (m *maker) container(ctx context.Context, ref string) (docker.Container, error) {
	c, err := m.client.Inspect(ctx, ref)
	if err != nil || c.State != "paused" || m.store().PausedBy(c.Name) != c.ID {
		return c, err
	}
	if err := m.recovery(m.client).Container(ctx, c); err != nil {
		return c, err
	}
	return m.client.Inspect(ctx, c.ID)
}

// request is what is to be done with a container, and shown if it has a task.
func (m *maker) request(ctx context.Context, cfg config.Config, c docker.Container, o checkpointOptions) checkpoint.Request {
	t, summing := m.shown(c.Name), ""
	t.expect(c, o.parent)
	if o.roundsOnly {
		summing = "running, checksums"
	}
	return checkpoint.Request{
		Progress:  t.bytes(summing),
		Container: c, Name: o.name, Comment: o.comment, Options: dumpOptions(cfg), Parent: o.parent,
		Rounds: m.rounds(ctx, cfg, c.Name), RoundsOnly: o.roundsOnly,
		Files: m.files(cfg), Seal: m.seal, StageDir: cfg.Encrypt.Stage, NoSync: cfg.Checkpoint.Sync == config.SyncNone,
	}
}

// files says what to take beside memory. A layer that was asked for by name must be
// there.
func (m *maker) files(cfg config.Config) checkpoint.Files {
	f := checkpoint.Files{RootFS: cfg.Checkpoint.RootFS, Asked: m.cfg.Given("checkpoint.rootfs"), Volumes: cfg.Checkpoint.Volumes}
	for _, v := range cfg.Checkpoint.Volume {
		f.Skip = append(f.Skip, strings.TrimSuffix(v, config.SkipVolume))
	}
	return f
}

func summary(r metadata.Record) string {
	if r.Kind == metadata.KindPreDump {
		return fmt.Sprintf("pre-dumped %s: %s, the container runs on; checkpointctl checkpoint %s --parent %s continues it",
			r.Name, size(r.SizeBytes), r.Name, r.Checkpoint)
	}
	return fmt.Sprintf("checkpointed %s: %s, frozen %s, %s", r.Name, size(r.SizeBytes), frozen(r), after(r))
}

// frozen is how long the container stood still: in a group longer than CRIU
// needed.
func frozen(r metadata.Record) string {
	return micros(r.Summary().FrozenUS).String()
}

func after(r metadata.Record) string {
	if r.Options.LeaveRunning {
		return "the container runs on"
	}
	return "the container is stopped"
}

func dumpOptions(c config.Config) criu.Options {
	ghost, _ := c.Checkpoint.GhostLimitBytes() // Validate has seen it
	return criu.Options{
		LeaveRunning: c.Checkpoint.LeaveRunning, TCPEstablished: c.Checkpoint.TCPEstablished,
		FileLocks: c.Checkpoint.FileLocks, ShellJob: c.Checkpoint.ShellJob,
		ExtUnixSk: c.Checkpoint.ExtUnixSk, LinkRemap: c.Checkpoint.LinkRemap, GhostLimit: ghost,
		ManageCgroupsMode: c.Checkpoint.ManageCgroupsMode, NetworkLock: c.Checkpoint.NetworkLock,
		PreDumpMode: c.PreDump.Mode, AutoDedup: c.PreDump.AutoDedup,
		LogLevel: c.CRIU.LogLevel, TimeoutSeconds: uint32(c.CRIU.Timeout.Seconds()), ConfigFile: c.CRIU.Config,
	}
}
