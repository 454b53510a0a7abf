// Package docker reads what Docker and /proc know of a container, and lets
// Docker start a container from a checkpoint.
package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
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
	ErrRunning         = errors.New("the container runs already")
)

// StateError is a container in a state in which the wanted is impossible.
type StateError struct{ Name, Is, Hint string }

func (e *StateError) Error() string { return fmt.Sprintf("container %s %s", e.Name, e.Is) }

// Client talks to one Docker daemon.
type Client struct {
	api     *client.Client
	timeout time.Duration // of a question; starting a container has none
	daemon  func() (Daemon, error)

	versionsMu sync.Mutex
	versions   Daemon // once Versions has been answered
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
	if host := api.DaemonHost(); !strings.HasPrefix(host, "unix:") {
		return nil, fmt.Errorf("%w: %s: CRIU must run on the daemon's own host: run checkpointctl there", ErrNotSetUp, host)
	}
	return &Client{api: api, timeout: timeout}, nil
}

// limit ends an answer that grows beyond all measure, which the SDK reads whole,
// and makes an error of one that says that nothing was done, which the SDK does
// not tell from success.
type limit struct{ http.RoundTripper }

const maxAnswer = 64 << 20

func (l limit) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotModified {
		return nil, errors.Join(ErrRunning, resp.Body.Close())
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

func (c *Client) inspect(ctx context.Context, ref string) (container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, err := c.api.ContainerInspect(ctx, ref)
	return r, translate(ref, err)
}

// inspectRaw returns Docker's answer as it is, too.
func (c *Client) inspectRaw(ctx context.Context, ref string) (container.InspectResponse, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	r, raw, err := c.api.ContainerInspectWithRaw(ctx, ref, false)
	return r, raw, translate(ref, err)
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
	Version, Runc, RootDir, Driver, DefaultRuntime string
	CgroupVersion, CgroupDriver                    string
	Runtimes                                       map[string]string // path or type, by name
	Rootless, UsernsRemap                          bool
	Seccomp, AppArmor                              bool // of containers by default
}

// WithRuntime returns the names of the containers, running or not, that were
// created with a runtime.
func (c *Client) WithRuntime(ctx context.Context, runtime string) ([]string, error) {
	list, err := c.List(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range list {
		r, err := c.inspect(ctx, l.ID)
		if errors.Is(err, ErrNoSuchContainer) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if r.HostConfig.Runtime == runtime {
			names = append(names, l.Name)
		}
	}
	return names, nil
}

// Socket is the path of the daemon's unix socket, empty if it has none.
func (c *Client) Socket() string {
	path, ok := strings.CutPrefix(c.api.DaemonHost(), "unix://")
	if !ok {
		return ""
	}
	return path
}

// SetRestartPolicy changes a container's restart policy, as docker update --restart
// does.
func (c *Client) SetRestartPolicy(ctx context.Context, id, policy string, maxRetries int) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	p := container.RestartPolicy{Name: container.RestartPolicyMode(policy), MaximumRetryCount: maxRetries}
	_, err := c.api.ContainerUpdate(ctx, id, container.UpdateConfig{RestartPolicy: p})
	return translate(id, err)
}

// AskDaemon begins to ask for what Daemon returns from then on. The daemon runs programs
// to answer, which take a while.
func (c *Client) AskDaemon(ctx context.Context) {
	c.daemon = sync.OnceValues(func() (Daemon, error) { return c.askDaemon(ctx) })
	go func() { _, _ = c.daemon() }()
}

// Daemon asks the daemon for all but Runc. ErrUnreachable is the error to expect.
func (c *Client) Daemon(ctx context.Context) (Daemon, error) {
	if c.daemon != nil {
		return c.daemon()
	}
	return c.askDaemon(ctx)
}

func (c *Client) askDaemon(ctx context.Context) (Daemon, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	i, err := c.api.Info(ctx)
	if err != nil {
		return Daemon{}, translate("", err)
	}
	d := Daemon{
		Version: i.ServerVersion, RootDir: i.DockerRootDir, Driver: i.Driver,
		CgroupVersion: i.CgroupVersion, CgroupDriver: i.CgroupDriver, DefaultRuntime: i.DefaultRuntime, Runtimes: map[string]string{},
	}
	for name, r := range i.Runtimes {
		binary, _ := r.Options["BinaryName"].(string)
		d.Runtimes[name] = cmp.Or(r.Path, binary, r.Type)
	}
	for _, option := range i.SecurityOptions {
		d.Rootless = d.Rootless || strings.HasPrefix(option, "name=rootless")
		d.UsernsRemap = d.UsernsRemap || strings.HasPrefix(option, "name=userns")
		d.Seccomp = d.Seccomp || strings.HasPrefix(option, "name=seccomp") && !strings.Contains(option, "profile=unconfined")
		d.AppArmor = d.AppArmor || strings.HasPrefix(option, "name=apparmor")
	}
	return d, nil
}

// Versions returns Version and Runc alone. It asks until it has been answered once: the
// daemon runs a program for each answer, and a batch has as many records as containers.
func (c *Client) Versions(ctx context.Context) (Daemon, error) {
	c.versionsMu.Lock()
	defer c.versionsMu.Unlock()
	if c.versions.Version != "" {
		return c.versions, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	v, err := c.api.ServerVersion(ctx)
	if err != nil {
		return Daemon{}, translate("", err)
	}
	c.versions.Version = v.Version
	for _, p := range v.Components {
		if p.Name == "runc" {
			c.versions.Runc = p.Version
		}
	}
	return c.versions, nil
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
