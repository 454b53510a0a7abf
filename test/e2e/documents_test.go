//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The commands in README.md and docs do what is said there, on containers that are called
// as there. Those within a line of text are not run: a unit test of the command line
// parses them.
func TestDocuments(t *testing.T) {
	t.Parallel()
	found := documented(t)
	unplayed := map[string]bool{}
	for first := range found {
		unplayed[first] = true
	}
	of := map[string][]scene{} // by the container that they are about
	for _, s := range scenes() {
		for _, first := range s.blocks {
			if !unplayed[first] {
				t.Errorf("no page has %q, or two scenes play it", first)
			}
			delete(unplayed, first)
		}
		if s.skip == "" {
			name := s.names()[0]
			of[name] = append(of[name], s)
		}
	}
	for first := range unplayed {
		t.Errorf("no scene for %q", first)
	}
	if t.Failed() {
		return
	}
	refuseTaken(t)
	for name, list := range of {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range list {
				t.Run(strings.Join(strings.Fields(s.blocks[0])[:4], " "), func(t *testing.T) { play(t, s, found) })
			}
		})
	}
}

// step is a command, and what a page shows of its output.
type step struct {
	command string
	shown   []string
}

// documented returns the blocks of commands in all pages, by the first command. One that
// several pages have is there once.
func documented(t *testing.T) map[string][]step {
	t.Helper()
	found := map[string][]step{}
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/*/*.md"} {
		pages, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || pages == nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range blocks(t, page, string(text)) {
				if other, ok := found[b[0].command]; ok && !reflect.DeepEqual(b, other) {
					t.Errorf("%s: two different blocks begin with %q", page, b[0].command)
				}
				found[b[0].command] = b
			}
		}
	}
	return found
}

// blocks are those with commands. In one with prompts the other lines are output.
func blocks(t *testing.T, page, text string) (list [][]step) {
	t.Helper()
	text = strings.ReplaceAll(text, "\\\n", " ")
	for i, part := range strings.Split(text, "\n```") {
		language, lines, _ := strings.Cut(part, "\n")
		switch {
		case i%2 == 0, language == "yaml": // between blocks, and configuration
			continue
		case language != "":
			t.Errorf("%s: a block of %q, which is neither commands nor YAML", page, language)
			continue
		}
		var b []step
		prompts := strings.HasPrefix(lines, "$ ")
		for line := range strings.Lines(lines) {
			line = strings.TrimSuffix(line, "\n")
			command, typed := strings.CutPrefix(line, "$ ")
			if typed || !prompts {
				b = append(b, step{command: command})
			} else {
				b[len(b)-1].shown = append(b[len(b)-1].shown, line)
			}
		}
		list = append(list, b)
	}
	return list
}

// refuseTaken fails if there is already a container that the test would make, or one that
// a command without a name would select.
func refuseTaken(t *testing.T) {
	t.Helper()
	for _, s := range scenes() {
		for _, name := range s.names() {
			if out, err := exec.Command("docker", "container", "inspect", name).CombinedOutput(); err == nil {
				t.Fatalf("there is a container %s, which this test does not touch: %.100s", name, out)
			}
		}
	}
	for _, label := range []string{"checkpointctl.park", "com.docker.compose.project=shop"} {
		if found := docker(t, "ps", "-aq", "--filter", "label="+label); found != "" {
			t.Fatalf("there are containers with the label %s, which this test does not touch: %s", label, found)
		}
	}
}

// reader types what a page says, in directories of its own.
type reader struct {
	t                 *testing.T
	dir, tools, store string // dir is the home directory, and the working directory
	env               []string
	instead           []string          // as of the scene
	at                int               // what the running ones had counted to at least
	said              map[string]string // by the commands, as the pages have them
	podman            podman
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{t: t, dir: t.TempDir(), tools: t.TempDir(), store: t.TempDir(), said: map[string]string{}}
	r.env = append(os.Environ(), "PATH="+r.tools+":"+os.Getenv("PATH"), "HOME="+r.dir, "CHECKPOINTCTL_DIR="+r.store, "HOSTS="+t.TempDir())
	if err := os.Symlink(binary, filepath.Join(r.tools, "checkpointctl")); err != nil {
		t.Fatal(err)
	}
	for name, text := range standIns(t) {
		r.program(name, text)
	}
	return r
}

// program makes one that the commands find before the host's.
func (r *reader) program(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.tools, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reader) box(name string) *box { return &box{t: r.t, name: name, store: r.store} }

func (r *reader) run(command string) string {
	r.t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env, cmd.Dir = r.env, r.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// play runs the blocks of a scene, one after the other.
func play(t *testing.T, s scene, found map[string][]step) {
	r := newReader(t)
	if slices.Contains(s.options, "-v") {
		t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "-f", volume()).Run() })
	}
	for _, name := range s.names() {
		t.Cleanup(r.box(name).remove)
	}
	if s.prepare != nil {
		s.prepare(r)
	}
	program := s.program
	if program == nil {
		program = []string{baseImage, "sh", "-c", counting}
	}
	for _, name := range s.running {
		docker(t, slices.Concat([]string{"run", "-d", "--name", name}, s.options, program)...)
	}
	for _, name := range s.running {
		r.at = r.box(name).await(8)
	}
	for _, command := range s.before {
		r.run(command)
	}
	var steps []step
	all := ""
	for _, first := range s.blocks {
		steps = append(steps, found[first]...)
		for _, one := range found[first] {
			all += one.command + "\n"
		}
	}
	words := slices.Concat(s.instead, r.instead)
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(all, words[i]) {
			t.Fatalf("%q is not in %s", words[i], all)
		}
	}
	instead := strings.NewReplacer(words...)
	for i, one := range steps {
		if i > 0 && s.between != nil {
			s.between(r)
		}
		out := r.run(instead.Replace(one.command))
		r.said[one.command] = out
		if shown := strings.Join(one.shown, "\n"); shown != "" && shape(strings.TrimSpace(out)) != shape(shown) {
			t.Errorf("%s shows:\n%s\nprinted is:\n%s", one.command, shown, out)
		}
	}
	if s.after != nil {
		s.after(r)
	}
	for _, name := range s.counts {
		c := r.box(name)
		if got := c.await(c.count()); c.state() != "running" || got <= r.at || got > r.at+600 {
			t.Errorf("%s is %s and counts %d, after %d", name, c.state(), got, r.at)
		}
	}
}

// shape is a text without its addresses and figures.
func shape(text string) string {
	return regexp.MustCompile(`\b[0-9a-f]{7,12}\b|[0-9.]+[A-Za-zµ]*`).ReplaceAllString(text, "N")
}

// standIns are programs that the commands run, and what does their work here: another
// host is this one with another store, and a reboot what systemd would do for it.
func standIns(t *testing.T) map[string]string {
	t.Helper()
	units, err := filepath.Abs("../../configs/systemd")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"sudo": `exec "$@"`,
		"ssh": `host=$HOSTS/$1
shift
mkdir -p -m 700 "$host"
CHECKPOINTCTL_DIR=$host exec "$@"`,
		"systemctl": fmt.Sprintf(`[ "$1 $2" = "enable --now" ] || exit 2
for key in ExecStart ExecStop ExecStart; do
	command=$(sed -n "s|^$key=-\{0,1\}/usr/local/bin/||p" %s/"$3")
	[ -n "$command" ] && $command || exit
done`, units),
	}
}
