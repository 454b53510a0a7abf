//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// scene is what the commands of a block in README.md take for granted.
type scene struct {
	skip    string   // why they are not run; nothing else is set then
	running []string // containers that count
	options []string // of these, in docker run
	before  []string // commands
	// instead are words of README and what stands here for them.
	instead map[string]string
	// between runs before each command but the first.
	between func(*testing.T, *readme)
	counts  []string // containers that go on from where the running ones were
}

// scenes are those of all blocks with commands, by the first of these.
func scenes() map[string]scene {
	killed := func(name string) func(*testing.T, *readme) {
		return func(_ *testing.T, r *readme) { r.box(name).kill() }
	}
	count := "'" + counting + "'"
	return map[string]scene{
		"sudo checkpointctl checkpoint myapp --name before-upgrade --leave-running=false": {
			running: []string{"myapp"}, counts: []string{"myapp"},
		},
		"sudo make demo     # install what is missing, build, and watch a container go on where it was": {
			skip: "it installs on the host: test/install and test/packages do that elsewhere",
		},
		"checkpointctl checkpoint myapp --leave-running=false": {running: []string{"myapp"}, counts: []string{"myapp"}},
		"checkpointctl checkpoint db --name before-upgrade --volumes": {
			running: []string{"db"}, options: []string{"-v", prefix + "readme:/data"}, counts: []string{"db"},
		},
		"checkpointctl export myapp -o - | ssh other sudo checkpointctl import -": {
			running: []string{"myapp"}, counts: []string{"myapp"},
			before: []string{"checkpointctl checkpoint myapp --leave-running=false", "docker rm myapp"}, // the other host has none
		},
		"checkpointctl restore myapp/warm --name worker --clones 4": {
			running: []string{"myapp"}, counts: []string{"worker-1", "worker-2", "worker-3", "worker-4"},
			before: []string{"checkpointctl checkpoint myapp --name warm"},
		},
		"docker run -d --name web --label checkpointctl.park nginx": {
			counts: []string{"web"}, instead: map[string]string{" nginx": " " + baseImage + " sh -c " + count},
			between: func(_ *testing.T, r *readme) { r.at = r.box("web").await(8) },
		},
		"checkpointctl checkpoint --compose-project shop --consistent": {
			running: []string{"shop-web", "shop-db"}, options: []string{"--label", "com.docker.compose.project=shop"},
			counts: []string{"shop-web", "shop-db"},
		},
		"checkpointctl restore web before-upgrade --files=rollback  # with the checkpoint's files": {
			running: []string{"web"}, counts: []string{"web"}, between: killed("web"),
			before: []string{"checkpointctl checkpoint web --name before-upgrade", "docker exec web touch /changed", "docker kill web"},
		},
		"checkpointctl restore web/before-upgrade --name web3 -p 8081:80": {
			running: []string{"web"}, counts: []string{"web3", "w-1", "w-2", "w-3"},
			before: []string{"checkpointctl checkpoint web --name before-upgrade"},
		},
		"sudo checkpointctl export myapp before-upgrade --sign ~/.ssh/id_ed25519 -o - | ssh other sudo checkpointctl import - --signed-by /etc/checkpointctl/signers": {
			skip: "it needs keys of the user's and the other host's: TestArchive has its own",
		},
		"sudo checkpointctl export myapp --format podman -o myapp.tar.zst": {
			skip: "Podman lacks the image: TestPodmanRestores brings it",
		},
		"sudo checkpointctl push myapp before-upgrade registry.example/checkpoints/myapp:v1 --encrypt-to age1...": {
			skip: "there is no such registry and no such key: TestRegistry has its own",
		},
	}
}

// The commands in README.md do what it says, on containers that are called as there.
func TestReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	known := scenes()
	refuseTaken(t, known)
	of := map[string][]block{} // by the container that they are about
	for _, b := range blocks(string(text)) {
		s, ok := known[b.commands[0]]
		if !ok {
			t.Errorf("no scene for %q", b.commands)
			continue
		}
		delete(known, b.commands[0])
		if s.skip == "" {
			name := append(s.running, s.counts...)[0]
			of[name] = append(of[name], b)
		}
	}
	for command := range known {
		t.Errorf("README.md has no %q", command)
	}
	for name, list := range of {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, b := range list {
				t.Run(strings.Join(strings.Fields(b.commands[0])[:4], " "), func(t *testing.T) { play(t, b, scenes()[b.commands[0]]) })
			}
		})
	}
}

// block are commands of README.md, and what it shows of their output.
type block struct{ commands, shown []string }

// blocks are those with commands of ours, or of docker. In one with prompts the other
// lines are output.
func blocks(text string) (list []block) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for i, part := range strings.Split(text, "\n```") {
		if i%2 == 0 || !strings.HasPrefix(part, "\n") { // between blocks, or of another language
			continue
		}
		var b block
		prompts := strings.Contains(part, "\n$ ")
		for _, line := range strings.Split(strings.Trim(part, "\n"), "\n") {
			command, typed := strings.CutPrefix(line, "$ ")
			if typed || !prompts {
				b.commands = append(b.commands, command)
			} else {
				b.shown = append(b.shown, line)
			}
		}
		list = append(list, b)
	}
	return list
}

// refuseTaken fails if there is already a container that the test would make, or one that
// a command without a name would select.
func refuseTaken(t *testing.T, known map[string]scene) {
	t.Helper()
	for _, s := range known {
		for _, name := range append(s.running, s.counts...) {
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

// readme plays one block.
type readme struct {
	t     *testing.T
	store string
	env   []string
	at    int // what the running ones had counted to at least
}

func (r *readme) box(name string) *box { return &box{t: r.t, name: name, store: r.store} }

func (r *readme) run(command string) string {
	r.t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = r.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

func play(t *testing.T, b block, s scene) {
	tools := t.TempDir()
	r := &readme{t: t, store: t.TempDir()}
	r.env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"), "CHECKPOINTCTL_DIR="+r.store, "OTHER_HOST="+t.TempDir())
	if err := os.Symlink(binary, filepath.Join(tools, "checkpointctl")); err != nil {
		t.Fatal(err)
	}
	for name, text := range standIns(t) {
		if err := os.WriteFile(filepath.Join(tools, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Contains(s.options, "-v") {
		t.Cleanup(func() { _ = exec.Command("docker", "volume", "rm", "-f", prefix+"readme").Run() })
	}
	for _, name := range append(s.running, s.counts...) {
		t.Cleanup(r.box(name).remove)
	}
	for _, name := range s.running {
		docker(t, append(append([]string{"run", "-d", "--name", name}, s.options...), baseImage, "sh", "-c", counting)...)
	}
	for _, name := range s.running {
		r.at = r.box(name).await(8)
	}
	for _, command := range s.before {
		r.run(command)
	}
	all, out := strings.Join(b.commands, "\n"), ""
	for word, other := range s.instead {
		if !strings.Contains(all, word) {
			t.Fatalf("%q is not in %s", word, all)
		}
		all = strings.ReplaceAll(all, word, other)
	}
	for i, command := range strings.Split(all, "\n") {
		if i > 0 && s.between != nil {
			s.between(t, r)
		}
		out += r.run(command)
	}
	if shown := strings.Join(b.shown, "\n"); shown != "" && shape(strings.TrimSpace(out)) != shape(shown) {
		t.Errorf("README.md shows:\n%s\nprinted is:\n%s", shown, out)
	}
	for _, name := range s.counts {
		c := r.box(name)
		if got := c.await(c.count()); c.state() != "running" || got <= r.at || got > r.at+600 {
			t.Errorf("%s is %s and counts %d, after %d", name, c.state(), got, r.at)
		}
	}
}

// shape is a text without its figures.
func shape(text string) string {
	return regexp.MustCompile(`[0-9.]+[A-Za-zµ]*`).ReplaceAllString(text, "N")
}

// standIns are programs that README's commands run, and what does their work here: another
// host is this one with another store, and a reboot what systemd would do for it.
func standIns(t *testing.T) map[string]string {
	t.Helper()
	units, err := filepath.Abs("../../configs/systemd")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"sudo": `exec "$@"`,
		"ssh":  `[ "$1" = other ] && shift && CHECKPOINTCTL_DIR=$OTHER_HOST exec "$@"`,
		"systemctl": fmt.Sprintf(`[ "$1 $2" = "enable --now" ] || exit 2
for key in ExecStart ExecStop ExecStart; do
	command=$(sed -n "s|^$key=-\{0,1\}/usr/local/bin/||p" %s/"$3")
	[ -n "$command" ] && $command || exit
done`, units),
	}
}
