//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// docker runs the docker program. What is asked often goes to the daemon
// without it (see daemon): where programs start slowly, that would be most of
// the suite's time.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// needs skips a test where another Docker than the host's is tested, in a root that
// does not have all programs.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil && os.Getenv("CHECKPOINTCTL_E2E_BINARY") != "" {
			t.Skip(err)
		}
	}
}

// dockerVersion is the first number of the daemon's version.
func dockerVersion(t *testing.T) (major int) {
	t.Helper()
	version := docker(t, "version", "-f", "{{.Server.Version}}")
	if _, err := fmt.Sscanf(version, "%d.", &major); err != nil {
		t.Fatalf("version %s: %v", version, err)
	}
	return major
}

// daemon lets f talk to the daemon of $DOCKER_HOST.
func (b *box) daemon(f func(context.Context, *client.Client) error) {
	b.t.Helper()
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err == nil {
		err = f(context.Background(), c)
		_ = c.Close()
	}
	if err != nil {
		b.t.Fatalf("%s: %v", b.name, err)
	}
}

func (b *box) inspect() (c container.InspectResponse) {
	b.t.Helper()
	b.daemon(func(ctx context.Context, cli *client.Client) (err error) {
		c, err = cli.ContainerInspect(ctx, b.name)
		return err
	})
	return c
}

// address is the container's, in its only network.
func (b *box) address() string {
	b.t.Helper()
	return b.endpoint().IPAddress
}

func (b *box) endpoint() *network.EndpointSettings {
	b.t.Helper()
	for _, n := range b.inspect().NetworkSettings.Networks {
		return n
	}
	return &network.EndpointSettings{}
}

// logs is what the container printed: all, or its last lines ("1").
func (b *box) logs(tail string) string {
	b.t.Helper()
	var out bytes.Buffer
	b.daemon(func(ctx context.Context, cli *client.Client) error {
		c, err := cli.ContainerInspect(ctx, b.name)
		if err != nil {
			return err
		}
		r, err := cli.ContainerLogs(ctx, b.name, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: tail})
		if err != nil {
			return err
		}
		defer r.Close()
		if c.Config.Tty {
			_, err = io.Copy(&out, r)
		} else {
			_, err = stdcopy.StdCopy(&out, &out, r)
		}
		return err
	})
	return strings.TrimSpace(out.String())
}

func (b *box) signal(name string) {
	b.t.Helper()
	b.daemon(func(ctx context.Context, cli *client.Client) error { return cli.ContainerKill(ctx, b.name, name) })
}

func (b *box) kill() {
	b.t.Helper()
	b.signal("KILL")
}

// remove is for the end of a test: what is not there is well.
func (b *box) remove() {
	if c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation()); err == nil {
		_ = c.ContainerRemove(context.Background(), b.name, container.RemoveOptions{Force: true, RemoveVolumes: true})
		_ = c.Close()
	}
}
