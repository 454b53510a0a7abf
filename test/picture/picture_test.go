package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// texts returns the lines of a picture, and fails if it is no XML or has more than shapes
// and text in it.
func texts(t *testing.T, picture string) (lines []string) {
	t.Helper()
	known := map[string]bool{"svg": true, "title": true, "rect": true, "circle": true, "text": true}
	inside := ""
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			if inside = e.Name.Local; !known[inside] {
				t.Errorf("element %s", inside)
			}
		case xml.EndElement:
			inside = ""
		case xml.CharData:
			if inside == "text" {
				lines = append(lines, string(e))
			}
		}
	}
}

func TestPicture(t *testing.T) {
	lines := []string{"# echo '<&>'", "<&>", "  two  spaces", "für"}
	got := picture(append(lines, ""))
	if back := texts(t, got); strings.Join(back, "\n") != strings.Join(lines, "\n") {
		t.Errorf("%q", back)
	}
	if !strings.Contains(got, `width="140" height="147"`) {
		t.Errorf("%.200s", got)
	}
}

// The picture in README is one that this program has drawn, of a session that went well.
func TestDemo(t *testing.T) {
	data, err := os.ReadFile("../../docs/demo.svg")
	if err != nil {
		t.Fatal(err)
	}
	lines := texts(t, string(data))
	if picture(lines) != string(data) {
		t.Error("it is drawn in another way: make picture")
	}
	session := strings.Join(lines, "\n")
	for _, want := range []string{"\n# checkpointctl checkpoint myapp ", ", the container is stopped\n", "\n# checkpointctl restore myapp before-upgrade\nmyapp/before-upgrade\n"} {
		if !strings.Contains(session, want) {
			t.Errorf("it does not show %q", want)
		}
	}
	if path := regexp.MustCompile(`(^|\s)/(root|home|tmp|work|usr)\b\S*`).FindString(session); path != "" {
		t.Errorf("it shows %s", path)
	}
	if readme, err := os.ReadFile("../../README.md"); err != nil || !strings.Contains(string(readme), "](docs/demo.svg)") {
		t.Errorf("README.md does not show it: %v", err)
	}
}
