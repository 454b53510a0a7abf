package manual

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Settings turns an example configuration into Markdown: the comment on top, then
// each key with its value, which is its default, and its comment. Indented lines at
// the end of a comment are an example. A key without a comment is an error, unless it
// only holds others.
func Settings(example []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(example, &doc); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("the example configuration has no keys")
	}
	var b bytes.Buffer
	// The first line is for editors.
	_, head, _ := strings.Cut(doc.HeadComment, "\n")
	text, _ := readComment(head)
	fmt.Fprintf(&b, "# Settings\n\n%s\n\n## SETTINGS\n\n", text)
	err := writeKeys(&b, doc.Content[0], "")
	return b.Bytes(), err
}

func writeKeys(b *bytes.Buffer, n *yaml.Node, prefix string) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := prefix + key.Value
		text, example := readComment(key.HeadComment)
		if prefix == "" && value.Kind != yaml.ScalarNode {
			fmt.Fprintf(b, "### %s\n\n", name)
		}
		if value.Kind == yaml.MappingNode {
			fmt.Fprintf(b, "%s\n\n", text)
			if err := writeKeys(b, value, name+"."); err != nil {
				return err
			}
			continue
		}
		if text == "" {
			return fmt.Errorf("line %d: %s has no comment", key.Line, name)
		}
		def, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "**%s** (default: %s)\n: %s\n\n", escape(name), escape(strings.TrimSpace(string(def))), text)
		if example != "" {
			fmt.Fprintf(b, "For example:\n\n```\n%s```\n\n", example)
		}
	}
	return nil
}

// readComment returns the text of a comment as one paragraph of Markdown, and the
// lines of its example as they are.
func readComment(comment string) (text, example string) {
	var words []string
	for line := range strings.Lines(comment) {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ")
		if strings.HasPrefix(line, " ") {
			example += line
			continue
		}
		words = append(words, strings.Fields(line)...)
	}
	if example != "" && !strings.HasSuffix(example, "\n") {
		example += "\n"
	}
	return escape(strings.Join(words, " ")), example
}

// escape makes text of what would be Markdown.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `_`, `\_`, "`", "\\`", `[`, `\[`, `<`, `\<`).Replace(text)
}
