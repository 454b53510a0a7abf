package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/metrics"
)

func newPreDumpCmd(d *deps) *cobra.Command {
	o := checkpointOptions{roundsOnly: true}
	cmd := &cobra.Command{
		Use:   "pre-dump CONTAINER",
		Short: "Copy a running container's memory ahead of a checkpoint",
		Long: `Copy the memory of a running container in rounds, for a later checkpoint --parent,
which then writes only what changed since.

The container is frozen for a moment in each round, and runs on. The rounds cannot be
restored on their own. They are of use until the container stops or is pre-dumped
again. If anything fails, the container runs on and only CRIU's log is kept.
` + exits(exitNoContainer, exitState, exitNoCheckpoint, exitExists, exitRefused, exitDocker, exitCRIU, exitDump),
		Example: `  checkpointctl pre-dump myapp --name morning
  checkpointctl checkpoint myapp --parent morning`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: d.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.containers = args
			d.cfg.Checkpoint.PreDump, d.cfg.Checkpoint.LeaveRunning = "on", true
			return d.measured(cmd.Context(), metrics.Run{Operation: o.operation()}, args, false, func() error {
				return runCheckpoint(cmd.Context(), d, o)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "`name` of the rounds (default: the next free of checkpoint1, checkpoint2, ...)")
	d.syncFlag(f)
	d.jsonFlag(cmd)
	d.quietFlag(cmd, "the name of the rounds")
	group(f, "Memory rounds", func(f *pflag.FlagSet) { d.roundFlags(f, &o) })
	group(f, "CRIU", d.dumpFlags)
	return cmd
}

// roundFlags say how rounds are made and when they end.
func (d *deps) roundFlags(f *pflag.FlagSet, o *checkpointOptions) {
	f.StringVar(&o.parent, "parent", "", "`checkpoint` or pre-dump of the same container to continue")
	f.Duration("max-downtime", 0, "how long the final dump may stop the container")
	f.Int("min-rounds", 1, "make at least this many rounds")
	f.Int("max-rounds", 8, "make at most this many rounds")
	f.Duration("max-time", 0, "stop after this time (default: 5m)")
	f.Int("min-pages", 64, "stop when a round finds at most this many dirty pages")
	f.String("pre-dump-mode", "splice", "how CRIU reads memory in a round: splice or read")
	f.Bool("auto-dedup", true, "free pages of earlier rounds that a later round replaced")
	d.bind(f, map[string]string{
		"pre_dump.max_downtime": "max-downtime", "pre_dump.min_rounds": "min-rounds", "pre_dump.max_rounds": "max-rounds", "pre_dump.max_time": "max-time",
		"pre_dump.min_pages": "min-pages", "pre_dump.mode": "pre-dump-mode", "pre_dump.auto_dedup": "auto-dedup",
	})
}

// rounds returns the policy, or nothing when no rounds are to be made.
func (m *maker) rounds(ctx context.Context, cfg config.Config, container string) *criu.Policy {
	switch cfg.Checkpoint.PreDump {
	case "off":
		return nil
	case "auto":
		if err := m.dumper.DirtyTracking(ctx); err != nil {
			m.log.Warnf("no pre-dump of %s: %v", container, err)
			return nil
		}
	}
	p := cfg.PreDump
	return &criu.Policy{MaxDowntime: p.MaxDowntime, MinRounds: p.MinRounds, MaxRounds: p.MaxRounds, MaxTime: p.MaxTime, MinPages: uint64(p.MinPages)}
}
