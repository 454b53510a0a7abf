package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

// criuConfig is the annotation that names a CRIU configuration file to runc,
// instead of /etc/criu/runc.conf.
const criuConfig = "org.criu.config"

const (
	runcConf = "/etc/criu/runc.conf"
	specFile = "config.json" // of a bundle
)

type hook struct {
	Path string   `json:"path"`
	Args []string `json:"args"`
}

// readSpec reads a bundle's config.json.
func readSpec(bundle string, into any) error {
	data, err := os.ReadFile(filepath.Join(bundle, specFile))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// prepareBundle writes our hooks and our CRIU configuration into the bundle's
// config.json. Docker makes a new bundle for each start.
func prepareBundle(bundle, id string, control runtime.Control, req runtime.Request) error {
	file := filepath.Join(bundle, specFile)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	spec := map[string]json.RawMessage{} // what is not ours stays to the letter
	hooks := map[string][]json.RawMessage{}
	annotations := map[string]string{}
	if err := readSpec(bundle, &spec); err != nil {
		return err
	}
	if spec == nil {
		return fmt.Errorf("%s holds no object", file)
	}
	for key, into := range map[string]any{"hooks": &hooks, "annotations": &annotations} {
		if spec[key] == nil || string(spec[key]) == "null" {
			continue
		}
		if err := json.Unmarshal(spec[key], into); err != nil {
			return err
		}
	}
	ask := func(message string) json.RawMessage {
		h, _ := json.Marshal(hook{self, []string{filepath.Base(self), hookCommand, id, message}})
		return h
	}
	// Docker up to 25, 26.1 and 27 learn the network namespace from a hook of
	// their own: what arrives in it is dropped before that one, and Docker must
	// have connected the network after it.
	hooks["prestart"] = append([]json.RawMessage{ask(runtime.Namespaces)}, hooks["prestart"]...)
	hooks["createRuntime"] = append(hooks["createRuntime"], ask(runtime.Connect))
	given, ok := annotations[criuConfig]
	if !ok {
		given = runcConf
	}
	if annotations[criuConfig], err = writeConfig(given, control, req.CRIUConfig); err != nil {
		return err
	}
	for key, from := range map[string]any{"hooks": hooks, "annotations": annotations} {
		if spec[key], err = json.Marshal(from); err != nil {
			return err
		}
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// writeConfig writes the lines behind those that the administrator has for this
// container, or for all. An empty annotation says that there is no such file.
func writeConfig(given string, control runtime.Control, lines []string) (string, error) {
	var text []byte
	if given != "" {
		var err error
		if text, err = os.ReadFile(given); err != nil && !os.IsNotExist(err) {
			return "", err
		}
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	for _, line := range lines {
		text = append(text, strings.TrimSpace(line)+"\n"...)
	}
	path := control.Path(runtime.CRIUConfig)
	return path, os.WriteFile(path, text, 0o600)
}
