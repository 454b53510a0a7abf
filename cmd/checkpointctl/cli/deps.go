package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/criu"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/metrics"
	"github.com/checkpointctl/checkpointctl/internal/mounts"
	"github.com/checkpointctl/checkpointctl/internal/restore"
)

// deps is what commands are made of. Nothing connects before it is used.
type deps struct {
	out, errOut io.Writer
	log         *logrus.Logger
	events      *logrus.Logger // nil unless the log is JSON
	configFile  string
	flags       []boundFlag
	cfg         config.Settings
	args        []string // of the command line
	parsed      bool     // the command line was well formed
	json        bool     // the command's --json
	quiet       bool     // the command's --quiet
	measuring   bool     // see measured
	runs        []metrics.Run
}

// boundFlag is a flag of some command that overrides a config key.
type boundFlag struct {
	key  string
	flag *pflag.Flag
}

func newDeps(out, errOut io.Writer) *deps {
	show := newDisplay(errOut)
	out, errOut = onTerminal(out, show), onTerminal(errOut, show)
	log := logrus.New()
	log.SetOutput(errOut)
	return &deps{out: out, errOut: errOut, log: log}
}

// bind lets flags that are set override the config keys.
func (d *deps) bind(f *pflag.FlagSet, keys map[string]string) {
	for key, flag := range keys {
		d.flags = append(d.flags, boundFlag{key, f.Lookup(flag)})
	}
}

func (d *deps) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&d.json, "json", false, "print JSON")
}

// quietFlag gives a command -q, with which it prints only these names.
func (d *deps) quietFlag(cmd *cobra.Command, names string) {
	cmd.Flags().BoolVarP(&d.quiet, "quiet", "q", false, "only print "+names+", warnings and errors")
}

// notes is where a command writes what people may want to know and nothing depends on:
// nowhere with --quiet.
func (d *deps) notes() io.Writer {
	if d.quiet {
		return io.Discard
	}
	return d.errOut
}

func (d *deps) load() error {
	var err error
	// A flag not given must not hide the environment and the file.
	set := map[string]*pflag.Flag{}
	for _, b := range d.flags {
		if b.flag.Changed {
			set[b.key] = b.flag
		}
	}
	loader := config.Loader{Skipped: func(err error) { d.warn(err.Error()) }}
	if os.Geteuid() == 0 {
		loader.Safe = safePath
	}
	if d.cfg, err = loader.Load(d.configFile, set); err != nil {
		return err
	}
	if err := d.cfg.CheckNames(metadata.CheckName); err != nil {
		return err
	}
	level, err := logrus.ParseLevel(d.cfg.LogLevel)
	d.log.SetLevel(level)
	d.logJSON()
	return err
}

// safePath is CheckSafe for what is no store.
func safePath(path string) error {
	err := metadata.CheckSafe(path)
	if errors.Is(err, metadata.ErrExposed) {
		return errors.New(strings.TrimPrefix(err.Error(), metadata.ErrExposed.Error()+": "))
	}
	return err
}

// warn says what the user should know and does not end the command.
func (d *deps) warn(text string) {
	if d.events != nil {
		d.log.Warn(text)
		return
	}
	fmt.Fprintf(d.errOut, "checkpointctl: warning: %s\n", text)
}

func (d *deps) docker() (*docker.Client, error) {
	return docker.New(d.cfg.Docker.Host, d.cfg.Docker.Timeout)
}

// container asks Docker for the container that the user named.
func (d *deps) container(ctx context.Context, ref string) (*docker.Client, docker.Container, error) {
	client, err := d.docker()
	if err != nil {
		return nil, docker.Container{}, err
	}
	c, err := client.Inspect(ctx, ref)
	return client, c, err
}

func (d *deps) store() metadata.Store { return metadata.Store{Dir: d.cfg.Dir, UsedBy: usedBy} }

func (d *deps) dumper() *criu.Dumper {
	return &criu.Dumper{Path: d.cfg.CRIU.Path, HangTimeout: d.cfg.CRIU.HangTimeout, Libexec: libexec()}
}

// libexec is the directory of the programs that this one needs, by where it is
// itself.
func libexec() string {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(self), "..", "libexec", "checkpointctl")
}

func (d *deps) restorer(ctx context.Context, client *docker.Client) (*restore.Restorer, error) {
	opener, err := d.opener(ctx)
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(d.cfg.CRIU.Path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", criu.ErrNoCRIU, err)
	}
	return &restore.Restorer{Docker: client, Store: d.store(), Opener: opener, CRIU: path, StandIn: d.standIn()}, nil
}

// standIn is the path of what runs in place of runc in a restore.
func (d *deps) standIn() string {
	return cmp.Or(d.cfg.Restore.Runtime, filepath.Join(libexec(), "checkpointctl-runtime"))
}

func (d *deps) policy() mounts.Policy {
	var p mounts.Policy
	for _, r := range d.cfg.Mounts.Rules {
		p.Rules = append(p.Rules, mounts.Rule{Path: r.Path, Type: r.Type, Action: mounts.Action(r.Action)})
	}
	return p
}

func (d *deps) requireRoot() error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	return nil
}

// storedName turns a name, an ID or an ID prefix into the name that the store
// uses. The container may be gone from Docker, and Docker may be down.
func (d *deps) storedName(ctx context.Context, ref string) (string, error) {
	if metadata.CheckName(ref) != nil {
		return "", metadata.CheckName(ref)
	}
	if err := d.store().CheckAccess(); err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(d.cfg.Dir, ref)); err == nil {
		return ref, nil
	}
	client, err := d.docker()
	if err != nil {
		return "", err
	}
	c, err := client.Inspect(ctx, ref)
	if err == nil {
		return c.Name, nil
	}
	if !errors.Is(err, docker.ErrNoSuchContainer) && !errors.Is(err, docker.ErrUnreachable) {
		return "", err
	}
	records, _ := d.store().List("")
	name := ""
	for _, r := range records {
		if strings.HasPrefix(r.ID, ref) {
			if name != "" && name != r.Name {
				return "", fmt.Errorf("%w: %s is not a unique prefix", docker.ErrNoSuchContainer, ref)
			}
			name = r.Name
		}
	}
	if name == "" {
		return "", err
	}
	return name, nil
}

// completeNames completes a container, then its checkpoints, or both in one word.
func (d *deps) completeNames(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if d.load() != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	container, _, joined := strings.Cut(word, "/")
	prefix := ""
	switch {
	case joined:
		prefix = container + "/"
	case len(args) > 0:
		container = args[0]
	}
	if joined || len(args) > 0 {
		list, _ := d.store().Summaries(container)
		var names []string
		for _, s := range list {
			names = append(names, prefix+s.Checkpoint)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	client, err := d.docker()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, _ := client.List(cmd.Context())
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeContainers completes any number of containers, each once.
func (d *deps) completeContainers(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	names, directive := d.completeNames(cmd, nil, word)
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), directive
}

// completeContainer completes the one argument of a command.
func (d *deps) completeContainer(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return d.completeNames(cmd, args, word)
}
