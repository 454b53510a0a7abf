package config

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"go.yaml.in/yaml/v3"
)

// Batch is what checkpoint --batch takes, and how.
type Batch struct {
	Name         string `mapstructure:"name"`
	Select       Select `mapstructure:"select"`
	NameTemplate string `mapstructure:"name_template"` // empty: the next free name
	Concurrency  int    `mapstructure:"concurrency"`   // 0: the number of CPUs
	Consistent   bool   `mapstructure:"consistent"`
	AllowEmpty   bool   `mapstructure:"allow_empty"`
	Keep         Prune  `mapstructure:"keep"`
	// Options override keys of checkpoint and pre_dump; Containers do so for
	// those whose name matches, in the order of the file.
	Options    map[string]any            `mapstructure:"options"`
	Containers map[string]map[string]any `mapstructure:"containers"`
	order      []string                  // of Containers
}

// Select says which running containers are meant; criteria of different kinds
// must all match.
type Select struct {
	All            bool     `mapstructure:"all"`
	Names          []string `mapstructure:"names"`
	Labels         []string `mapstructure:"labels"`
	ComposeProject string   `mapstructure:"compose_project"`
	Image          string   `mapstructure:"image"`
	Exclude        []string `mapstructure:"exclude"`
}

// readBatches decodes the list itself: viper would change the names of
// containers to lower case.
func readBatches(node *yaml.Node) ([]Batch, error) {
	var raw []any
	if node.Kind != yaml.SequenceNode || node.Decode(&raw) != nil {
		return nil, fmt.Errorf("%w: batches: want a list", ErrInvalid)
	}
	var out struct {
		Batches []Batch `mapstructure:"batches"`
	}
	if err := decode(map[string]any{"batches": raw}, &out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	for i := range out.Batches {
		if c := child(node.Content[i], "containers"); c != nil {
			for n := 0; n+1 < len(c.Content); n += 2 {
				out.Batches[i].order = append(out.Batches[i].order, c.Content[n].Value)
			}
		}
	}
	return out.Batches, nil
}

// decode is as forgiving about types as viper is.
func decode(from, to any) error {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: to, WeaklyTypedInput: true, DecodeHook: mapstructure.StringToTimeDurationHookFunc(),
	})
	if err != nil {
		return err
	}
	return d.Decode(from)
}

// child returns the value of a key in a mapping.
func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if strings.EqualFold(n.Content[i].Value, key) {
			return n.Content[i+1]
		}
	}
	return nil
}

// Batch returns the batch of this name.
func (c Config) Batch(name string) (Batch, error) {
	var names []string
	for _, b := range c.Batches {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	if names == nil {
		return Batch{}, fmt.Errorf("%w: no batch %q: the configuration has none", ErrInvalid, name)
	}
	return Batch{}, fmt.Errorf("%w: no batch %q: there is %s", ErrInvalid, name, strings.Join(names, ", "))
}

// For is the configuration for one container of a batch. What the environment
// or a flag says stands above what the batch says.
func (s Settings) For(b Batch, container string) Config {
	c := s.Config
	_ = s.override(&c, "", b.Options) // Validate has seen them
	for _, pattern := range b.order {
		if ok, _ := path.Match(pattern, container); ok {
			_ = s.override(&c, "", b.Containers[pattern])
		}
	}
	return c
}

// override sets keys of checkpoint and pre_dump; at is where they are written.
func (s Settings) override(c *Config, at string, options map[string]any) error {
	var errs []error
	for section, to := range map[string]any{"checkpoint": &c.Checkpoint, "pre_dump": &c.PreDump} {
		for name, values := range options {
			m, ok := values.(map[string]any)
			if !strings.EqualFold(name, section) || values == nil {
				continue
			}
			if !ok {
				errs = append(errs, fmt.Errorf("%w: %s.%s: want keys and values", ErrInvalid, at, section))
			}
			for key, value := range m {
				full := section + "." + strings.ToLower(key)
				if from := s.origins[full]; strings.HasPrefix(from, "--") || strings.HasPrefix(from, EnvPrefix) {
					continue
				}
				if err := decode(map[string]any{key: value}, to); err != nil {
					errs = append(errs, fmt.Errorf("%w: %s.%s: %w", ErrInvalid, at, full, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// CheckpointName makes the name of a checkpoint from the batch's template.
func (b Batch) CheckpointName(container string, at time.Time) (string, error) {
	t, err := template.New("").Parse(b.NameTemplate)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, struct{ Batch, Container, Time string }{b.Name, container, at.UTC().Format("20060102T150405Z")})
	return out.String(), err
}

// CheckNames refuses, by check, names of batches and of the checkpoints that
// their templates would make.
func (s Settings) CheckNames(check func(string) error) error {
	var errs []error
	for i, b := range s.Batches {
		at := fmt.Sprintf("batches[%d]", i)
		if err := check(b.Name); err != nil {
			errs = append(errs, fmt.Errorf("%s.name: %w", at, err))
		}
		if b.NameTemplate == "" {
			continue
		}
		name, err := b.CheckpointName("container", time.Now())
		if err == nil {
			err = check(name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s.name_template: %w", at, err))
		}
	}
	return s.locate(errors.Join(errs...))
}

// validateBatches says what is wrong with them; the rest is right.
func (s Settings) validateBatches() error {
	var errs []error
	seen := map[string]bool{}
	for i, b := range s.Batches {
		at := fmt.Sprintf("batches[%d]", i)
		no := func(key, format string, args ...any) {
			errs = append(errs, fmt.Errorf("%w: %s.%s: %s", ErrInvalid, at, key, fmt.Sprintf(format, args...)))
		}
		if seen[b.Name] {
			no("name", "%q is there twice", b.Name)
		}
		seen[b.Name] = true
		if !b.Select.any() {
			no("select", "needs all, names, labels, compose_project or image")
		}
		for key, patterns := range map[string][]string{
			"select.names": b.Select.Names, "select.exclude": b.Select.Exclude, "select.image": {b.Select.Image}, "containers": b.order,
		} {
			for _, p := range patterns {
				if _, err := path.Match(p, ""); err != nil {
					no(key, "%q is not a pattern", p)
				}
			}
		}
		if b.Concurrency < 0 {
			no("concurrency", "must not be below 0")
		}
		errs = append(errs, b.Keep.validate(at+".keep"))
		errs = append(errs, s.validateOptions(at+".options", b.Options))
		for _, name := range b.order {
			errs = append(errs, s.validateOptions(fmt.Sprintf("%s.containers[%s]", at, name), b.Containers[name]))
		}
	}
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (s Settings) validateOptions(at string, options map[string]any) error {
	c := s.Config
	s.origins = nil // wrong is wrong, also where a flag goes above it
	if err := s.override(&c, at, options); err != nil {
		return err
	}
	return errors.Join(c.Checkpoint.validate(at+".checkpoint"), c.PreDump.validate(at+".pre_dump"))
}

func (s Select) any() bool {
	return s.All || len(s.Names)+len(s.Labels) > 0 || s.ComposeProject != "" || s.Image != ""
}
