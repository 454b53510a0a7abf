package restore

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/linux"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/runtime"
)

func TestFits(t *testing.T) {
	rec := metadata.Record{Checkpoint: "x", Architecture: "amd64", CPUFeatures: []string{"avx2"}}
	rec.Name, rec.ID, rec.ImageDigest = "web", "1", "sha256:1"
	h := linux.Host{Architecture: "amd64", CPUFeatures: []string{"avx", "avx2"}}
	c := docker.Container{ID: "1", Name: "web", State: "exited", ImageDigest: "sha256:1"}
	if err := fits(rec, c, h); err != nil {
		t.Error(err)
	}
	newer := c
	newer.ID = "2"
	if err := fits(rec, newer, h); err != nil {
		t.Errorf("same image: %v", err)
	}
	newer.ImageDigest = "sha256:2"
	if err := fits(rec, newer, h); !errors.Is(err, ErrIncompatible) {
		t.Errorf("other image: %v", err)
	}
	if err := fits(rec, c, linux.Host{Architecture: "arm64"}); !errors.Is(err, ErrIncompatible) {
		t.Errorf("other architecture: %v", err)
	}
	if err := fits(rec, c, linux.Host{Architecture: "amd64"}); !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), "avx2") {
		t.Errorf("missing feature: %v", err)
	}
	v2 := h
	v2.CgroupMode, rec.CgroupMode = "v2", "hybrid"
	if err := fits(rec, c, v2); !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), "cgroups of hybrid, here they have those of v2") {
		t.Errorf("other cgroups: %v", err)
	}
	v2.CgroupMode = "v1"
	if err := fits(rec, c, v2); err != nil {
		t.Errorf("v1 beside v2: %v", err)
	}
	rec.Mounts = []metadata.Mount{{Source: "/"}, {Source: "/nonexistent/containers/1/hosts"}}
	if err := fits(rec, c, h); err != nil {
		t.Errorf("all there, or Docker's to make: %v", err)
	}
	rec.Mounts = append(rec.Mounts, metadata.Mount{Source: "/nonexistent/data"})
	if err := fits(rec, c, h); !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), "needs /nonexistent/data mounted") {
		t.Errorf("a bind's source is gone: %v", err)
	}
	for _, state := range []string{"running", "paused", "restarting"} {
		c.State = state
		var e *docker.StateError
		if err := fits(rec, c, h); !errors.As(err, &e) {
			t.Errorf("%s: %v", state, err)
		}
	}
}

func TestPlanDecides(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tini"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("tini", filepath.Join(dir, "init")); err != nil {
		t.Fatal(err)
	}
	var rec metadata.Record
	rec.Options.TCPEstablished, rec.Options.FileLocks = true, true
	rec.Files = []metadata.File{{Name: "filelocks.img", SizeBytes: 8}}
	decide := func(o Options) runtime.Request {
		var p Plan
		p.decide(docker.Container{}, rec, o)
		return p.Request
	}
	if got := decide(Options{}); !reflect.DeepEqual(got, runtime.Request{}) {
		t.Errorf("nothing to say: %+v", got)
	}
	rec.Files = []metadata.File{{Name: "tcp-stream-3.img"}, {Name: "filelocks.img", SizeBytes: 24}}
	rec.Mounts = []metadata.Mount{
		{Path: "/sbin/docker-init", Action: "external", Key: "/sbin/docker-init", Source: filepath.Join(dir, "init")},
		{Path: "/data", Action: "external", Key: "/data", Source: filepath.Join(dir, "tini")},
	}
	external := "external mnt[/sbin/docker-init]:" + filepath.Join(dir, "tini")
	want := runtime.Request{TCPEstablished: true, FileLocks: true, HoldPackets: true, CRIUConfig: []string{external}}
	if got := decide(Options{}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	want = runtime.Request{FileLocks: true, CRIUConfig: []string{"tcp-close", external}}
	if got := decide(Options{TCPClose: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}
