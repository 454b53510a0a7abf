package podman

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// files of a checkpoint whose processes have these sockets.
func files(t *testing.T, sockets ...criuimgtest.TCP) map[string][]byte {
	t.Helper()
	config, err := os.ReadFile("testdata/config.json")
	if err != nil {
		t.Fatal(err)
	}
	created, err := os.ReadFile("testdata/docker.json")
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "etc/.wh.gone", Typeflag: tar.TypeReg}, {Name: "etc/new", Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"config.json": config, "docker.json": created, "inventory.img": []byte("inventory"), "dump.log": []byte("log"), "stats-dump": []byte("stats"),
		"ids-1.img": criuimgtest.IDs(t, 10), "files.img": criuimgtest.Files(t, sockets...),
		"pages-1.img": []byte("memory"), "rootfs.tar": layer.Bytes(), "volume-data.tar": layer.Bytes(), "devshm.tar": layer.Bytes(),
	}
}

func record() metadata.Record {
	r := metadata.Record{
		SchemaVersion: metadata.SchemaVersion, Checkpoint: "one", Kind: metadata.KindCheckpoint, Timestamp: time.Date(2026, 11, 1, 12, 0, 0, 5, time.UTC),
		Parts: []metadata.Part{
			{Name: metadata.PartCRIU}, {Name: metadata.PartRootFS, File: "rootfs.tar"}, {Name: metadata.PartShm, File: "devshm.tar"},
			{Name: metadata.PartVolume + "data", File: "volume-data.tar", Destination: "/data", Volume: "data"},
		},
	}
	r.Container = metadata.Container{
		ID: id, Name: "web", Image: "app:1", ImageDigest: "sha256:" + strings.Repeat("ab", 32), Driver: "overlay2", Runtime: "runc",
		Networks: []metadata.Network{{Name: "bridge", IP: "172.17.0.2"}},
		Mounts: []metadata.Mount{
			{Path: "/", Action: "dump"}, {Path: "/etc/hosts", Action: "external", Value: "/etc/hosts"}, {Path: "/proc/kcore", Action: "external", Value: "/dev/null"},
			{Path: "/sys/fs/cgroup/memory", FSType: "cgroup", Action: "external"}, {Path: "/data", Action: "external"}, {Path: "/conf", Action: "external"},
		},
		Settings: &metadata.Settings{Mounts: []metadata.MountSetting{
			{Type: "volume", Destination: "/data", Name: "data"}, {Type: "bind", Destination: "/conf", Source: "/srv/conf"},
		}},
	}
	return r
}

// publish puts a checkpoint into a store, encrypted if there is somebody to encrypt to.
func publish(t *testing.T, r metadata.Record, content map[string][]byte, to *seal.Recipients) (metadata.Store, metadata.Record) {
	t.Helper()
	s := metadata.Store{Dir: filepath.Join(t.TempDir(), "store")}
	unlock, err := s.Lock(r.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	d, err := s.Begin(r.Name, r.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	dir := d.Dir
	if to != nil {
		dir = t.TempDir()
	}
	for name, data := range content {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if to != nil {
		r.Encrypted, r.Recipients = true, to.Names
		sealer, err := seal.New(d.Dir, to)
		if err == nil {
			err = sealer.Images(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.Files, r.SizeBytes, err = d.Sum()
	if err == nil {
		err = d.Publish(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

// entries of an archive, in their order, with what they hold; of links where they lead.
func entries(t *testing.T, e Export, r metadata.Record) (names []string, content map[string]string, warnings []string) {
	t.Helper()
	c, err := e.Open(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var out bytes.Buffer
	if err := c.Write(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	content = map[string]string{}
	for in := tar.NewReader(&out); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return names, content, c.Warnings
		}
		data, readErr := io.ReadAll(in)
		if err = errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		content[h.Name] = string(data) + h.Linkname
	}
}

func TestArchive(t *testing.T) {
	for name, sealed := range map[string]bool{"plain": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			var (
				to     *seal.Recipients
				opener checkpoint.Opener
			)
			if sealed {
				key := filepath.Join(t.TempDir(), "phrase")
				err := os.WriteFile(key, []byte("correct horse\n"), 0o600)
				if err == nil {
					to, err = seal.ParseRecipients(nil, key)
				}
				if err == nil {
					opener.Identities, err = seal.ParseIdentities("", key)
				}
				if err != nil {
					t.Fatal(err)
				}
				opener.StageDir = t.TempDir()
			}
			s, r := publish(t, record(), files(t), to)
			done, total := int64(0), int64(0)
			e := Export{Store: s, Opener: opener, Compression: archive.None, Progress: func(d, all int64) { done, total = d, all }}
			names, content, warnings := entries(t, e, r)
			want := []string{
				"checkpoint/netns-10.img", "config.dump", "deleted.files", "network.status", "spec.dump", "checkpoint/",
				"checkpoint/config.json", "checkpoint/docker.json", "checkpoint/files.img", "checkpoint/ids-1.img", "checkpoint/inventory.img", "checkpoint/pages-1.img",
				"devshm-checkpoint.tar", "dump.log", "rootfs-diff.tar", "stats-dump", "volumes/data.tar",
			}
			slices.Sort(names)
			slices.Sort(want)
			if !slices.Equal(names, want) {
				t.Errorf("entries %q\nwant    %q", names, want)
			}
			if content["checkpoint/pages-1.img"] != "memory" || content["dump.log"] != "log" || done != total || total == 0 {
				t.Errorf("%q, %q, %d of %d bytes", content["checkpoint/pages-1.img"], content["dump.log"], done, total)
			}
			if got := strings.Join(strings.Fields(content["deleted.files"]), ""); got != `["/etc/gone"]` {
				t.Errorf("deleted: %s", got)
			}
			if strings.Contains(content["rootfs-diff.tar"], ".wh.") || !strings.Contains(content["rootfs-diff.tar"], "etc/new") {
				t.Error("rootfs-diff.tar is the layer's own tar")
			}
			checkConfig(t, content["config.dump"])
			checkSpec(t, content["spec.dump"])
			wantWarnings := []string{
				"/srv/conf of this host is mounted from the same path where Podman restores",
				"port 443/tcp is not published: Docker chose its port on the host; -p publishes it",
			}
			if !slices.Equal(warnings, wantWarnings) {
				t.Errorf("warnings %q", warnings)
			}
		})
	}
}

func checkConfig(t *testing.T, text string) {
	t.Helper()
	var c config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	ports := []port{{"", 53, 5353, 1, "udp"}, {"127.0.0.1", 80, 8080, 1, "tcp"}}
	switch {
	case c.ID != id, c.Name != "web", c.RootfsImageID != strings.Repeat("ab", 32), c.RootfsImageName != "app:1", c.Runtime != "runc",
		c.User != "app", !c.Stdin, c.StopSignal != 3, c.StopTimeout != 3, c.RestartPolicy != "on-failure", c.RestartRetries != 2,
		!slices.Equal(c.Ports, ports), !slices.Equal(c.DNSServer, []string{"9.9.9.9"}), !slices.Equal(c.HostAdd, []string{"db:10.0.0.2"}),
		!c.CreateNetNS, !maps.Equal(c.Networks, map[string]joining{"podman": {"eth0"}}), !slices.Equal(c.Command, []string{"-c", "count"}),
		len(c.NamedVolumes) != 1 || c.NamedVolumes[0].Dest != "/data" || !slices.Contains(c.NamedVolumes[0].Options, "nocopy"):
		t.Errorf("config.dump: %s", text)
	}
}

func checkSpec(t *testing.T, text string) {
	t.Helper()
	for _, want := range []string{
		`"WORD=kept"`, `"limit": 9223372036854771712`, `"readonly": true`, `"seccomp"`, `"source": "/srv/conf"`,
		`"source": "/var/lib/containers/storage/volumes/data/_data"`, `"io.container.manager": "libpod"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("spec.dump has no %s: %s", want, text)
		}
	}
	for _, not := range []string{"hooks", "cgroupsPath", "/var/lib/docker", "/run/netns"} {
		if strings.Contains(text, not) {
			t.Errorf("spec.dump has %s", not)
		}
	}
}

// Rounds of a pre-dump are where CRIU's links lead to.
func TestRounds(t *testing.T) {
	r, content := record(), files(t)
	r.PreDump = &metadata.PreDump{Rounds: []metadata.Round{{Number: 1}, {Number: 2}}}
	content["pre-dump/1/pages-1.img"], content["pre-dump/2/pages-1.img"] = []byte("first"), []byte("second")
	s, r := publish(t, r, content, nil)
	_, got, _ := entries(t, Export{Store: s, Compression: archive.None}, r)
	for name, want := range map[string]string{
		"checkpoint/parent": "pre-dump/2", "checkpoint/pre-dump/2/parent": "../1", "checkpoint/pre-dump/1/pages-1.img": "first", "checkpoint/pre-dump/2/pages-1.img": "second",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

func TestRefused(t *testing.T) {
	edit := func(content map[string][]byte, name, old, now string) {
		if !bytes.Contains(content[name], []byte(old)) {
			t.Fatalf("%s has no %s", name, old)
		}
		content[name] = bytes.ReplaceAll(content[name], []byte(old), []byte(now))
	}
	host := func(key, value string) func(*metadata.Record, map[string][]byte) {
		return func(_ *metadata.Record, c map[string][]byte) {
			edit(c, "docker.json", `"ShmSize"`, `"`+key+`": `+value+`, "ShmSize"`)
		}
	}
	for want, change := range map[string]func(*metadata.Record, map[string][]byte){
		"did not keep the OCI configuration":     func(_ *metadata.Record, c map[string][]byte) { delete(c, "config.json") },
		"it was imported":                        func(r *metadata.Record, _ map[string][]byte) { r.Imported = &metadata.Imported{} },
		"its first process is Docker's init":     host("Init", "true"),
		"it shares the UTS namespace of another": host("UTSMode", `"container:db"`),
		"the host's IPC namespace":               host("IpcMode", `"host"`),
		"it has no network":                      host("NetworkMode", `"none"`),
		"Docker stores images by overlayfs":      func(r *metadata.Record, _ map[string][]byte) { r.Driver = "overlayfs" },
		"/run/secrets is a mount that only Docker makes": func(_ *metadata.Record, c map[string][]byte) {
			edit(c, "config.json", `"/etc/hosts"`, `"/run/secrets"`)
		},
		"/odd is a mount that Podman does not make": func(r *metadata.Record, _ map[string][]byte) {
			r.Mounts = append(r.Mounts, metadata.Mount{Path: "/odd", Action: "external"})
		},
		"volume data at /data is not in the checkpoint": func(r *metadata.Record, c map[string][]byte) { r.Parts = r.Parts[:3]; delete(c, "volume-data.tar") },
		"it has a connection from 172.17.0.2, an address": func(_ *metadata.Record, c map[string][]byte) {
			c["files.img"] = files(t, criuimgtest.TCP{Local: "172.17.0.2:80", Remote: "10.0.0.9:4000"})["files.img"]
		},
		"it has a socket at 172.17.0.2, an address": func(_ *metadata.Record, c map[string][]byte) {
			c["files.img"] = files(t, criuimgtest.TCP{Local: "172.17.0.2:80"})["files.img"]
		},
	} {
		r, content := record(), files(t)
		change(&r, content)
		s, r := publish(t, r, content, nil)
		_, err := Export{Store: s, Compression: archive.None}.Open(context.Background(), r)
		refused := (*RefusedError)(nil)
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "web/one cannot be restored by Podman: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// What Podman has to be told is said.
func TestTold(t *testing.T) {
	r, content := record(), files(t, criuimgtest.TCP{Local: "127.0.0.1:80", Remote: "127.0.0.1:4000"}, criuimgtest.TCP{Local: "0.0.0.0:80"})
	content["filelocks.img"] = []byte("locks")
	r.Networks = append(r.Networks, metadata.Network{Name: "shop"})
	r.Sysctls = map[string]string{"net.core.somaxconn": "777", "net.ipv4.ping_group_range": "0 1"}
	s, r := publish(t, r, content, nil)
	_, _, warnings := entries(t, Export{Store: s, Compression: archive.None}, r)
	for _, want := range []string{
		"needs --tcp-established", "needs --file-locks", "network shop becomes Podman's default network", "settings of the network are left out: net.core.somaxconn",
	} {
		if !slices.ContainsFunc(warnings, func(w string) bool { return strings.HasSuffix(w, want) }) {
			t.Errorf("no %q in %q", want, warnings)
		}
	}
}

// A damaged checkpoint is found before it is written, or while it is.
func TestDamaged(t *testing.T) {
	for _, name := range []string{"pages-1.img", "rootfs.tar", "config.json", "files.img"} {
		s, r := publish(t, record(), files(t), nil)
		path := filepath.Join(s.Path(r.Name, r.Checkpoint), name)
		data, err := os.ReadFile(path)
		if err == nil {
			data[len(data)/2] ^= 1
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := Export{Store: s, Compression: archive.None}.Open(context.Background(), r)
		if err == nil {
			err = c.Write(context.Background(), io.Discard)
		}
		if !errors.Is(err, metadata.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
