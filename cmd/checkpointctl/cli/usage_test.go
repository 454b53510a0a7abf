package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// help returns what --help prints of a command.
func help(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	d := &deps{out: &out, errOut: &out}
	cmd := newRootCmd(d)
	cmd.SetArgs(append(args, "--help"))
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestHelpOfEveryCommandFits(t *testing.T) {
	root := newRootCmd(&deps{})
	names := []string{""}
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	for _, name := range names {
		text := help(t, strings.Fields(name)...)
		for _, line := range strings.Split(text, "\n") {
			if len(line) > helpWidth && !strings.HasPrefix(line, "  checkpointctl ") {
				t.Errorf("%s --help: %d columns: %s", name, len(line), line)
			}
		}
	}
}

func TestFlagsAreShownByGroup(t *testing.T) {
	text := help(t, "checkpoint")
	at := -1
	for _, want := range []string{"\nFlags:", "--name", "\nSeveral containers:", "--all", "\nFiles:", "--volumes", "\nMemory rounds:", "--parent", "\nEncryption:", "--encrypt-to", "\nCRIU:", "--ghost-limit", "\nGlobal flags:", "--dir"} {
		next := strings.Index(text[at+1:], want)
		if next < 0 {
			t.Fatalf("%q is missing behind byte %d of\n%s", want, at, text)
		}
		at += 1 + next
	}
}

func TestExits(t *testing.T) {
	want := "\nExit status:\n    0  success\n    1  any other error\n    2  wrong usage or configuration\n   24  the checkpoint is damaged\n  130  interrupted"
	if got := exits(exitDamaged); got != want {
		t.Errorf("%q", got)
	}
	// docs/exit-codes.md has each of them.
	page, err := os.ReadFile("../../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range meanings {
		if !strings.Contains(string(page), fmt.Sprintf("| %d |", m.code)) {
			t.Errorf("docs/exit-codes.md lacks %d", m.code)
		}
	}
}
