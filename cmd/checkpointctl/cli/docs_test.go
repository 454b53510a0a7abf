package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// invocation is a command line of checkpointctl, maybe run by another program.
var invocation = regexp.MustCompile(`^\s*(?:(?:sudo|docker|ssh \S+) )*checkpointctl (.+)`)

// calls are the command lines of checkpointctl in a text: in blocks of code, also
// behind a pipe, and in code within a line. The name of a command alone is none.
func calls(text string) (list []string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	block := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			block = !block
			continue
		}
		spans := []string{line}
		if !block {
			spans = nil
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
				spans = append(spans, m[1])
			}
		}
		for _, span := range spans {
			for _, part := range regexp.MustCompile(`[|;&]+|\$ |# `).Split(span, -1) {
				if m := invocation.FindStringSubmatch(part); m != nil && (block || strings.Contains(m[1], " ")) {
					list = append(list, strings.Replace(m[1], "COMMAND", "list", 1))
				}
			}
		}
	}
	return list
}

// What the documentation says to type is a command line that is taken: its commands and
// flags exist, and have as many arguments as they want.
func TestCommandLinesInTheDocumentation(t *testing.T) {
	top := filepath.Join("..", "..", "..")
	pages, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	designs, err := filepath.Glob(filepath.Join(top, "docs", "design", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(append(pages, designs...), filepath.Join(top, "README.md"), filepath.Join(top, "CONTRIBUTING.md"), filepath.Join(top, "SECURITY.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range calls(string(text)) {
			found++
			if err := taken(call); err != nil {
				t.Errorf("%s: checkpointctl %s: %v", filepath.Base(page), call, err)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d command lines found", found)
	}
}

// So are the examples of the commands' help.
func TestExamples(t *testing.T) {
	root := newRootCmd(newDeps(new(bytes.Buffer), new(bytes.Buffer)))
	for _, cmd := range root.Commands() {
		for _, line := range calls("```\n" + cmd.Example) {
			if err := taken(line); err != nil {
				t.Errorf("%s: checkpointctl %s: %v", cmd.Name(), line, err)
			}
		}
	}
}

// taken parses a command line and does not run it.
func taken(line string) error {
	var args []string
	for _, word := range regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`).FindAllString(line, -1) {
		args = append(args, strings.Trim(word, `"'`))
	}
	root := newRootCmd(newDeps(new(bytes.Buffer), new(bytes.Buffer)))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if !cmd.HasSubCommands() {
		return cmd.ValidateArgs(cmd.Flags().Args())
	}
	return nil
}
