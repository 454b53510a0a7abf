package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	fake "github.com/google/go-containerregistry/pkg/registry"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// server is a registry in memory that notes what it is asked.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	puts int // blobs that were sent
	gets int // blobs that were fetched
	// meddle, if set, answers instead.
	meddle func(http.ResponseWriter, *http.Request) bool
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{}
	inner := fake.New(fake.Logger(log.New(io.Discard, "", 0)), fake.WithReferrersSupport(true))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		meddle := s.meddle
		switch {
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/"):
			s.puts++
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/"):
			s.gets++
		}
		s.mu.Unlock()
		if meddle == nil || !meddle(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) set(meddle func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meddle, s.puts, s.gets = meddle, 0, 0
}

func (s *server) open(t *testing.T, name string) *Remote {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	r, err := Open(strings.TrimPrefix(s.URL, "http://")+"/"+name, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func store(t *testing.T) metadata.Store {
	t.Helper()
	return metadata.Store{Dir: filepath.Join(t.TempDir(), "store")}
}

func publish(t *testing.T, s metadata.Store, checkpoint string, files map[string]string) metadata.Record {
	t.Helper()
	r := metadata.Record{SchemaVersion: metadata.SchemaVersion, Checkpoint: checkpoint, Kind: metadata.KindCheckpoint, Architecture: "amd64"}
	r.Name, r.ID, r.Image, r.Runtime, r.Versions.Kernel = "web", id, "app:1", "runc", "6.1"
	r.Timestamp = time.Date(2026, 11, 1, 12, 0, 0, 5, time.UTC)
	unlock, err := s.Lock(r.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	d, err := s.Begin(r.Name, r.Checkpoint)
	for name, data := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(d.Dir, name), []byte(data), 0o600))
	}
	if err == nil {
		r.Files, r.SizeBytes, err = d.Sum()
	}
	if err == nil {
		err = d.Publish(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// files are small ones, and two that have pieces of their own.
func files(memory string) map[string]string {
	return map[string]string{"core-1.img": "core", "pages-1.img": strings.Repeat(memory, 100<<10), "rootfs.tar": strings.Repeat("layer", 20<<10), "dump.log": "log"}
}

func push(t *testing.T, r *Remote, s metadata.Store, rec metadata.Record) Pushed {
	t.Helper()
	done, err := r.Push(context.Background(), Push{Export: archive.Export{Store: s}}, rec)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func pull(r *Remote, s metadata.Store) (metadata.Record, error) {
	return r.Pull(context.Background(), archive.Import{Store: s, MaxBytes: 1 << 30}, nil)
}

// empty fails if something of a transfer is left.
func empty(t *testing.T, s metadata.Store) {
	t.Helper()
	if list := s.AbandonedTransfers(); list != nil {
		t.Errorf("left over: %v", list)
	}
}

func TestThereAndBack(t *testing.T) {
	srv, from, to := serve(t), store(t), store(t)
	rec := publish(t, from, "x", files("m"))
	r := srv.open(t, "apps/web:v1")
	var done, total int64
	p, err := r.Push(context.Background(), Push{Export: archive.Export{Store: from}, Progress: func(d, n int64) { done, total = d, n }}, rec)
	if err != nil {
		t.Fatal(err)
	}
	// Headers and small files, pages, headers, the layer, the end, and the config.
	if p.Blobs != 6 || p.SentBlobs != 6 || done != total || total < 200<<10 {
		t.Errorf("pushed %+v, %d of %d", p, done, total)
	}
	for _, name := range []string{"apps/web:v1", "apps/web@" + p.Digest} {
		got, err := pull(srv.open(t, name), to)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if problems := to.Verify(got, metadata.Hashes); problems != nil || got.Imported == nil || got.Name != "web" || got.Checkpoint != "x" {
			t.Errorf("%s: %v, %+v", name, problems, got.Imported)
		}
		if err := to.Remove("web", "x"); err != nil {
			t.Fatal(err)
		}
	}
	empty(t, from)
	empty(t, to)
	if _, err := pull(srv.open(t, "apps/web"), to); !errors.Is(err, ErrNotFound) {
		t.Errorf("another tag: %v", err)
	}
	if _, err := srv.open(t, "apps/web@"+p.Digest).Push(context.Background(), Push{Export: archive.Export{Store: from}}, rec); !errors.Is(err, ErrBadReference) {
		t.Errorf("push to a digest: %v", err)
	}
}

// Another checkpoint with the same files sends its own headers alone.
func TestWhatIsThereIsNotSent(t *testing.T) {
	srv, s := serve(t), store(t)
	r := srv.open(t, "web")
	if first := push(t, r, s, publish(t, s, "x", files("m"))); first.SentBlobs != first.Blobs {
		t.Fatalf("first: %+v", first)
	}
	second := push(t, r, s, publish(t, s, "y", files("n")))
	same := push(t, r, s, publish(t, s, "z", files("m")))
	// What follows the large files are zeros and the tar's end.
	if second.SentBlobs >= 5 || same.SentBlobs >= second.SentBlobs || same.SentBlobs == 0 {
		t.Errorf("other memory: %+v; the same memory: %+v", second, same)
	}
	list, err := s.Get("web", "x")
	if again := push(t, r, s, list); err != nil || again.SentBlobs != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// recipient and secret are for these tests alone.
const (
	recipient = "age1q32jsppzsdzrcj7x333tv9jgk204m83xmtf2mhk9xyldu9lnsdgsf3yc35"
	secret    = "AGE-SECRET-KEY-1XYU4D5K99DA5S5XHMTL97AAKL46D4RY9KDM43FKJYJ9TE25GDVTQPML79N"
)

// A push that the registry ends goes on where it was, also when it is encrypted and
// every try would have other digests.
func TestPushGoesOn(t *testing.T) {
	to, err := seal.ParseRecipients([]string{recipient}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, recipients := range map[string]*seal.Recipients{"plain": nil, "encrypted": to} {
		t.Run(name, func(t *testing.T) {
			srv, s := serve(t), store(t)
			rec := publish(t, s, "x", files("m"))
			r := srv.open(t, "web")
			p := Push{Export: archive.Export{Store: s, Seal: recipients}}
			left := 3
			srv.set(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				if left--; left < 0 {
					w.WriteHeader(http.StatusBadRequest) // one that is not tried again
					return true
				}
				return false
			})
			broken, err := r.Push(context.Background(), p, rec)
			if !errors.Is(err, ErrRegistry) || broken.SentBlobs != 3 {
				t.Fatalf("broken off: %+v, %v", broken, err)
			}
			if _, err := pull(srv.open(t, "web"), store(t)); !errors.Is(err, ErrNotFound) {
				t.Errorf("pull of a half: %v", err)
			}
			srv.set(nil)
			rest, err := r.Push(context.Background(), p, rec)
			if err != nil || rest.SentBlobs != rest.Blobs-3 || srv.puts != rest.SentBlobs {
				t.Errorf("the rest: %+v, %d sent, %v", rest, srv.puts, err)
			}
			empty(t, s)
			back := store(t)
			i := archive.Import{Store: back, MaxBytes: 1 << 30}
			if recipients != nil {
				if _, err := r.Pull(context.Background(), i, nil); !errors.Is(err, seal.ErrNoIdentity) {
					t.Errorf("without a key: %v", err)
				}
				file := filepath.Join(t.TempDir(), "key")
				if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
					t.Fatal(err)
				}
				if i.Identities, err = seal.ParseIdentities(file, ""); err != nil {
					t.Fatal(err)
				}
				srv.set(nil)
			}
			if _, err := r.Pull(context.Background(), i, nil); err != nil {
				t.Error(err)
			}
			if recipients != nil && srv.gets != 0 {
				t.Errorf("%d layers were fetched again after the key was missing", srv.gets)
			}
			empty(t, back)
		})
	}
}

// A registry that fails for a moment is asked again.
func TestPushTriesAgain(t *testing.T) {
	srv, s := serve(t), store(t)
	rec := publish(t, s, "x", files("m"))
	failed := false
	srv.set(func(w http.ResponseWriter, r *http.Request) bool {
		if failed || r.Method != http.MethodPut {
			return false
		}
		failed = true
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	push(t, srv.open(t, "web"), s, rec)
	if _, err := pull(srv.open(t, "web"), store(t)); err != nil || !failed {
		t.Errorf("pull: %v", err)
	}
}

// A pull that ends early fetches what is missing, and goes on in the middle of a
// layer when only the connection ends.
func TestPullGoesOn(t *testing.T) {
	srv, from, to := serve(t), store(t), store(t)
	push(t, srv.open(t, "web"), from, publish(t, from, "x", files("m")))
	kept := func() int {
		list, _ := filepath.Glob(filepath.Join(to.Dir, ".transfer-*", "blobs", "sha256", "*"))
		return len(list)
	}
	left := 2
	srv.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		srv.mu.Lock()
		left--
		over := left < 0
		srv.mu.Unlock()
		for end := time.Now().Add(10 * time.Second); over && kept() < 2 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if over {
			w.WriteHeader(http.StatusBadRequest)
		}
		return over
	})
	r := srv.open(t, "web")
	if _, err := pull(r, to); !errors.Is(err, ErrRegistry) {
		t.Fatalf("broken off: %v", err)
	}
	if list, _ := to.List(""); list != nil || len(to.AbandonedTransfers()) != 1 || kept() != 2 {
		t.Errorf("in the store: %v, transfers %v, %d layers", list, to.AbandonedTransfers(), kept())
	}
	cut := false
	srv.Config.SetKeepAlivesEnabled(false) // each connection is new
	srv.set(func(w http.ResponseWriter, r *http.Request) bool {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if cut || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		cut = true
		w.Header().Set("Content-Length", "1000000")
		panic(http.ErrAbortHandler)
	})
	if _, err := pull(r, to); err != nil {
		t.Fatalf("the rest: %v", err)
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !cut || srv.gets != 4 { // of 5 layers two were there; one was asked for twice
		t.Errorf("%d layers were fetched", srv.gets)
	}
	empty(t, to)
}

// Docker's credentials are sent to the registry that they are for, and to no other.
func TestCredentials(t *testing.T) {
	srv, s := serve(t), store(t)
	rec := publish(t, s, "x", files("m"))
	srv.set(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "me" && password == "word" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	r := srv.open(t, "web")
	if _, err := r.Push(context.Background(), Push{Export: archive.Export{Store: s}}, rec); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("without: %v", err)
	}
	r = srv.open(t, "web")
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.Host, base64.StdEncoding.EncodeToString([]byte("me:word")))
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(r.Reference, Options{})
	if err != nil {
		t.Fatal(err)
	}
	push(t, r, s, rec)
}

func TestOpen(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	no := false
	for _, test := range []struct {
		text, want string
		plain      bool
		o          Options
	}{
		{"me/web", "docker.io/me/web:latest", false, Options{}},
		{"localhost:5000/web:v1", "localhost:5000/web:v1", true, Options{}},
		{"localhost:5000/web:v1", "localhost:5000/web:v1", false, Options{PlainHTTP: &no}},
		{"127.0.0.1/web", "127.0.0.1/web:latest", true, Options{}},
		{"[::1]:80/web", "[::1]:80/web:latest", true, Options{}},
		{"registry.example/web", "registry.example/web:latest", false, Options{}},
	} {
		r, err := Open(test.text, test.o)
		if err != nil || r.Reference != test.want || r.repo.PlainHTTP != test.plain {
			t.Errorf("%s: %+v, %v", test.text, r, err)
		}
	}
	for _, text := range []string{"", "Web", "a b", "x/y@sha256:1", "https://x/y"} {
		if _, err := Open(text, Options{}); !errors.Is(err, ErrBadReference) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
