package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/report"
	"github.com/checkpointctl/checkpointctl/internal/search"
)

type grepOptions struct {
	regexp, hex, utf16 bool
	pid                uint32
	context, most      int
}

// errNoMatch ends grep with status 1, and says nothing, as grep(1) does.
var errNoMatch = errors.New("nothing matches")

// errEnough ends a search at --max-count.
var errEnough = errors.New("enough matches")

// maxContext is the most that --context may ask for, in bytes.
const maxContext = 4 << 10

func newGrepCmd(d *deps) *cobra.Command {
	var o grepOptions
	cmd := &cobra.Command{
		Use:   "grep CONTAINER [CHECKPOINT] PATTERN | FILE PATTERN",
		Short: "Search the memory in a checkpoint",
		Long: `Search the memory of all processes in a checkpoint, its pre-dump rounds and its parents.
Each match is printed with the process, the address, the mapping and the bytes around
it. Memory that processes share is searched once.

The pattern is plain text, or a Go regular expression with --regexp, hexadecimal bytes
with --hex, or UTF-16 text with --utf16. A checkpoint has no pages of files that were not
changed, and no pages of zeros. A match of a regular expression that is longer than 4 KiB
may be missed.

If nothing matches, the exit status is 1 and nothing is printed.
` + contentsHelp + exits(exitNoCheckpoint, exitSealed, exitCRIU, exitDamaged, exitArchive),
		Example: `  checkpointctl grep myapp before-upgrade 'BEGIN PRIVATE KEY'
  checkpointctl grep myapp --regexp 'AKIA[0-9A-Z]{16}'
  checkpointctl grep ./podman.tar.zst --hex 'de ad be ef' --pid 1 --json`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: d.completeContents,
		RunE: func(cmd *cobra.Command, args []string) error {
			last := len(args) - 1
			pattern, err := o.pattern(args[last])
			if err != nil {
				return fmt.Errorf("%w: %w", config.ErrInvalid, err)
			}
			if o.context < 0 || o.context > maxContext || o.most < 0 {
				return fmt.Errorf("%w: --context is 0 to %d, --max-count not below 0", config.ErrInvalid, maxContext)
			}
			return runGrep(cmd.Context(), d, args[:last], pattern, o)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.regexp, "regexp", "E", false, "the pattern is a regular expression")
	f.BoolVar(&o.hex, "hex", false, "the pattern is bytes in hexadecimal")
	f.BoolVar(&o.utf16, "utf16", false, "search for the text in UTF-16")
	cmd.MarkFlagsMutuallyExclusive("regexp", "hex", "utf16")
	f.Uint32Var(&o.pid, "pid", 0, "only the process with this `PID` in the container")
	f.IntVar(&o.context, "context", 16, "`bytes` before and behind a match to print")
	f.IntVarP(&o.most, "max-count", "m", 0, "end after this `number` of matches (default all)")
	d.contentsFlags(f)
	d.jsonFlag(cmd)
	return cmd
}

func (o grepOptions) pattern(text string) (search.Pattern, error) {
	switch {
	case o.regexp:
		return search.Regexp(text)
	case o.hex:
		return search.Hex(text)
	case o.utf16:
		return search.UTF16(text)
	}
	return search.Literal(text)
}

func runGrep(ctx context.Context, d *deps, args []string, pattern search.Pattern, o grepOptions) (err error) {
	c, err := d.contents(ctx, args)
	if err != nil {
		return err
	}
	defer closing(c, &err)
	s, err := readSnapshot(c, o.pid)
	if err != nil {
		return err
	}
	out := matchPrinter{out: d.out, json: d.json}
	searched, err := search.Run(ctx, s, search.Request{Pattern: pattern, PID: o.pid, Context: o.context, Found: func(m search.Match) error {
		if err := out.print(m); err != nil {
			return err
		}
		if out.n == o.most {
			return errEnough
		}
		return nil
	}})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if err := out.end(); err != nil {
		return err
	}
	if searched.Missing > 0 {
		d.warn(fmt.Sprintf("%s of the memory are in none of the images, and were not searched", size(searched.Missing)))
	}
	if out.n == 0 {
		return errNoMatch
	}
	return nil
}

// match is one as --json prints it.
type match struct {
	PIDs    []uint32 `json:"pids"`
	Address uint64   `json:"address"`
	Mapping string   `json:"mapping"`
	Hex     string   `json:"match_hex"`
	Context string   `json:"context"` // printable, with the match in it
}

// matchPrinter prints matches as they are found, with json as one array.
type matchPrinter struct {
	out  io.Writer
	json bool
	n    int
}

func (p *matchPrinter) print(m search.Match) error {
	p.n++
	around := readable(m.Before) + readable(m.Bytes) + readable(m.After)
	if !p.json {
		_, err := fmt.Fprintf(p.out, "%s  %x  %s  %s\n", pidList(m.PIDs), m.Address, report.Text(m.Mapping), around)
		return err
	}
	data, err := json.Marshal(match{m.PIDs, m.Address, m.Mapping, hex.EncodeToString(m.Bytes), around})
	if err != nil {
		return err
	}
	between := ",\n "
	if p.n == 1 {
		between = "[\n "
	}
	_, err = fmt.Fprintf(p.out, "%s%s", between, data)
	return err
}

// end ends the array.
func (p *matchPrinter) end() error {
	if !p.json {
		return nil
	}
	text := "\n]\n"
	if p.n == 0 {
		text = "[]\n"
	}
	_, err := io.WriteString(p.out, text)
	return err
}

// pidList is as in 1, or 1,5 for memory that processes share; the first ones of many.
func pidList(list []uint32) string {
	const most = 4
	var text []string
	for _, pid := range list[:min(len(list), most)] {
		text = append(text, fmt.Sprint(pid))
	}
	if len(list) > most {
		text = append(text, "...")
	}
	return strings.Join(text, ",")
}

// readable are bytes of memory, with a dot for what is no character of ASCII.
func readable(data []byte) string {
	text := make([]byte, len(data))
	for i, b := range data {
		if text[i] = b; b < ' ' || b > '~' {
			text[i] = '.'
		}
	}
	return string(text)
}
