package compare

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/criuimg/criuimgtest"
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
		write(w, name, data)
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
	a := packed(t, sample("a"), map[string]string{"etc/same": "x", "etc/gone": "x", "etc/longer": "x"})
	b := packed(t, sample("a"), map[string]string{"etc/same": "x", "etc/new": "x", "etc/longer": "xx"})
	r, err := Run(t.Context(), a, b, false)
	if err != nil || !r.FilesCompared {
		t.Fatalf("%+v, %v", r, err)
	}
	var got []string
	for _, d := range r.Files {
		got = append(got, d.Name+" "+d.Change)
	}
	if want := []string{"/etc/gone gone", "/etc/longer changed", "/etc/new new"}; !slices.Equal(got, want) {
		t.Errorf("got %q", strings.Join(got, "; "))
	}
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
