package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/config"
)

const (
	// pluginName is how the program is called as a plugin of docker, see
	// github.com/docker/cli/cli-plugins/manager.
	pluginName = "docker-checkpointctl"
	command    = "checkpointctl"
	// pluginMetadata is the only argument when docker asks what a plugin is.
	pluginMetadata = "docker-cli-plugin-metadata"
)

// asPlugin says whether docker called the program.
func asPlugin(program string) bool { return filepath.Base(program) == pluginName }

// metadata tells docker what the plugin is.
func (d *deps) metadata(description string) error {
	return json.NewEncoder(d.out).Encode(struct {
		SchemaVersion    string
		Vendor           string
		Version          string
		ShortDescription string
	}{"0.1.0", "checkpointctl", Version, description})
}

// pluginArgs translates the arguments that docker hands to a plugin, which are its
// own: global flags of docker, the name of the plugin, and the plugin's arguments.
// For a completion there is cobra's request for one before all.
func pluginArgs(args []string) ([]string, error) {
	request := []string{} // cobra takes nil for os.Args
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		request, args = args[:1:1], args[1:]
	}
	f := pflag.NewFlagSet("docker", pflag.ContinueOnError)
	f.SetInterspersed(false)
	f.Usage = func() {}
	hosts := f.StringArrayP("host", "H", nil, "")
	context := f.StringP("context", "c", "", "")
	debug := f.BoolP("debug", "D", false, "")
	level := f.StringP("log-level", "l", "", "")
	f.String("config", "", "") // docker's own files
	tls := f.Bool("tls", false, "")
	f.Bool("tlsverify", false, "")
	for _, name := range []string{"tlscacert", "tlscert", "tlskey"} {
		f.String(name, "", "")
	}
	if err := f.Parse(args); err != nil {
		return nil, fmt.Errorf("docker %w", err)
	}
	rest := f.Args()
	if len(rest) > 0 && rest[0] == "help" { // docker help checkpointctl
		request, rest = rest[:1:1], rest[1:]
	}
	if len(rest) == 0 || rest[0] != command {
		return nil, errors.New("run it as docker " + command)
	}
	var globals []string
	switch {
	case len(*hosts) > 1:
		return nil, fmt.Errorf("%w: docker --host is given twice", config.ErrInvalid)
	case *context != "" && *context != "default":
		return nil, fmt.Errorf("%w: docker --context: name the daemon's socket by --host instead", config.ErrInvalid)
	case *tls || f.Changed("tlsverify"):
		return nil, fmt.Errorf("%w: docker --tls: CRIU must run on the daemon's own host", config.ErrInvalid)
	case len(*hosts) == 1:
		globals = append(globals, "--docker-host", (*hosts)[0])
	}
	switch {
	case *debug:
		globals = append(globals, "--log-level", "debug")
	case *level != "":
		globals = append(globals, "--log-level", *level)
	}
	// Behind the command they would be words for cobra to complete, or behind a --.
	return append(append(request, globals...), rest[1:]...), nil
}
