package script

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/storage"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/volume"
)

const version = "26.1.5"

// daemon is a fake dockerd on a socket of its own.
type daemon struct {
	host, root string
	server     *http.Server
	mu         sync.Mutex
	made       int // containers, ever
	runtimes   map[string]system.RuntimeWithStatus
	security   []string
	delay      time.Duration // before every answer
	garbage    bool          // answers that are no JSON
	huge       bool          // answers without end
	failing    string        // this container does not start, or "true": none
	noKill     string        // this one cannot be killed
	gate       string        // a start makes the file and waits until it is gone
	bypass     bool          // a start does not ask the stand-in
	broken     bool          // CRIU cannot restore
	intruder   string        // somebody else starts it: "early" when the info is asked, "late" with a start
	containers map[string]*box
}

// box is a container of the fake daemon.
type box struct {
	id, name, image, digest, runtime string
	restart, pidMode, state, driver  string
	labels                           map[string]string
	autoRemove                       bool
	volumes                          []container.MountPoint
	user, ip, network                string // ip: fixed
	caps                             []string
	started                          time.Time
	cmd                              *exec.Cmd
	done                             chan struct{} // closed when the process has ended
}

func startDaemon(root string) (*daemon, error) {
	dir, err := os.MkdirTemp("", "ckpt-docker-") // a socket's path must be short
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	d := &daemon{host: "unix://" + socket, root: root, containers: map[string]*box{}}
	d.runtimes = map[string]system.RuntimeWithStatus{
		"runc": {Runtime: system.Runtime{Path: d.standIn()}},
		"crun": {Runtime: system.Runtime{Path: "/usr/bin/crun"}},
		"shim": {Runtime: system.Runtime{Type: "io.containerd.runc.v2", Options: map[string]any{"BinaryName": "/opt/bin/crun"}}},
		"kata": {Runtime: system.Runtime{Type: "io.containerd.kata.v2"}},
	}
	if err := errors.Join(os.MkdirAll(root, 0o700), os.WriteFile(d.standIn(), nil, 0o700)); err != nil {
		return nil, err
	}
	d.server = &http.Server{Handler: d.handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = d.server.Serve(l) }()
	return d, nil
}

// standIn is the path of the runtime that a start asks. It is never run: the
// daemon does itself what it would.
func (d *daemon) standIn() string { return filepath.Join(d.root, "stand-in") }

func (d *daemon) stop() {
	_ = d.server.Close()
	for name := range d.containers {
		_ = d.kill(name)
	}
	_ = os.RemoveAll(filepath.Dir(strings.TrimPrefix(d.host, "unix://")))
}

func (d *daemon) set(pairs []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		var err error
		switch key {
		case "runtime":
			d.runtimes["runc"] = system.RuntimeWithStatus{Runtime: system.Runtime{Path: cmp.Or(value, d.standIn())}}
		case "security":
			d.security = strings.Fields(value)
		case "bypass":
			d.bypass = value == "true"
		case "broken":
			d.broken = value == "true"
		case "intruder":
			d.intruder = value
		case "delay":
			d.delay, err = time.ParseDuration(value)
		case "garbage":
			d.garbage = value == "true"
		case "huge":
			d.huge = value == "true"
		case "failing": // true, or the name of a container
			d.failing = value
		case "gate":
			d.gate = value
		case "no-kill":
			d.noKill = value
		default:
			err = fmt.Errorf("daemon has no %s", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *daemon) add(name string, pairs []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made++
	// All daemons share the directory of restores: an ID is of one script only.
	id := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %d", d.host, d.made)))
	b := &box{id: id, name: name, image: "app:1", digest: "sha256:app", runtime: "runc", driver: "overlay2", labels: map[string]string{}}
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		switch key {
		case "runtime":
			b.runtime = value
		case "image":
			b.image = value
		case "digest":
			b.digest = value
		case "restart":
			b.restart = value
		case "pid":
			b.pidMode = value
		case "state":
			b.state = value
		case "driver":
			b.driver = value
		case "label":
			k, v, _ := strings.Cut(value, ":")
			b.labels[k] = v
		case "rm":
			b.autoRemove = value == "true"
		case "user":
			b.user = value
		case "network":
			b.network = value
		case "ip":
			b.ip = value
		case "cap":
			b.caps = append(b.caps, value)
		case "volume": // NAME:SOURCE:DESTINATION
			v := strings.SplitN(value, ":", 3)
			b.volumes = append(b.volumes, container.MountPoint{Type: "volume", Driver: "local", Name: v[0], Source: v[1], Destination: v[2], RW: true})
		default:
			return fmt.Errorf("container has no %s", key)
		}
	}
	d.containers[name] = b
	return os.MkdirAll(filepath.Join(d.root, "merged", name+"-upper"), 0o700)
}

// start gives the container a process and waits until it is ready.
func (d *daemon) start(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.containers[name]
	root := filepath.Join(d.root, "merged", name)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	b.cmd = exec.Command("container", root)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID,
	}
	b.cmd.Stderr = os.Stderr
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	if err := b.enterCgroup(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("container says %q: %w", line, err)
	}
	b.done, b.started = make(chan struct{}), time.Now()
	go func() { _ = b.cmd.Wait(); close(b.done) }()
	return nil
}

func (b *box) running() bool {
	if b.done == nil {
		return false
	}
	select {
	case <-b.done:
		return false
	default:
		return true
	}
}

func (d *daemon) kill(name string) error {
	b := d.containers[name]
	if b == nil {
		return fmt.Errorf("no container %s", name)
	}
	if b.running() {
		_ = b.cmd.Process.Kill()
		<-b.done
	}
	if b.state == "paused" {
		b.state = ""
	}
	return b.leaveCgroup()
}

func (d *daemon) remove(name string) error {
	err := d.kill(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.containers, name)
	return err
}

func (d *daemon) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.45")
		_, _ = w.Write([]byte("OK"))
	})
	mux.HandleFunc("GET /{v}/info", func(w http.ResponseWriter, _ *http.Request) {
		if d.intruder == "early" {
			for name := range d.containers {
				_ = d.start(name)
			}
		}
		d.answer(w, system.Info{
			ServerVersion: version, DockerRootDir: d.root, Driver: "overlay2",
			CgroupVersion: "2", DefaultRuntime: "runc", Runtimes: d.runtimes, SecurityOptions: d.security,
		})
	})
	mux.HandleFunc("GET /{v}/version", func(w http.ResponseWriter, _ *http.Request) {
		d.answer(w, types.Version{Version: version, Components: []types.ComponentVersion{{Name: "runc", Version: "1.1.15"}}})
	})
	mux.HandleFunc("GET /{v}/containers/json", func(w http.ResponseWriter, _ *http.Request) {
		var list []container.Summary
		for name, b := range d.containers {
			list = append(list, container.Summary{ID: b.id, Names: []string{"/" + name}, Image: b.image, Labels: b.labels, State: d.inspect(b).State.Status, Mounts: b.volumes})
		}
		d.answer(w, list)
	})
	mux.HandleFunc("GET /{v}/containers/{ref}/json", func(w http.ResponseWriter, r *http.Request) {
		b := d.find(r.PathValue("ref"))
		if b == nil {
			refuse(w, http.StatusNotFound, "No such container: "+r.PathValue("ref"))
			return
		}
		d.answer(w, d.inspect(b))
	})
	mux.HandleFunc("GET /{v}/volumes/{name}", func(w http.ResponseWriter, r *http.Request) {
		v := volume.Volume{Name: r.PathValue("name"), Driver: "local"}
		if strings.HasPrefix(v.Name, "nfs") {
			v.Options = map[string]string{"type": "nfs"}
		}
		d.answer(w, v)
	})
	mux.HandleFunc("GET /{v}/images/get", func(w http.ResponseWriter, r *http.Request) {
		saveImage(w, r.URL.Query().Get("names"))
	})
	mux.HandleFunc("POST /{v}/images/load", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			refuse(w, http.StatusInternalServerError, err.Error())
			return
		}
		d.answer(w, map[string]string{"stream": "loaded"})
	})
	mux.HandleFunc("GET /{v}/images/{name}/json", func(w http.ResponseWriter, r *http.Request) {
		d.answer(w, image.InspectResponse{ID: r.PathValue("name"), RootFS: image.RootFS{Type: "layers", Layers: []string{"layers of " + r.PathValue("name")}}})
	})
	mux.HandleFunc("POST /{v}/containers/{ref}/start", d.postStart)
	mux.HandleFunc("POST /{v}/containers/{ref}/kill", d.postKill)
	mux.HandleFunc("POST /{v}/containers/{ref}/unpause", d.postUnpause)
	return mux
}

// find resolves a name, an ID or a unique prefix of one.
func (d *daemon) find(ref string) *box {
	if b := d.containers[ref]; b != nil {
		return b
	}
	var found *box
	for _, b := range d.containers {
		if strings.HasPrefix(b.id, ref) {
			if found != nil {
				return nil
			}
			found = b
		}
	}
	return found
}

func (d *daemon) inspect(b *box) container.InspectResponse {
	state := &container.State{Status: "exited"}
	if b.running() {
		state = &container.State{Status: "running", Running: true, Pid: b.cmd.Process.Pid, StartedAt: b.started.Format(time.RFC3339Nano)}
	}
	if b.state != "" && (b.running() || b.state != "paused") {
		state.Status = b.state
	}
	merged := filepath.Join(d.root, "merged", b.name)
	graph := storage.DriverData{Name: b.driver}
	if b.driver == "overlay2" {
		graph.Data = map[string]string{"MergedDir": merged, "UpperDir": merged + "-upper"}
	}
	return container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: b.id, Name: "/" + b.name, Image: b.digest, State: state,
			GraphDriver: graph,
			HostConfig: &container.HostConfig{
				Runtime: b.runtime, AutoRemove: b.autoRemove, PidMode: container.PidMode(b.pidMode),
				RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(b.restart)},
				CapAdd:        b.caps, NetworkMode: container.NetworkMode(b.network),
			},
		},
		Config: &container.Config{Image: b.image, Labels: b.labels, User: b.user, Hostname: b.id[:12]},
		Mounts: b.volumes,
		NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{
			"bridge": {
				IPAddress: cmp.Or(b.ip, "172.17.0.2"), MacAddress: "02:42:ac:11:00:02",
				IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: b.ip},
			},
		}},
	}
}

func (d *daemon) answer(w http.ResponseWriter, v any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	time.Sleep(d.delay)
	w.Header().Set("Content-Type", "application/json")
	if d.garbage {
		_, _ = w.Write([]byte(strconv.Quote("garbage") + "{"))
		return
	}
	if d.huge {
		_, _ = w.Write([]byte(`{"Id": "`))
		for chunk := bytes.Repeat([]byte("x"), 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return // hung up
			}
		}
	}
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}
