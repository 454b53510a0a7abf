// Package script drives the command line against a fake CRIU that speaks the
// real RPC and a fake Docker socket. Each testdata/*.txtar is one script, see
// https://pkg.go.dev/github.com/rogpeppe/go-internal/testscript
package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/checkpointctl/checkpointctl/cmd/checkpointctl/cli"
	"github.com/checkpointctl/checkpointctl/internal/linux"
)

func TestMain(m *testing.M) {
	commands := map[string]func(){
		"checkpointctl": func() { os.Exit(cli.Main()) },
		"criu":          func() { os.Exit(fakeCRIU(os.Args[1:])) },
		"container":     func() { os.Exit(isolate(os.Args[1:])) },
	}
	switch {
	case os.Args[0] == ownRun:
		if err := mountRun(); err != nil {
			fmt.Fprintln(os.Stderr, "a /run of the tests' own:", err)
			os.Exit(1)
		}
	case commands[filepath.Base(os.Args[0])] == nil:
		os.Exit(inNamespaces())
	}
	testscript.Main(m, commands)
}

// ownRun is what the test binary is called when it has namespaces of its own.
const ownRun = "own-run"

// inNamespaces runs the tests in a mount namespace of their own, and without
// root as root of a user namespace: commands refuse to run without root, and the
// containers need namespaces.
func inNamespaces() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = ownRun
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "running in namespaces of its own:", err)
		return 1
	}
	return 0
}

// mountRun covers /run: restores leave files there that the host must not see,
// nor the tests the host's.
func mountRun() error {
	return errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"),
		os.Mkdir("/run/checkpointctl", 0o700), // before a script makes it, for all to read
	)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Condition: func(cond string) (bool, error) {
			if cond != "freezer" {
				return false, fmt.Errorf("no condition %s", cond)
			}
			return freezes(), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"docker":   dockerCmd,
			"exitcode": exitCode,
			"keys":     keysCmd,
			"registry": registryCmd,
		},
	})
}

type daemonKey struct{}

func setup(env *testscript.Env) error {
	d, err := startDaemon(filepath.Join(env.WorkDir, "docker-root"))
	if err != nil {
		return err
	}
	env.Defer(d.stop)
	env.Values[daemonKey{}] = d
	env.Setenv("DOCKER_HOST", d.host)
	env.Setenv("CHECKPOINTCTL_RESTORE_RUNTIME", d.standIn())
	env.Setenv("CHECKPOINTCTL_DIR", filepath.Join(env.WorkDir, "store"))
	return nil
}

// dockerCmd changes what the fake daemon holds:
//
//	docker run NAME [KEY=VALUE...]    a container with a process, and its ID in $NAME_id,
//	                                  its freezer cgroup in $NAME_cgroup
//	docker create NAME [KEY=VALUE...] one that does not run, likewise
//	docker freeze NAME                its cgroup, which Docker does not know
//	docker pause NAME                 its state is said to be so
//	docker kill NAME
//	docker rm NAME
//	docker daemon KEY=VALUE...
func dockerCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: docker run|create|kill|rm NAME | daemon KEY=VALUE...")
	}
	d := ts.Value(daemonKey{}).(*daemon)
	var err error
	switch args[0] {
	case "run", "create":
		ts.Check(d.add(args[1], args[2:]))
		ts.Setenv(args[1]+"_id", d.containers[args[1]].id)
		if args[0] == "run" {
			err = d.start(args[1])
		}
		if dir, noFreezer := d.containers[args[1]].cgroup(); noFreezer == nil {
			ts.Setenv(args[1]+"_cgroup", dir)
		}
	case "freeze":
		err = linux.FreezerAt(ts.Getenv(args[1] + "_cgroup")).Freeze()
	case "pause":
		d.containers[args[1]].state = "paused"
	case "kill":
		err = d.kill(args[1])
	case "rm":
		err = d.remove(args[1])
	case "daemon":
		err = d.set(args[1:])
	default:
		err = fmt.Errorf("no such verb %s", args[0])
	}
	ts.Check(err)
}

// exitCode runs a program and wants its exit status: exitcode N PROGRAM ARG...
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// isolate is the process of a fake container: alone on a small root, so that
// its mount table does not depend on the machine.
func isolate(args []string) int {
	root := args[0]
	steps := []struct {
		what string
		do   func() error
	}{
		{"private", func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") }},
		{"tmpfs", func() error { return syscall.Mount("tmpfs", root, "tmpfs", 0, "size=1m") }},
		{"old", func() error { return os.Mkdir(filepath.Join(root, "old"), 0o700) }},
		{"pivot_root", func() error { return syscall.PivotRoot(root, filepath.Join(root, "old")) }},
		{"chdir", func() error { return os.Chdir("/") }},
		{"umount", func() error { return syscall.Unmount("/old", syscall.MNT_DETACH) }},
		{"ready", func() error { _, err := fmt.Println("ready"); return err }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			fmt.Fprintf(os.Stderr, "container: %s: %v\n", s.what, err)
			return 1
		}
	}
	select {}
}
