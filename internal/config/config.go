// Package config holds the settings of checkpointctl: defaults, a YAML file,
// the environment and flags, in rising order of precedence.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// EnvPrefix begins the name of every environment variable; dots of a key
// become underscores: CHECKPOINTCTL_CRIU_PATH.
const EnvPrefix = "CHECKPOINTCTL"

// Config is every setting.
type Config struct {
	Dir        string     `mapstructure:"dir"`
	LogLevel   string     `mapstructure:"log_level"`
	LogFormat  string     `mapstructure:"log_format"` // LogText or LogJSON
	Docker     Docker     `mapstructure:"docker"`
	CRIU       CRIU       `mapstructure:"criu"`
	Checkpoint Checkpoint `mapstructure:"checkpoint"`
	Restore    Restore    `mapstructure:"restore"`
	PreDump    PreDump    `mapstructure:"pre_dump"`
	Park       Park       `mapstructure:"park"`
	Prune      Prune      `mapstructure:"prune"`
	Encrypt    Encrypt    `mapstructure:"encrypt"`
	Metrics    Metrics    `mapstructure:"metrics"`
	Mounts     Mounts     `mapstructure:"mounts"`
	Batches    []Batch    `mapstructure:"-"` // see readBatches
}

// What messages look like.
const (
	LogText = "text"
	LogJSON = "json"
)

// Docker is how the daemon is reached.
type Docker struct {
	Host    string        `mapstructure:"host"`
	Timeout time.Duration `mapstructure:"timeout"`
}

// CRIU is how the binary is found and run.
type CRIU struct {
	Path        string        `mapstructure:"path"`
	Config      string        `mapstructure:"config"`
	LogLevel    int           `mapstructure:"log_level"`
	Timeout     time.Duration `mapstructure:"timeout"`
	HangTimeout time.Duration `mapstructure:"hang_timeout"`
}

// Checkpoint are the options of a dump, named as CRIU's flags.
type Checkpoint struct {
	LeaveRunning      bool   `mapstructure:"leave_running"`
	TCPEstablished    bool   `mapstructure:"tcp_established"`
	FileLocks         bool   `mapstructure:"file_locks"`
	ShellJob          bool   `mapstructure:"shell_job"`
	ExtUnixSk         bool   `mapstructure:"ext_unix_sk"`
	LinkRemap         bool   `mapstructure:"link_remap"`
	GhostLimit        string `mapstructure:"ghost_limit"`
	ManageCgroupsMode string `mapstructure:"manage_cgroups_mode"`
	NetworkLock       string `mapstructure:"network_lock"`
	PreDump           string `mapstructure:"pre_dump"` // off, on or auto
	Sync              string `mapstructure:"sync"`     // SyncFull or SyncNone
	// RootFS takes the writable layer, Volumes those volumes, or all; Volume has
	// NAME=skip of those to leave out.
	RootFS  bool     `mapstructure:"rootfs"`
	Volumes []string `mapstructure:"volumes"`
	Volume  []string `mapstructure:"volume"`
}

// Whether a checkpoint is on the disk when a command says that it is made.
const (
	SyncFull = "full"
	SyncNone = "none"
)

// SkipVolume ends an element of Checkpoint.Volume.
const SkipVolume = "=skip"

// PreDump says how rounds are made and when they end.
type PreDump struct {
	MaxDowntime time.Duration `mapstructure:"max_downtime"`
	MinRounds   int           `mapstructure:"min_rounds"`
	MaxRounds   int           `mapstructure:"max_rounds"`
	MaxTime     time.Duration `mapstructure:"max_time"`
	MinPages    int           `mapstructure:"min_pages"`
	Mode        string        `mapstructure:"mode"`
	AutoDedup   bool          `mapstructure:"auto_dedup"`
}

// Restore says how a checkpoint is brought back.
type Restore struct {
	Files string `mapstructure:"files"` // refuse, keep or rollback
	// Runtime is the path of checkpointctl-runtime, empty for the one that was
	// installed with this program.
	Runtime string `mapstructure:"runtime"`
}

// Park says which containers are parked, and in which order they are restored.
type Park struct {
	Label string   `mapstructure:"label"` // KEY or KEY=VALUE, empty for none
	Order []string `mapstructure:"order"` // names of containers, which are parked, too
}

// Prune are the keep rules of prune; zero is no rule.
type Prune struct {
	KeepLast   int           `mapstructure:"keep_last"`
	KeepHourly int           `mapstructure:"keep_hourly"`
	KeepDaily  int           `mapstructure:"keep_daily"`
	KeepWeekly int           `mapstructure:"keep_weekly"`
	KeepWithin time.Duration `mapstructure:"keep_within"`
	MaxSize    string        `mapstructure:"max_size"`
}

// Encrypt is to whom checkpoints are encrypted, and what opens them.
type Encrypt struct {
	To             []string `mapstructure:"to"`
	Identity       string   `mapstructure:"identity"`
	PassphraseFile string   `mapstructure:"passphrase_file"`
	Stage          string   `mapstructure:"stage"`
}

// Metrics is where metrics are kept, empty for nowhere.
type Metrics struct {
	File string `mapstructure:"file"`
}

// Mounts overrides the mount policy.
type Mounts struct {
	Rules []Rule `mapstructure:"rules"`
}

// Rule matches mounts by path pattern and filesystem type.
type Rule struct {
	Path   string `mapstructure:"path"`
	Type   string `mapstructure:"type"`
	Action string `mapstructure:"action"`
}

// Defaults returns every key with its default.
func Defaults() map[string]any {
	return map[string]any{
		"dir": "/var/lib/checkpointctl", "log_level": "warning", "log_format": LogText,
		"docker.host": "", "docker.timeout": "30s",
		"criu.path": "criu", "criu.config": "", "criu.log_level": 4, "criu.timeout": "0s", "criu.hang_timeout": "2m",
		"checkpoint.leave_running": true, "checkpoint.tcp_established": true, "checkpoint.file_locks": true,
		"checkpoint.shell_job": false, "checkpoint.ext_unix_sk": false, "checkpoint.link_remap": false,
		"checkpoint.ghost_limit": "auto", "checkpoint.manage_cgroups_mode": "soft", "checkpoint.network_lock": "auto",
		"checkpoint.pre_dump": "off", "checkpoint.sync": SyncFull, "checkpoint.rootfs": true, "checkpoint.volumes": []any{}, "checkpoint.volume": []any{},
		"pre_dump.max_downtime": "0s", "pre_dump.min_rounds": 1, "pre_dump.max_rounds": 8, "pre_dump.max_time": "5m", "pre_dump.min_pages": 64,
		"pre_dump.mode": "splice", "pre_dump.auto_dedup": true,
		"restore.files": "refuse", "restore.runtime": "",
		"park.label": "checkpointctl.park", "park.order": []any{},
		"prune.keep_last": 0, "prune.keep_hourly": 0, "prune.keep_daily": 0, "prune.keep_weekly": 0,
		"prune.keep_within": "0s", "prune.max_size": "",
		"encrypt.to": []any{}, "encrypt.identity": "", "encrypt.passphrase_file": "", "encrypt.stage": "",
		"metrics.file": "", "mounts.rules": []any{}, "batches": []any{},
	}
}

// ErrInvalid is a file, variable or flag that cannot be used.
var ErrInvalid = errors.New("invalid configuration")

// Settings are a Config and where its values came from.
type Settings struct {
	Config
	values  *viper.Viper
	batches any // as they are in the file
	origins map[string]string
}

// Loader loads settings.
type Loader struct {
	// Safe, if set, returns why a path is not to be trusted; for files that the user
	// did not name.
	Safe func(path string) error
	// Skipped, if set, hears of files that were found and are not trusted.
	Skipped func(error)
}

// Load reads file, or the first that is found (see find), the environment, and
// the flags given by key. Every error is ErrInvalid and names the place.
func (l Loader) Load(file string, flags map[string]*pflag.Flag) (Settings, error) {
	s := Settings{values: viper.New(), origins: map[string]string{}}
	v := s.values
	v.SetEnvPrefix(EnvPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	v.AutomaticEnv()
	var text []byte
	var err error
	if file == "" {
		file, text = l.find()
	} else if text, err = readNamed(file); err != nil {
		return s, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if file != "" {
		root, lines, err := parseLines(file, text)
		if err != nil {
			return s, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		for key, line := range lines {
			s.origins[key] = fmt.Sprintf("%s:%d", file, line)
		}
		if node := child(root, "batches"); node != nil {
			if s.Batches, err = readBatches(node); err != nil {
				return s, s.locate(err)
			}
			_ = node.Decode(&s.batches)
		}
		v.SetConfigType("yaml")
		if err := v.ReadConfig(bytes.NewReader(text)); err != nil {
			return s, fmt.Errorf("%w: %s: %w", ErrInvalid, file, err)
		}
	}
	for key, value := range Defaults() {
		v.SetDefault(key, value)
		// viper takes an empty variable for an unset one.
		if name := EnvPrefix + "_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_")); os.Getenv(name) != "" {
			s.origins[key] = name
		}
	}
	for key, f := range flags {
		if err := v.BindPFlag(key, f); err != nil {
			return s, fmt.Errorf("%w: --%s: %w", ErrInvalid, f.Name, err)
		}
		s.origins[key] = "--" + f.Name
	}
	all := struct {
		*Config `mapstructure:",squash"`
		Batches any `mapstructure:"batches"`
	}{Config: &s.Config}
	err = v.UnmarshalExact(&all)
	if err == nil {
		err = s.Validate()
	}
	if err == nil {
		err = s.validateBatches()
	}
	return s, s.locate(err)
}

// locate adds to an error where the values it names came from.
func (s Settings) locate(err error) error {
	if err == nil {
		return nil
	}
	var from []string
	for key, origin := range s.origins {
		_, isSetting := Defaults()[key]
		if (isSetting || strings.Contains(key, "[")) && mentions(err.Error(), key) {
			from = append(from, fmt.Sprintf("%s is from %s", key, origin))
		}
	}
	slices.Sort(from)
	if from != nil {
		err = fmt.Errorf("%w (%s)", err, strings.Join(from, ", "))
	}
	if !errors.Is(err, ErrInvalid) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// mentions says whether a text has the key, and not only a longer one.
func mentions(text, key string) bool {
	for {
		_, rest, found := strings.Cut(text, key)
		if !found {
			return false
		}
		if rest == "" || !strings.ContainsAny(rest[:1], "abcdefghijklmnopqrstuvwxyz_.[") {
			return true
		}
		text = rest
	}
}

// Setting is one key with its effective value.
type Setting struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	From  string `json:"from"` // flag, variable, file and line, or default
}

// Given says whether a setting comes from the user: a flag, the environment or the
// file.
func (s Settings) Given(key string) bool { return s.origins[key] != "" }

// List returns every setting, sorted by key.
func (s Settings) List() []Setting {
	var list []Setting
	for _, key := range slices.Sorted(maps.Keys(Defaults())) {
		from := s.origins[key]
		if from == "" {
			from = "default"
		}
		value := s.values.Get(key)
		if key == "batches" && s.batches != nil {
			value = s.batches
		}
		list = append(list, Setting{Key: key, Value: value, From: from})
	}
	return list
}
