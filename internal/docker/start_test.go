package docker

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/network"
)

// forgetful is a daemon that cannot set up a network of its only container.
type forgetful struct {
	networks  string // of the container, as JSON
	forgets   bool
	noNetwork bool // it is gone
	taskLeft  int  // so many starts fail for a task that a killed shim left
	starts    int
	connected map[string]network.EndpointSettings
}

func (f *forgetful) client(t *testing.T) *Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.51") })
	mux.HandleFunc("GET /{v}/containers/web/json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"Id": "web", "Name": "/web", "State": {"Status": "exited"}, "NetworkSettings": {"Networks": %s}}`, f.networks)
	})
	mux.HandleFunc("POST /{v}/containers/web/start", func(w http.ResponseWriter, _ *http.Request) {
		f.starts++
		if f.taskLeft > 0 {
			if f.taskLeft--; f.taskLeft == 0 {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"message": "task web: already exists"}`)
			return
		}
		if f.forgets {
			f.networks = "{}"
		}
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, `{"message": "port 80 is taken"}`)
	})
	mux.HandleFunc("POST /{v}/networks/{name}/connect", func(w http.ResponseWriter, r *http.Request) {
		var c network.ConnectOptions
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil || c.Container != "web" || f.noNetwork {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message": "not found"}`)
			return
		}
		f.connected[r.PathValue("name")] = *c.EndpointConfig
	})
	f.connected = map[string]network.EndpointSettings{}
	return clientOf(t, mux)
}

// clientOf is one of a daemon that answers so.
func clientOf(t *testing.T, daemon http.Handler) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: daemon}}
	server.Start()
	t.Cleanup(server.Close)
	c, err := New("unix://"+socket, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What the daemon was asked before is not asked again.
func TestAskDaemon(t *testing.T) {
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.51") })
	mux.HandleFunc("GET /{v}/info", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"Driver": "overlay%d"}`, asked.Add(1))
	})
	c := clientOf(t, mux)
	daemon := func(want string) {
		t.Helper()
		if d, err := c.Daemon(t.Context()); err != nil || d.Driver != want {
			t.Errorf("%+v, %v, want %s", d, err, want)
		}
	}
	daemon("overlay1")
	daemon("overlay2")
	c.AskDaemon(t.Context())
	daemon("overlay3")
	daemon("overlay3")
}

func TestFailedStartKeepsTheNetworks(t *testing.T) {
	const networks = `{"shop": {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "Aliases": ["db"], "MacAddress": "02:42:00:00:00:09"}, "other": {}}`
	f := &forgetful{networks: networks, forgets: true}
	if err := f.client(t).Start(t.Context(), "web"); err == nil || !strings.Contains(err.Error(), "port 80 is taken") {
		t.Errorf("start: %v", err)
	}
	shop, ok := f.connected["shop"]
	if !ok || len(f.connected) != 2 || shop.IPAMConfig == nil || shop.IPAMConfig.IPv4Address != "10.1.0.9" || shop.Aliases[0] != "db" || shop.MacAddress != "02:42:00:00:00:09" {
		t.Errorf("connected: %+v", f.connected)
	}

	f = &forgetful{networks: networks}
	if err := f.client(t).Start(t.Context(), "web"); err == nil || len(f.connected) > 0 {
		t.Errorf("one that forgets nothing: %v, %+v", err, f.connected)
	}

	f = &forgetful{networks: networks, forgets: true, noNetwork: true}
	err := f.client(t).Start(t.Context(), "web")
	if err == nil || !strings.Contains(err.Error(), "docker has disconnected container web from network shop, and could not connect it again") {
		t.Errorf("a network that is gone: %v", err)
	}
}

// The task that a killed shim left is gone after some tries.
func TestStartAfterAKilledShim(t *testing.T) {
	f := &forgetful{networks: "{}", taskLeft: 3}
	if err := f.client(t).Start(t.Context(), "web"); err != nil || f.starts != 3 {
		t.Errorf("%d starts, %v", f.starts, err)
	}
	f = &forgetful{networks: "{}"}
	if err := f.client(t).Start(t.Context(), "web"); err == nil || f.starts != 1 {
		t.Errorf("%d starts, %v", f.starts, err)
	}
}
