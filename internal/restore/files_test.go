package restore

import (
	"reflect"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/changes"
	"github.com/checkpointctl/checkpointctl/internal/docker"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func TestPlaces(t *testing.T) {
	id := strings.Repeat("a", 64)
	own := "/var/lib/docker/containers/" + id
	rec := metadata.Record{Container: metadata.Container{ID: id, UpperDir: "/old/diff", Mounts: []metadata.Mount{
		{Path: "/", FSType: "overlay"},
		{Path: "/proc", FSType: "proc"},
		{Path: "/tmp", FSType: "tmpfs"},
		{Path: "/etc/hosts", FSType: "ext4", Source: own + "/hosts"},
		{Path: "/run/secrets", FSType: "tmpfs", Source: own + "/mounts/secrets"},
		{Path: "/dev/shm", FSType: "tmpfs", Source: "/var/lib/docker/containers/other/mounts/shm"},
		{Path: "/mine", FSType: "ext4", Source: "/vol/mine"},
		{Path: "/ours", FSType: "ext4", Source: "/vol/ours"},
		{Path: "/bind", FSType: "ext4", Source: "/srv/data"},
		{Path: "/host/sys", FSType: "sysfs", Source: "/sys"},
		{Path: "/nfs", FSType: "nfs4", Source: "/mnt/nfs"},
		{Path: "/away", FSType: "ext4", Source: "/vol/away"},
	}}}
	volumes := []docker.Volume{
		{Name: "mine", Destination: "/mine", Source: "/vol/mine"},
		{Name: "ours", Destination: "/ours", Source: "/vol/ours", Others: []string{"db"}},
		{Name: "away", Destination: "/away", Source: "/vol/away", Away: true},
	}
	layer := changes.Place{Path: "/", Source: "/old/diff", Layer: true}
	mine := changes.Place{Path: "/mine", Source: "/vol/mine", Remounted: true}
	ours := changes.Place{Path: "/ours", Source: "/vol/ours", Shared: true, Remounted: true}
	bind := changes.Place{Path: "/bind", Source: "/srv/data", Shared: true}

	list, blind := places(rec, docker.Container{ID: id, Driver: "overlay2"}, volumes)
	if want := []changes.Place{layer, mine, ours, bind}; !reflect.DeepEqual(list, want) {
		t.Errorf("got %+v, want %+v", list, want)
	}
	if want := []string{"/nfs (nfs4)", "/away (ext4)"}; !reflect.DeepEqual(blind, want) {
		t.Errorf("blind %q, want %q", blind, want)
	}

	// A newer container has a layer and an anonymous volume of its own.
	volumes[0].Source = "/vol/newer"
	list, _ = places(rec, docker.Container{ID: strings.Repeat("b", 64), UpperDir: "/new/diff"}, volumes)
	layer.Source, layer.Foreign, mine.Source, mine.Foreign, mine.Remounted = "/new/diff", true, "/vol/newer", true, false
	if want := []changes.Place{layer, mine, ours, bind}; !reflect.DeepEqual(list, want) {
		t.Errorf("newer: got %+v, want %+v", list, want)
	}
	if _, blind := places(rec, docker.Container{ID: "x", Driver: "zfs"}, nil); len(blind) != 2 || !strings.HasSuffix(blind[0], "storage driver zfs") {
		t.Errorf("blind %q", blind)
	}
}
