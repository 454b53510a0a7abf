//go:build e2e

package e2e

import (
	"slices"
	"strings"
)

// scene is what blocks of commands in README.md and docs take for granted, and what comes
// of them.
type scene struct {
	blocks  []string // that are run in this order, by the first command of each
	skip    string   // why they are not run; nothing else is set then
	running []string // containers that run before
	options []string // of these, in docker run
	program []string // of these: the image and its arguments; if nil, they count
	prepare func(*reader)
	before  []string // commands
	// instead are words of the commands, each followed by what stands here for it.
	instead []string
	between func(*reader) // runs before each command but the first
	after   func(*reader) // looks at what came of it
	counts  []string      // containers that go on from where the running ones were
}

// names are those of all its containers.
func (s scene) names() []string { return slices.Concat(s.running, s.counts) }

// volume is the one of a scene.
func volume() string { return prefix + "documents" }

// keeper counts, and has in its heap what docs/show.md searches for, each once: so its
// source has it backwards.
const keeper = `
import time
memory = bytearray(4096)
def put(at, text):
    for i, c in enumerate(reversed(text)): memory[at + i] = ord(c)
put(64, "DABIQvEIIM\n-----YEK ETAVIRP NIGEB-----")
put(256, "FEDCBA9876543210AIKA")
put(512, "\0o\0l\0l\0e\0h")
put(768, "\xef\xbe\xad\xde")
for n in range(1, 10 ** 6):
    print(n, flush=True)
    time.sleep(0.1)
`

// scenes are those of all blocks with commands.
func scenes() []scene {
	return slices.Concat(mainScenes(), fileScenes(), podmanScenes(), insideScenes())
}

// mainScenes are of the first half of README.md, and of park.
func mainScenes() []scene {
	return []scene{
		{
			blocks:  []string{"sudo checkpointctl checkpoint myapp --name before-upgrade --leave-running=false"},
			running: []string{"myapp"}, counts: []string{"myapp"},
		},
		{
			blocks: []string{"sudo make demo     # install what is missing, build, and watch a container go on where it was"},
			skip:   "it installs on the host: test/install runs make install elsewhere, and test/packages runs the demo",
		},
		{
			blocks:  []string{"checkpointctl checkpoint myapp --leave-running=false"},
			running: []string{"myapp"}, counts: []string{"myapp"},
		},
		{
			blocks:  []string{"checkpointctl checkpoint db --name before-upgrade --volumes"},
			running: []string{"db"}, options: []string{"-v", volume() + ":/data"}, counts: []string{"db"},
		},
		{
			blocks:  []string{"checkpointctl export myapp -o - | ssh other sudo checkpointctl import -"},
			running: []string{"myapp"}, counts: []string{"myapp"},
			before: []string{"checkpointctl checkpoint myapp --leave-running=false", "docker rm myapp"}, // the other host has none
		},
		{
			blocks:  []string{"checkpointctl restore myapp/warm --name worker --clones 4"},
			running: []string{"myapp"}, counts: []string{"worker-1", "worker-2", "worker-3", "worker-4"},
			before: []string{"checkpointctl checkpoint myapp --name warm"},
		},
		{
			blocks:  []string{"docker run -d --name web --label checkpointctl.park nginx"},
			counts:  []string{"web"},
			instead: []string{" nginx", " " + baseImage + " sh -c '" + counting + "'"},
			between: func(r *reader) { r.at = r.box("web").await(8) },
		},
		{
			blocks:  []string{"checkpointctl checkpoint --compose-project shop --consistent"},
			running: []string{"shop-web", "shop-db"}, options: []string{"--label", "com.docker.compose.project=shop"},
			counts: []string{"shop-web", "shop-db"},
		},
	}
}

// fileScenes are of restores with other files, in other containers and on other hosts.
func fileScenes() []scene {
	return []scene{
		{
			blocks:  []string{"checkpointctl restore web before-upgrade --files=rollback  # with the checkpoint's files"},
			running: []string{"web"}, counts: []string{"web"},
			before:  []string{"checkpointctl checkpoint web --name before-upgrade", "docker exec web touch /changed", "docker kill web"},
			between: func(r *reader) { r.box("web").kill() },
		},
		{
			blocks:  []string{"checkpointctl restore web/before-upgrade --name web3 -p 8081:80"},
			running: []string{"web"}, counts: []string{"web3", "w-1", "w-2", "w-3"},
			before: []string{"checkpointctl checkpoint web --name before-upgrade"},
		},
		{
			blocks: []string{
				"sudo checkpointctl export myapp before-upgrade --sign ~/.ssh/id_ed25519 -o - | ssh other sudo checkpointctl import - --signed-by /etc/checkpointctl/signers",
				"tar -xf myapp.tar container.json container.json.sig",
				"sudo checkpointctl push myapp before-upgrade registry.example/checkpoints/myapp:v1 --encrypt-to age1...",
			},
			running: []string{"myapp"}, counts: []string{"myapp"},
			prepare: func(r *reader) {
				host, _ := registry(r.t)
				key, recipient := identity(r.t)
				r.instead = []string{"registry.example", host, "age1...", recipient, "key.txt", key}
			},
			before: []string{
				"checkpointctl checkpoint myapp --name before-upgrade",
				"mkdir .ssh && ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519",
				`echo "alice $(cat .ssh/id_ed25519.pub)" >allowed_signers`,
				"checkpointctl export myapp before-upgrade --sign .ssh/id_ed25519 --compress none -o myapp.tar",
			},
			// The other host has the checkpoint by then.
			instead: []string{"/etc/checkpointctl/signers", "allowed_signers", "sudo checkpointctl pull", "ssh third sudo checkpointctl pull"},
			after: func(r *reader) {
				r.run("ssh other checkpointctl verify myapp before-upgrade")
				r.run("ssh third checkpointctl verify myapp before-upgrade")
			},
		},
	}
}

// podmanScenes are of README.md and docs/podman.md. The host's Podman has none of the
// images.
func podmanScenes() []scene {
	of := func(name, first string) scene {
		return scene{
			blocks: []string{first}, running: []string{name}, counts: []string{name},
			prepare: func(r *reader) {
				r.podman = newPodman(r.t)
				r.program("podman", "exec "+strings.Join(r.podman.command().Args, " ")+` "$@"`)
			},
			before: []string{"checkpointctl checkpoint " + name},
			after:  func(r *reader) { r.podman.goesOn(name, r.at) },
		}
	}
	readme := of("myapp", "sudo checkpointctl export myapp --format podman -o myapp.tar.zst")
	readme.before = append(readme.before, "docker save "+baseImage+" | podman load")
	page := of("web", "checkpointctl export web --format podman -o web.tar.zst")
	page.instead = []string{" app ", " " + baseImage + " "}
	return []scene{readme, page}
}

// insideScenes are of docs/show.md.
func insideScenes() []scene {
	gdb := "gdb -ex 'set sysroot rootfs' rootfs/usr/bin/myapp core"
	return []scene{{
		blocks: []string{
			"checkpointctl show myapp before-upgrade",
			"checkpointctl grep myapp before-upgrade 'BEGIN PRIVATE KEY'",
			"checkpointctl diff myapp before-upgrade after-upgrade",
			"checkpointctl core myapp before-upgrade --pid 1 -o core",
		},
		running: []string{"myapp"}, program: []string{appsImage, "python3", "-c", keeper}, counts: []string{"myapp"},
		prepare: func(r *reader) { needs(r.t, "gdb") },
		before: []string{
			"checkpointctl checkpoint myapp --name before-upgrade",
			"checkpointctl checkpoint myapp --name after-upgrade",
			"checkpointctl export myapp before-upgrade --format podman -o podman.tar.zst",
			"checkpointctl export myapp before-upgrade -o other-host.ckpt",
			"mkdir -p rootfs/usr/bin && docker cp -L myapp:/usr/bin/python3 rootfs/usr/bin/myapp",
		},
		instead: []string{"7ffd1c000000", `$(checkpointctl show myapp maps --pid 1 | sed -n 's/-.*\[stack\]$//p')`},
		after: func(r *reader) {
			if out := r.said[gdb]; !strings.Contains(out, "Core was generated by `python3") {
				r.t.Errorf("%s: %s", gdb, out)
			}
		},
	}}
}
