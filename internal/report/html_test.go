package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// hostile is what a process may be called.
const hostile = `"><script>alert(1)</script><img src=http://evil/>` + "\u202e"

// wellFormed fails the test unless all elements of a page are closed, those that are not
// empty by themselves, and nothing on it comes from elsewhere.
func wellFormed(t *testing.T, page string) {
	t.Helper()
	var within []string
	for _, tag := range regexp.MustCompile(`<(/?)([a-z0-9]+)[^>]*>`).FindAllStringSubmatch(page, -1) {
		switch name := tag[2]; {
		case name == "meta":
		case tag[1] == "":
			within = append(within, name)
		case len(within) == 0 || within[len(within)-1] != name:
			t.Fatalf("</%s> closes %q", name, within)
		default:
			within = within[:len(within)-1]
		}
	}
	if len(within) != 0 {
		t.Errorf("%q are not closed", within)
	}
	known := regexp.MustCompile(`^ (lang|charset|name|content|http-equiv|class|title)="[^"]*"$|^ id="[a-z]+"$|^ href="#[a-z]+"$|^ style="(width: [0-9.]+%|margin-left: [0-9]+em)"$`)
	for _, tag := range regexp.MustCompile(`<[a-z0-9]+([^>]*)>`).FindAllStringSubmatch(page, -1) {
		for _, attribute := range regexp.MustCompile(` [^ =]+(="[^"]*")?`).FindAllString(tag[1], -1) {
			if !known.MatchString(attribute) {
				t.Errorf("%s has %s", tag[0], attribute)
			}
		}
	}
	for _, bad := range []string{`<(script|img|link|iframe|object|embed|base|form)`, `@import`, `url\(`, `ZgotmplZ`, "\u202e"} {
		if found := regexp.MustCompile(bad).FindString(page); found != "" {
			t.Errorf("the page has %q", found)
		}
	}
	if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'"`) {
		t.Error("the browser is not told to load nothing")
	}
}

// What a checkpoint holds is text on the page, whatever it says.
func TestWriteHTML(t *testing.T) {
	s := sample()
	s.Name, s.Args, s.Env = hostile, []string{hostile}, []string{"A=" + hostile}
	dir, _ := s.Write(t)
	d, err := Make(open(t, dir), Options{View: All})
	if err != nil {
		t.Fatal(err)
	}
	d.Overview.Name, d.Mounts[0].Path, d.Sockets[0].Local, d.Maps[0].Mappings[0].Path = hostile, hostile, hostile, hostile
	var out bytes.Buffer
	if err := d.WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if n := strings.Count(text, "&lt;script&gt;"); n < 6 {
		t.Errorf("the text is there %d times", n)
	}
	wellFormed(t, text)
	for _, want := range []string{`<b>1</b>`, `Thread 2`, `class="heap" style="width: `, `172.17.0.2:40000`, `(deleted)`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
}

func TestWriteHTMLOfOneView(t *testing.T) {
	dir, _ := sample().Write(t)
	d, err := Make(open(t, dir), Options{View: Env})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := d.WriteHTML(&out); err != nil || !strings.Contains(out.String(), "API_TOKEN=(hidden)") || strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "<h2>Sockets") {
		t.Errorf("%s, %v", out.String(), err)
	}
}

// crowd is a checkpoint of many processes, each of which has much.
func crowd(processes int) *Document {
	d := &Document{Overview: &Overview{Name: "crowd", Processes: processes, Threads: processes, Links: 1}}
	for pid := range uint32(processes) {
		maps := ProcessMaps{PID: pid, Name: "worker"}
		for i := range uint64(60) {
			start := 0x7f0000000000 + i<<20
			m := Mapping{snapshot.Mapping{Start: start, End: start + 1<<16, Perms: "rw-p", Kind: snapshot.File, Path: fmt.Sprintf("/usr/lib/x86_64-linux-gnu/library-%d.so", i)}, snapshot.Pages{Total: 16, Present: i % 16}}
			maps.Mappings = append(maps.Mappings, m)
			maps.Pages.Add(m.Pages)
		}
		fds, env := ProcessFDs{PID: pid}, ProcessEnv{PID: pid}
		for i := range uint32(50) {
			fds.Descriptors = append(fds.Descriptors, snapshot.Descriptor{FD: i, Type: "file", Name: "/var/log/worker.log"})
			env.Env = append(env.Env, fmt.Sprintf("VARIABLE_%d=value", i))
		}
		args := []string{"worker", strings.Repeat("x", 10*maxCell)}
		d.Processes = append(d.Processes, Process{&snapshot.Process{PID: pid, Name: "worker", Depth: int(pid), Threads: make([]snapshot.Thread, 100)}, args})
		d.Maps, d.FDs, d.Env = append(d.Maps, maps), append(d.FDs, fds), append(d.Env, env)
	}
	return d
}

// A page is of a size that a browser shows at once, and says what it leaves out.
func TestWriteHTMLOfManyProcesses(t *testing.T) {
	var out bytes.Buffer
	if err := crowd(500).WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	if len(page) > 10<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	for want, n := range map[string]int{
		"<b>499</b>": 4, "and 40 more, which --json shows": 500, "and 30 more, which --json shows": 1000, "and 80 more, which --json shows": 500,
		"(40967 bytes)": 500, `<a href="#maps">Memory maps</a>`: 1, `<h2 id="maps">`: 1, "1 set of images": 1,
	} {
		if got := strings.Count(page, want); got != n {
			t.Errorf("%q is there %d times, want %d", want, got, n)
		}
	}
	out.Reset()
	if err := crowd(20).WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, out.String())
}

// Mappings of which nothing is in images are the first to be left out.
func TestLargest(t *testing.T) {
	list := make([]Mapping, 5)
	for i := range list {
		list[i].Start, list[i].Pages.Present = uint64(i), uint64(i%3)
	}
	r := largest(list, 2)
	if kept := r.Rows.([]Mapping); len(kept) != 2 || kept[0].Start != 1 || kept[1].Start != 2 || r.More != 3 {
		t.Errorf("%+v", r)
	}
	if r := largest(list, 5); r.More != 0 || len(r.Rows.([]Mapping)) != 5 {
		t.Errorf("%+v", r)
	}
}

// Bars of a process add up to what it has, by kinds that follow each other.
func TestShares(t *testing.T) {
	of := func(kind snapshot.Kind, pages uint64) Mapping {
		return Mapping{Mapping: snapshot.Mapping{Kind: kind}, Pages: snapshot.Pages{Present: pages}}
	}
	m := ProcessMaps{Mappings: []Mapping{of(snapshot.Heap, 1), of(snapshot.Anonymous, 2), of(snapshot.Anonymous, 3), of(snapshot.File, 0), of(snapshot.Stack, 4)}}
	list := m.shares(20 * 4096)
	if len(list) != 3 || list[0].Percent != 5 || list[1].Percent != 25 || list[1].Class != "anonymous" || list[2].Percent != 20 {
		t.Errorf("%+v", list)
	}
}
