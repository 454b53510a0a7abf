package report

import (
	"bytes"
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
	known := regexp.MustCompile(`^ (lang|charset|name|content|http-equiv|class|title)="[^"]*"$|^ style="(width: [0-9.]+%|margin-left: [0-9]+em)"$`)
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
