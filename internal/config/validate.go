package config

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/sirupsen/logrus"
)

// Validate says which value is out of range.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, fmt.Errorf("%w: dir is empty", ErrInvalid))
	}
	if _, err := logrus.ParseLevel(c.LogLevel); err != nil {
		errs = append(errs, fmt.Errorf("%w: log_level: %w", ErrInvalid, err))
	}
	if c.CRIU.LogLevel < 0 || c.CRIU.LogLevel > 4 {
		errs = append(errs, fmt.Errorf("%w: criu.log_level: %d is not 0 to 4", ErrInvalid, c.CRIU.LogLevel))
	}
	if c.CRIU.HangTimeout < 0 {
		errs = append(errs, fmt.Errorf("%w: criu.hang_timeout: must not be below 0", ErrInvalid))
	}
	if c.Docker.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("%w: docker.timeout: must be above 0", ErrInvalid))
	}
	errs = append(errs, oneOf("log_format", c.LogFormat, LogText, LogJSON), c.Checkpoint.validate("checkpoint"), c.PreDump.validate("pre_dump"), c.Prune.validate("prune"),
		oneOf("restore.files", c.Restore.Files, "refuse", "keep", "rollback"))
	for i, r := range c.Mounts.Rules {
		errs = append(errs, oneOf(fmt.Sprintf("mounts.rules[%d].action", i), r.Action, "dump", "external", "refuse"))
		if _, err := path.Match(r.Path, ""); err != nil || r.Path == "" && r.Type == "" {
			errs = append(errs, fmt.Errorf("%w: mounts.rules[%d]: needs a path pattern or a type", ErrInvalid, i))
		}
	}
	return errors.Join(errs...)
}

func oneOf(key, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%w: %s: %q is not one of %s", ErrInvalid, key, value, strings.Join(allowed, ", "))
}

// The sections that a batch has, too, say by at where they are.

func (c Checkpoint) validate(at string) error {
	var ghost error
	if _, err := c.GhostLimitBytes(); err != nil {
		ghost = fmt.Errorf("%w: %s.ghost_limit: %w", ErrInvalid, at, err)
	}
	var volume error
	for _, v := range c.Volume {
		if name, ok := strings.CutSuffix(v, SkipVolume); !ok || name == "" {
			volume = fmt.Errorf("%w: %s.volume: %q is not NAME%s", ErrInvalid, at, v, SkipVolume)
		}
	}
	return errors.Join(ghost, volume,
		oneOf(at+".manage_cgroups_mode", c.ManageCgroupsMode, "ignore", "none", "props", "soft", "full", "strict"),
		oneOf(at+".network_lock", c.NetworkLock, "auto", "iptables", "nftables", "skip"),
		oneOf(at+".pre_dump", c.PreDump, "off", "on", "auto"),
		oneOf(at+".sync", c.Sync, SyncFull, SyncNone),
	)
}

func (p PreDump) validate(at string) error {
	errs := []error{oneOf(at+".mode", p.Mode, "splice", "read")}
	if p.MaxDowntime < 0 || p.MaxTime < 0 || p.MinPages < 0 {
		errs = append(errs, fmt.Errorf("%w: %s: max_downtime, max_time and min_pages must not be below 0", ErrInvalid, at))
	}
	if p.MinRounds < 1 || p.MaxRounds < p.MinRounds {
		errs = append(errs, fmt.Errorf("%w: %s: min_rounds %d and max_rounds %d are not 1 or more, in this order", ErrInvalid, at, p.MinRounds, p.MaxRounds))
	}
	return errors.Join(errs...)
}

func (p Prune) validate(at string) error {
	var errs []error
	if min(p.KeepLast, p.KeepHourly, p.KeepDaily, p.KeepWeekly) < 0 || p.KeepWithin < 0 {
		errs = append(errs, fmt.Errorf("%w: %s: keep rules must not be below 0", ErrInvalid, at))
	}
	if n, err := units.RAMInBytes(p.MaxSize); p.MaxSize != "" && (err != nil || n <= 0) {
		errs = append(errs, fmt.Errorf("%w: %s.max_size: %q is not a size", ErrInvalid, at, p.MaxSize))
	}
	return errors.Join(errs...)
}

// GhostLimitBytes is ghost_limit as CRIU takes it; 0 for auto.
func (c Checkpoint) GhostLimitBytes() (uint32, error) {
	if c.GhostLimit == "auto" {
		return 0, nil
	}
	n, err := units.RAMInBytes(c.GhostLimit)
	if err != nil {
		return 0, err
	}
	if n < 0 || n > 1<<32-1 {
		return 0, fmt.Errorf("%s does not fit in 32 bits", c.GhostLimit)
	}
	return uint32(n), nil
}
