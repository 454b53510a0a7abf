package criu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	gocriu "github.com/checkpoint-restore/go-criu/v7"
)

// Errors of a CRIU that cannot be used.
var (
	ErrNoCRIU = errors.New("criu is not usable")
	ErrTooOld = errors.New("criu is too old")
	// ErrNoDirtyTracking: no pre-dump on this kernel.
	ErrNoDirtyTracking = errors.New("the kernel cannot track dirty memory (no soft-dirty bit, CONFIG_MEM_SOFT_DIRTY)")
)

// MinVersion is the oldest CRIU taken: Debian 12's. It knows network-lock and
// every option used here.
const MinVersion = 31700

// Version is major*10000 + minor*100 + sublevel.
type Version int

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100) }

// NoTCP says whether this CRIU fails on every TCP socket of a Linux release:
// from 6.16 on SO_PASSCRED is for unix sockets only, and CRIU before 4.2 asks
// all sockets for it.
func (v Version) NoTCP(kernel string) bool {
	var major, minor int
	_, err := fmt.Sscanf(kernel, "%d.%d", &major, &minor)
	return err == nil && v < 40200 && (major > 6 || major == 6 && minor >= 16)
}

// Version asks the binary, once, if d.Memory does not know it. Errors are
// ErrNoCRIU and ErrTooOld.
func (d *Dumper) Version() (Version, error) {
	d.once.Do(func() {
		binary := identity(d.Path)
		if d.version = d.recall(binary); d.version != 0 {
			return
		}
		if d.version, d.err = d.askVersion(); d.err == nil {
			d.remember(binary, d.version)
		}
	})
	return d.version, d.err
}

func (d *Dumper) askVersion() (Version, error) {
	c := gocriu.MakeCriu()
	c.SetCriuPath(d.Path)
	d.starts.Lock()
	err := c.Prepare()
	d.starts.Unlock()
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrNoCRIU, d.Path, err)
	}
	n, err := c.GetCriuVersion()
	err = errors.Join(err, c.Cleanup())
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrNoCRIU, d.Path, err)
	}
	if n < MinVersion {
		return Version(n), fmt.Errorf("%w: %s is %s, need %s", ErrTooOld, d.Path, Version(n), Version(MinVersion))
	}
	return Version(n), nil
}

// DirtyTracking returns ErrNoDirtyTracking where pre-dumps cannot work. It asks
// the binary once.
func (d *Dumper) DirtyTracking(ctx context.Context) error {
	d.trackingOnce.Do(func() {
		if err := d.Check(ctx, "mem_dirty_track"); err != nil {
			d.trackingErr = fmt.Errorf("%w: %w", ErrNoDirtyTracking, err)
		}
	})
	return d.trackingErr
}

// Check runs `criu check`, for one feature unless it is empty, and returns
// what CRIU says against it. go-criu's FeatureCheck (v7.2.0) hands back the
// request instead of CRIU's answer.
func (d *Dumper) Check(ctx context.Context, feature string) error {
	args := []string{"check"}
	if feature != "" {
		args = append(args, "--feature", feature)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, d.Path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	d.starts.Lock()
	err := cmd.Start()
	d.starts.Unlock()
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(out.String()); text != "" {
		lines := strings.Split(text, "\n")
		return errors.New(lines[len(lines)-1])
	}
	return err
}
