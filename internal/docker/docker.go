// Package docker reads what Docker and /proc know of a container, and lets
// Docker start a container from a checkpoint.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
)

// Errors that callers tell apart.
var (
	ErrUnreachable     = errors.New("docker is not reachable")
	ErrNoSuchContainer = errors.New("no such container")
	ErrNotSetUp        = errors.New("docker is not set up for checkpoints")
)

// StateError is a container in a state in which the wanted is impossible.
type StateError struct{ Name, Is, Hint string }

func (e *StateError) Error() string { return fmt.Sprintf("container %s %s", e.Name, e.Is) }

// Client talks to one Docker daemon.
type Client struct {
	api     *client.Client
	timeout time.Duration // of a question; starting a container has none
}

// New connects to host, or where DOCKER_HOST and Docker's default say. It
// does not talk to the daemon yet.
func New(host string, timeout time.Duration) (*Client, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host != "" {
		opts = append(opts, client.WithHost(host))
	}
	api, err := client.NewClientWithOpts(opts...)
	if err == nil {
		limited := &http.Client{Transport: limit{api.HTTPClient().Transport}}
		api, err = client.NewClientWithOpts(append(opts, client.WithHTTPClient(limited))...)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if strings.HasPrefix(api.DaemonHost(), "tcp:") {
		return nil, fmt.Errorf("%w: %s: CRIU must run on the daemon's own machine", ErrNotSetUp, api.DaemonHost())
	}
	return &Client{api: api, timeout: timeout}, nil
}

// limit ends an answer that grows beyond all measure: the SDK reads it whole.
type limit struct{ http.RoundTripper }

const maxAnswer = 64 << 20

func (l limit) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

func (c *Client) inspect(ctx context.Context, ref string) (container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, err := c.api.ContainerInspect(ctx, ref)
	return r, translate(ref, err)
}

func translate(ref string, err error) error {
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: %s", ErrNoSuchContainer, ref)
	case client.IsErrConnectionFailed(err), errors.Is(err, os.ErrPermission), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	default:
		return err
	}
}

// Daemon is what the daemon says of itself.
type Daemon struct {
	Version, Runc, RootDir, Driver, CgroupVersion, DefaultRuntime string
	Experimental                                                  bool
}

// Daemon asks the daemon. ErrUnreachable is the error to expect.
func (c *Client) Daemon(ctx context.Context) (Daemon, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	i, err := c.api.Info(ctx)
	if err != nil {
		return Daemon{}, translate("", err)
	}
	d := Daemon{
		Version: i.ServerVersion, RootDir: i.DockerRootDir, Driver: i.Driver,
		CgroupVersion: i.CgroupVersion, DefaultRuntime: i.DefaultRuntime, Experimental: i.ExperimentalBuild,
	}
	v, err := c.Versions(ctx)
	d.Runc = v.Runc
	return d, err
}

// Versions asks for Version and Runc alone, which is quicker.
func (c *Client) Versions(ctx context.Context) (Daemon, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	v, err := c.api.ServerVersion(ctx)
	d := Daemon{Version: v.Version}
	for _, p := range v.Components {
		if p.Name == "runc" {
			d.Runc = p.Version
		}
	}
	return d, translate("", err)
}

// Listed is what Docker's list says of a container.
type Listed struct {
	ID, Name, Image, State string
	Labels                 map[string]string
	Volumes                []string // names, of anonymous ones too
}

// List returns all containers, running or not, by name.
func (c *Client) List(ctx context.Context) ([]Listed, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	found, err := c.api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, translate("", err)
	}
	var list []Listed
	for _, s := range found {
		if len(s.Names) == 0 {
			continue // being removed
		}
		// A link to the container from another one is listed as OTHER/ALIAS.
		slices.SortFunc(s.Names, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
		l := Listed{ID: s.ID, Name: strings.TrimPrefix(s.Names[0], "/"), Image: s.Image, State: s.State, Labels: s.Labels}
		for _, m := range s.Mounts {
			if m.Type == mount.TypeVolume {
				l.Volumes = append(l.Volumes, m.Name)
			}
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// RestoreBroken says whether a Docker version cannot start a checkpoint of a
// container with a network namespace of its own: it sets the namespace up by
// the pid of a task that is not there yet (https://github.com/moby/moby/issues/50750).
func RestoreBroken(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 28 || version == "26.0.0"
}
