package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

func TestShippedFileHoldsEveryDefault(t *testing.T) {
	shipped := viper.New()
	shipped.SetConfigFile("../../configs/checkpointctl.yaml")
	if err := shipped.ReadInConfig(); err != nil {
		t.Fatal(err)
	}
	defaults := viper.New()
	for key, value := range Defaults() {
		defaults.SetDefault(key, value)
		if got, want := shipped.GetString(key), defaults.GetString(key); got != want {
			t.Errorf("%s: file says %q, default is %q", key, got, want)
		}
		if !shipped.IsSet(key) {
			t.Errorf("%s: not in the file", key)
		}
	}
	for _, key := range shipped.AllKeys() {
		if _, ok := Defaults()[key]; !ok {
			t.Errorf("%s: in the file, but no setting", key)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := write(t, "dir: /file\ncriu: {path: /file/criu}\n")
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.String("dir", "", "")
	if err := flags.Parse([]string{"--dir=/flag"}); err != nil {
		t.Fatal(err)
	}
	set := map[string]*pflag.Flag{"dir": flags.Lookup("dir")}

	check := func(got Settings, err error, dir, criu string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if got.Dir != dir || got.CRIU.Path != criu {
			t.Errorf("dir %q criu %q, want %q %q", got.Dir, got.CRIU.Path, dir, criu)
		}
	}
	c, err := new(Loader).Load(write(t, ""), nil)
	check(c, err, "/var/lib/checkpointctl", "criu")
	c, err = new(Loader).Load(file, nil)
	check(c, err, "/file", "/file/criu")
	t.Setenv("CHECKPOINTCTL_DIR", "/env")
	t.Setenv("CHECKPOINTCTL_CRIU_PATH", "/env/criu")
	c, err = new(Loader).Load(file, nil)
	check(c, err, "/env", "/env/criu")
	c, err = new(Loader).Load(file, set)
	check(c, err, "/flag", "/env/criu")
}

func TestInvalid(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"not yaml":       {"dir: [", "yaml"},
		"misspelt key":   {"checkpoint: {leave_runing: false}", "leave_runing"},
		"empty dir":      {`dir: ""`, "dir"},
		"log level":      {"log_level: loud", "log_level"},
		"criu log level": {"criu: {log_level: 5}", "criu.log_level"},
		"cgroups mode":   {"checkpoint: {manage_cgroups_mode: hard}", "manage_cgroups_mode"},
		"network lock":   {"checkpoint: {network_lock: door}", "network_lock"},
		"ghost limit":    {"checkpoint: {ghost_limit: 8GiB}", "ghost_limit"},
		"duration":       {"docker: {timeout: soon}", "timeout"},
		"rule action":    {"mounts: {rules: [{path: /x, action: drop}]}", "mounts.rules[0].action"},
		"rule for all":   {"mounts: {rules: [{action: dump}]}", "mounts.rules[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := new(Loader).Load(write(t, test.text), nil)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want ErrInvalid about %q", err, test.want)
			}
		})
	}
	if _, err := new(Loader).Load(filepath.Join(t.TempDir(), "absent"), nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("absent file: got %v", err)
	}
}

func TestGhostLimit(t *testing.T) {
	c, err := new(Loader).Load(write(t, "checkpoint: {ghost_limit: 2MiB}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Checkpoint.GhostLimitBytes(); n != 2<<20 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	c.Checkpoint.GhostLimit = "auto"
	if n, err := c.Checkpoint.GhostLimitBytes(); n != 0 || err != nil {
		t.Errorf("auto: got %d, %v", n, err)
	}
}
