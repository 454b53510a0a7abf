package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
)

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// tableGap is what is between columns, in characters.
const tableGap = 3

// table aligns columns; rows are tab separated.
func table(w io.Writer, write func(io.Writer)) error {
	buffered := bufio.NewWriter(w) // a tabwriter writes each cell and its padding by itself
	tw := tabwriter.NewWriter(buffered, 0, 0, tableGap, ' ', 0)
	write(tw)
	return errors.Join(tw.Flush(), buffered.Flush())
}

func size(bytes int64) string { return units.BytesSize(float64(bytes)) }

func micros(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

func age(t time.Time) string { return fmt.Sprintf("%s ago", units.HumanDuration(time.Since(t))) }
