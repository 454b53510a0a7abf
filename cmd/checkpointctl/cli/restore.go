package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

type restoreOptions struct{ tcpClose, noVerify, lazyPages bool }

func newRestoreCmd(d *deps) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore CONTAINER [CHECKPOINT]",
		Short: "Bring a stopped container back from a checkpoint",
		Long: `Start a stopped container from a checkpoint, by default the newest. Its files
are compared with its record first, all of them, and a damaged checkpoint is
refused; --no-verify compares their sizes only.

A checkpoint holds no files. If the container ran on after it and changed its own
files, or files that it has in use were changed, its memory does not go with them
any more and the restore is refused; --files=keep restores all the same. To stop a
container and bring it back later: checkpoint --leave-running=false.

Docker itself starts it, so that logs, exec, stop, ports and restart policy go on
working. Established TCP connections come back if the container gets the same IP
again; --tcp-close closes them. If the restore fails the container is stopped, as
before. The checkpoint stays in the store.

With --lazy-pages the container runs as soon as its processes are there, and
criu lazy-pages brings their memory after that, what they touch first. list and
inspect show how far it is. Until it is over the checkpoint cannot be removed, and
a checkpoint of the container waits. If criu lazy-pages is killed the container is
killed, too: it would go on with zeros for memory; restore it again.
` + exitHelp,
		Example:           "  checkpointctl restore myapp before-upgrade",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: d.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRestore(cmd.Context(), d, args[0], optional(args, 1), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.noVerify, "no-verify", false, "compare file sizes only, do not read the checkpoint first")
	f.String("files", "refuse", "what to do if files changed since the checkpoint: `refuse` or keep (restore with the files as they are now)")
	d.bind(f, map[string]string{"restore.files": "files"})
	f.BoolVar(&o.tcpClose, "tcp-close", false, "close established TCP connections instead of restoring them")
	f.BoolVar(&o.lazyPages, "lazy-pages", false, "run the container before its memory is there")
	d.identityFlags(f)
	d.stageFlag(f)
	d.jsonFlag(cmd)
	return cmd
}

func runRestore(ctx context.Context, d *deps, ref, name string, o restoreOptions) error {
	if err := d.requireRoot(); err != nil {
		return err
	}
	client, c, err := d.container(ctx, ref)
	if err != nil {
		return err
	}
	if err := d.recovery(client).Container(ctx, c); err != nil {
		return err
	}
	rec, err := d.store().Find(c.Name, name)
	if err != nil {
		return err
	}
	r, err := d.restorer(ctx, client)
	if err != nil {
		return err
	}
	r.NoVerify, r.KeepFiles = o.noVerify, d.cfg.Restore.Files == config.KeepFiles
	r.Warn = d.warn
	r.Waiting = func() { d.log.Warn("a restore that Docker has begun cannot be broken off: waiting for its end") }
	if err := r.Restore(ctx, c, rec, restore.Options{TCPClose: o.tcpClose, LazyPages: o.lazyPages}); err != nil {
		return err
	}
	if d.json {
		return printJSON(d.out, struct {
			Container  string `json:"container"`
			Checkpoint string `json:"checkpoint"`
			ID         string `json:"id"`
		}{c.Name, rec.Checkpoint, c.ID})
	}
	if c.ID != rec.ID {
		d.warn(c.Name + " is a newer container than the checkpoint's: files that the old one wrote are not in it")
	}
	_, err = fmt.Fprintf(d.out, "%s/%s\n", c.Name, rec.Checkpoint)
	return err
}

func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
