package compare

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

const page = criuimgtest.PageSize

// pages are full of the letters.
func pages(letters string) []byte {
	var all []byte
	for _, c := range []byte(letters) {
		all = append(all, bytes.Repeat([]byte{c}, page)...)
	}
	return all
}

func sample(letters string) criuimgtest.Sample {
	return criuimgtest.Sample{
		Name: "app", Args: []string{"app", "--token=1"}, Env: []string{"A=1", "B=2", "KEEP=x", "API_KEY=old"}, Heap: pages(letters), Shared: pages("s"), Port: 80,
	}
}

func written(t testing.TB, s criuimgtest.Sample) *contents.Contents {
	t.Helper()
	dir, _ := s.Write(t)
	c, err := contents.FromFile(t.Context(), dir, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lines(list []Difference) []string {
	all := []string{}
	for _, d := range list {
		all = append(all, fmt.Sprintf("%d %s %s %q %q", d.PID, d.Name, d.Change, d.Before, d.After))
	}
	return all
}

func TestRun(t *testing.T) {
	after := sample("abXd")
	after.Args, after.Env, after.Port, after.Old = []string{"app", "--token=2"}, []string{"B=3", "C=4", "KEEP=x", "API_KEY=new"}, 81, 1
	after.Shared = pages("S")
	r, err := Run(t.Context(), written(t, sample("abc")), written(t, after), false)
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string]struct{ got, want []string }{
		"processes": {lines(r.Processes), []string{`1 1 changed "app --token=(hidden), running, 2 threads, user 1000, in /srv" "app --token=(hidden), running, 2 threads, user 1000, in /srv"`}},
		"env":       {lines(r.Env), []string{`1 A gone "1" ""`, `1 API_KEY changed "(hidden)" "(hidden)"`, `1 B changed "2" "3"`, `1 C new "" "4"`}},
		"fds": {lines(r.FDs), []string{`1 6 changed "socket tcp 172.17.0.2:80, listening" "socket tcp 172.17.0.2:81, listening"`,
			`1 7 changed "socket tcp 172.17.0.2:80 to 172.17.0.2:40000, established" "socket tcp 172.17.0.2:81 to 172.17.0.2:40000, established"`}},
	} {
		if !slices.Equal(list.got, list.want) {
			t.Errorf("%s: %q", name, list.got)
		}
	}
	if len(r.Sockets) != 4 || r.Equal() || r.FilesCompared {
		t.Errorf("sockets %v, equal %v, files %v", lines(r.Sockets), r.Equal(), r.FilesCompared)
	}
	var heap, shared Memory
	for _, m := range r.Memory {
		switch {
		case m.Name == "[heap]" && m.PID == 1:
			heap = m
		case m.Name == "[shared]":
			shared = m
		}
	}
	if want := (Memory{PID: 1, Start: criuimgtest.HeapAt, End: criuimgtest.HeapAt + 5*page, Name: "[heap]", Change: Changed, Added: 1, Changed: 1, Same: 2}); heap != want {
		t.Errorf("heap %+v", heap)
	}
	if shared.Changed != 1 || shared.Same != 0 || shared.PID != 1 {
		t.Errorf("shared %+v", shared)
	}
}

func TestRunOfTheSame(t *testing.T) {
	r, err := Run(t.Context(), written(t, sample("abc")), written(t, sample("abc")), false)
	if err != nil || !r.Equal() {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = Run(t.Context(), written(t, sample("abc")), written(t, sample("a")), true)
	if err != nil || r.Equal() || r.Memory[0].Removed != 2 || r.Memory[0].Same != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Where mappings of two checkpoints lie over each other, each page is in one of them.
func TestMappings(t *testing.T) {
	area := func(start, end uint64, path string) snapshot.Mapping {
		return snapshot.Mapping{Start: start * page, End: end * page, Path: path}
	}
	for name, c := range map[string]struct {
		before, after []snapshot.Mapping
		want          []string
	}{
		"as it was": {[]snapshot.Mapping{area(1, 3, "a")}, []snapshot.Mapping{area(1, 3, "a")}, []string{"a 1-3 "}},
		"grew down": {[]snapshot.Mapping{area(5, 8, "a")}, []snapshot.Mapping{area(3, 8, "a")}, []string{"a 3-8 changed"}},
		"shrank":    {[]snapshot.Mapping{area(3, 9, "a")}, []snapshot.Mapping{area(5, 7, "a")}, []string{"a 3-9 changed"}},
		"shrank before another": {
			[]snapshot.Mapping{area(3, 9, "a")}, []snapshot.Mapping{area(3, 5, "a"), area(7, 8, "b")}, []string{"a 3-7 changed", "b 7-8 new", "a 8-9 gone"},
		},
		"another in its middle": {[]snapshot.Mapping{area(1, 9, "a")}, []snapshot.Mapping{area(4, 5, "b")}, []string{"a 1-4 gone", "b 4-5 new", "a 5-9 gone"}},
		"split":                 {[]snapshot.Mapping{area(1, 9, "a")}, []snapshot.Mapping{area(1, 3, "a"), area(6, 9, "a")}, []string{"a 1-3 changed", "a 3-9 changed"}},
		"merged":                {[]snapshot.Mapping{area(1, 3, "a"), area(5, 9, "a")}, []snapshot.Mapping{area(1, 9, "a")}, []string{"a 1-9 changed"}},
		"moved":                 {[]snapshot.Mapping{area(1, 3, "a")}, []snapshot.Mapping{area(5, 7, "a")}, []string{"a 1-3 gone", "a 5-7 new"}},
	} {
		got := []string{}
		for _, m := range mappings(&snapshot.Process{Mappings: c.before}, &snapshot.Process{Mappings: c.after}) {
			got = append(got, fmt.Sprintf("%s %d-%d %s", m.Name, m.Start/page, m.End/page, m.Change))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What a process no longer maps is told, also if it was shared.
func TestRunWithGoneMemory(t *testing.T) {
	before, after := sample("abc"), sample("abc")
	before.Heap, after.Shared = pages("abcdefgh"), nil
	r, err := Run(t.Context(), written(t, before), written(t, after), false)
	if err != nil || r.Equal() {
		t.Fatalf("%+v, %v", r, err)
	}
	want := Memory{PID: 1, Start: criuimgtest.HeapAt, End: criuimgtest.HeapAt + 9*page, Name: "[heap]", Change: Changed, Removed: 5, Same: 3}
	if r.Memory[0] != want {
		t.Errorf("%+v", r.Memory[0])
	}
	if shared := r.Memory[len(r.Memory)-1]; shared.Name != "[shared]" || shared.Removed != 1 {
		t.Errorf("%+v", shared)
	}
}

// Sockets that have the same addresses are as many as there are.
func TestBySocket(t *testing.T) {
	one := snapshot.Socket{Protocol: "tcp", Local: "0.0.0.0:80", State: "listening", Options: []string{"reuseport"}}
	list := differences(0, bySocket([]snapshot.Socket{one}), bySocket([]snapshot.Socket{one, one}))
	if got := lines(list); !slices.Equal(got, []string{`0 tcp 0.0.0.0:80 (2) new "" "listening, 0 bytes received, 0 to send, reuseport"`}) {
		t.Errorf("%q", got)
	}
}

// Arguments and variables that one checkpoint lacks are not gone.
func TestRunWithoutText(t *testing.T) {
	c := written(t, sample("abc"))
	dir, _ := sample("abc").Write(t)
	for _, name := range []string{"pagemap-1.img", "pages-1.img"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	bare, err := contents.FromFile(t.Context(), dir, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), c, bare, false)
	if err != nil || len(r.Processes)+len(r.Env) != 0 || r.Memory[0].Removed != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Pages of a parent that is not there are neither the same nor changed.
func TestRunWithMissingPages(t *testing.T) {
	s := sample("abc")
	s.Old = 2
	dir, _ := s.Write(t)
	c := written(t, sample("abc"))
	half, err := contents.FromFile(t.Context(), dir, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	half.Images = half.Images[:1]
	r, err := Run(t.Context(), c, half, false)
	if err != nil || r.Memory[0].Unknown != 2 || r.Memory[0].Same != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// deletedFiles lists what is deleted, beside the layer.
const deletedFiles = "deleted.files"

// packed writes an archive of a checkpoint with a layer that has these files.
func packed(t *testing.T, s criuimgtest.Sample, files map[string]string) *contents.Contents {
	t.Helper()
	dir, _ := s.Write(t)
	var layer, all bytes.Buffer
	write := func(out *tar.Writer, name, data string) {
		err := out.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: 0o644})
		if err == nil {
			_, err = out.Write([]byte(data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w := tar.NewWriter(&layer)
	for name, data := range files {
		if name != deletedFiles {
			write(w, name, data)
		}
	}
	archive := tar.NewWriter(&all)
	names, err := filepath.Glob(filepath.Join(dir, "*.img"))
	if err != nil {
		t.Fatal(err)
	}
	err = w.Close()
	for _, name := range names {
		data, readErr := os.ReadFile(name)
		err = errors.Join(err, readErr)
		write(archive, "checkpoint/"+filepath.Base(name), string(data))
	}
	write(archive, "rootfs-diff.tar", layer.String())
	write(archive, deletedFiles, cmp.Or(files[deletedFiles], "[]"))
	if err = errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	criuimgtest.Write(t, dir, map[string][]byte{"a.tar": all.Bytes()})
	c, err := contents.FromFile(t.Context(), filepath.Join(dir, "a.tar"), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestFiles(t *testing.T) {
	a := packed(t, sample("a"), map[string]string{"etc/same": "x", "etc/gone": "x", "etc/longer": "x", "etc/.wh.left": "", "bin/listed": "x"})
	b := packed(t, sample("a"), map[string]string{"etc/same": "x", "etc/new": "x", "etc/longer": "xx", "etc/left": "x", "var/.wh..wh..opq": "", deletedFiles: `["/bin/listed"]`})
	r, err := Run(t.Context(), a, b, false)
	if err != nil || !r.FilesCompared {
		t.Fatalf("%+v, %v", r, err)
	}
	var got []string
	for _, d := range r.Files {
		change := d.Change
		for _, side := range []string{d.Before, d.After} {
			if side == deleted {
				change += ", deleted"
			}
		}
		got = append(got, d.Name+" "+change)
	}
	if want := []string{"/bin/listed changed, deleted", "/etc/gone gone", "/etc/left changed, deleted", "/etc/longer changed", "/etc/new new", "/var/ new"}; !slices.Equal(got, want) {
		t.Errorf("got %q", strings.Join(got, "; "))
	}
}

// Whatever images hold, they are refused, or each of their pages is told once.
func FuzzRun(f *testing.F) {
	dir, _ := sample("abc").Write(f)
	names := []string{"pstree.img", "core-1.img", "mm-1.img", "files.img", "fdinfo-1.img", "pagemap-1.img", "pagemap-shmem-77.img", "pages-1.img", "tcp-stream-111.img"}
	images := criuimgtest.InMemory(f, dir)
	for i, name := range names {
		f.Add(uint8(i), images[name].Data)
	}
	c := written(f, sample("abX"))
	c.Images = criuimg.Chain{criuimgtest.InMemory(f, c.Name)}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		changed := maps.Clone(images)
		changed[names[int(which)%len(names)]] = &fstest.MapFile{Data: data}
		other := &contents.Contents{Name: "other", Images: criuimg.Chain{changed}}
		there, err := Run(t.Context(), c, other, false)
		if err != nil {
			return
		}
		back, err := Run(t.Context(), other, c, false)
		if err != nil {
			t.Fatalf("compared one way alone: %v", err)
		}
		same, _ := Run(t.Context(), other, other, false)
		if !same.Equal() {
			t.Errorf("differs from itself: %+v", same)
		}
		var a, b Memory
		for _, m := range there.Memory {
			a.Add(m)
		}
		for _, m := range back.Memory {
			b.Add(m)
		}
		if a.Added != b.Removed || a.Removed != b.Added || a.Changed != b.Changed || a.Same != b.Same || a.Unknown != b.Unknown {
			t.Errorf("%+v, and back %+v", a, b)
		}
	})
}

func BenchmarkRun(b *testing.B) {
	data := make([]byte, 64<<20)
	for i := 0; i < len(data); i += 8 {
		data[i] = byte(i >> 12)
	}
	first := written(b, criuimgtest.Sample{Name: "app", Heap: data})
	for i := 0; i < len(data); i += 16 * page {
		data[i]++
	}
	second := written(b, criuimgtest.Sample{Name: "app", Heap: data})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Run(b.Context(), first, second, false); err != nil {
			b.Fatal(err)
		}
	}
}
