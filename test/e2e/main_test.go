//go:build e2e

// Package e2e drives the built checkpointctl against a real dockerd and CRIU.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/test/images"
)

// prefix begins the name of everything the suite makes in Docker.
var prefix = fmt.Sprintf("ckpt-e2e-%d-", os.Getpid())

// binary is the checkpointctl under test, baseImage and appsImage the images.
var binary, baseImage, appsImage string

// slow stretches every wait, for machines in emulation.
var slow = func() int {
	if n, err := strconv.Atoi(os.Getenv("CHECKPOINTCTL_E2E_SLOW")); err == nil {
		return n
	}
	return 1
}()

const runcConf = "/etc/criu/runc.conf"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// run never skips: a machine that cannot run the suite fails it.
func run(m *testing.M) (int, error) {
	if err := requirements(); err != nil {
		return 1, err
	}
	tmp, err := os.MkdirTemp("", "ckpt-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(tmp)
	if err := prepare(tmp); err != nil {
		return 1, err
	}
	if file := os.Getenv("CHECKPOINTCTL_E2E_SAVE_IMAGES"); file != "" {
		return 0, saveImages(file, tmp)
	}
	before, err := takeFootprint()
	if err != nil {
		return 1, err
	}
	code := m.Run()
	if err := checkFootprint(before); err != nil {
		return 1, err
	}
	return code, nil
}

// prepare builds what is tested and the images, unless it is told where they
// are: the VM has neither Go nor apt sources.
func prepare(tmp string) (err error) {
	if binary = os.Getenv("CHECKPOINTCTL_E2E_BINARY"); binary == "" {
		binary = filepath.Join(tmp, "bin", "checkpointctl")
		for _, line := range [][]string{
			{"go", "build", "-o", binary, "../../cmd/checkpointctl"},
			{"make", "-C", "../..", "tar", "runtime", "LIBEXEC=" + filepath.Join(tmp, "libexec", "checkpointctl")},
		} {
			cmd := exec.Command(line[0], line[1:]...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if text, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, text)
			}
		}
		// The test without root runs it as nobody.
		if err := os.Chmod(tmp, 0o755); err != nil {
			return err
		}
	}
	if names := givenImages(); names != nil {
		baseImage, appsImage = names[0], names[1]
		return nil
	}
	if baseImage, err = images.Base(".", tmp); err != nil {
		return fmt.Errorf("base image: %w", err)
	}
	if appsImage, err = images.Apps(".", tmp); err != nil {
		return fmt.Errorf("apps image: %w", err)
	}
	return nil
}

// givenImages returns the names that saveImages has written of the images that are
// there already, or nil.
func givenImages() []string {
	if names := strings.Fields(os.Getenv("CHECKPOINTCTL_E2E_IMAGES")); len(names) == 3 {
		return names
	}
	return nil
}

// saveImages writes the images, also the one of PostgreSQL, to a file, and their names
// beside it.
func saveImages(file, tmp string) error {
	postgresql, err := images.PostgreSQL(".", tmp)
	if err != nil {
		return fmt.Errorf("image of PostgreSQL: %w", err)
	}
	names := []string{baseImage, appsImage, postgresql}
	if out, err := exec.Command("docker", append([]string{"save", "-o", file}, names...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("docker save: %w: %s", err, out)
	}
	return os.WriteFile(file+".names", []byte(strings.Join(names, " ")+"\n"), 0o644)
}

func requirements() error {
	if os.Geteuid() != 0 {
		return errors.New("must run as root")
	}
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		return fmt.Errorf("docker is not reachable: %w: %s", err, out)
	}
	if out, err := exec.Command("criu", "check").CombinedOutput(); err != nil {
		return fmt.Errorf("criu check: %w: %s", err, out)
	}
	return nil
}

// footprint is what the host must look like after the suite as it did before.
type footprint struct {
	runcConf string
	rules    int
	restores string // what they leave while they run, or when they are killed
}

func takeFootprint() (footprint, error) {
	var f footprint
	data, err := os.ReadFile(runcConf)
	switch {
	case errors.Is(err, os.ErrNotExist):
		f.runcConf = "(absent)"
	case err != nil:
		return f, err
	default:
		f.runcConf = string(data)
	}
	// A new Docker network leaves chains, but no rules, behind.
	out, err := exec.Command("iptables-save").Output()
	if err != nil {
		return f, fmt.Errorf("iptables-save: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "-A ") {
			f.rules++
		}
	}
	for _, pattern := range []string{"/run/checkpointctl/restore/*/*", "/usr/local/sbin/runc"} {
		found, _ := filepath.Glob(pattern)
		f.restores += strings.Join(found, "\n")
	}
	return f, nil
}

func checkFootprint(before footprint) error {
	var errs []error
	for _, list := range [][]string{
		{"ps", "-a", "--format", "{{.Names}}"},
		{"network", "ls", "--format", "{{.Name}}"},
		{"volume", "ls", "--format", "{{.Name}}"},
	} {
		out, err := exec.Command("docker", list...).Output()
		if err != nil {
			return err
		}
		for _, name := range strings.Fields(string(out)) {
			if strings.HasPrefix(name, prefix) {
				errs = append(errs, fmt.Errorf("docker %s: %s is left over", list[0], name))
			}
		}
	}
	// The daemon takes a moment to remove the rules of the last container.
	var after footprint
	for range 20 * slow {
		var err error
		if after, err = takeFootprint(); err != nil {
			return err
		}
		if after == before {
			return errors.Join(errs...)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.Join(append(errs, fmt.Errorf("host changed: %+v, was %+v", after, before))...)
}
