package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/coredump"
	"github.com/checkpointctl/checkpointctl/internal/report"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

type coreOptions struct {
	pid        uint32
	output, at string
}

func newCoreCmd(d *deps) *cobra.Command {
	var o coreOptions
	cmd := &cobra.Command{
		Use:   "core CONTAINER [CHECKPOINT] --pid PID -o FILE | FILE --pid PID -o FILE",
		Short: "Write a core file of a process in a checkpoint",
		Long: `Write a process in a checkpoint as a core file, like the one that the kernel writes when a
program crashes: the registers of all threads, the mappings, and the memory that is in
the images. gdb opens it together with the program and its libraries, which you can copy
from the image; "set sysroot" says where they are. Only for x86-64. Zeros take no space.
` + contentsHelp + exits(exitNoCheckpoint, exitSealed, exitCRIU, exitDamaged, exitArchive),
		Example: `  checkpointctl core myapp before-upgrade --pid 1 -o core
  gdb -ex 'set sysroot rootfs' rootfs/usr/bin/myapp core`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: d.completeContents,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runOnProcess(cmd.Context(), d, args, o, func(out *os.File, s *snapshot.Snapshot, p *snapshot.Process) ([]coredump.Piece, error) {
				return nil, coredump.Write(out, s, p)
			})
		},
	}
	d.coreFlags(cmd, &o)
	return cmd
}

func newDumpMemoryCmd(d *deps) *cobra.Command {
	var o coreOptions
	cmd := &cobra.Command{
		Use:   "dump-memory CONTAINER [CHECKPOINT] --pid PID [--map ADDRESS] -o FILE | FILE --pid PID ...",
		Short: "Write the memory of a process in a checkpoint to a file",
		Long: `Write the memory of a process in a checkpoint to a file. With --map that is one mapping,
with zeros for pages that the images do not have. Without it, it is everything that the
images have of the process, one piece after the other; where each piece is in FILE is
printed. Zeros take no space.
` + contentsHelp + exits(exitNoCheckpoint, exitSealed, exitCRIU, exitDamaged, exitArchive),
		Example: `  checkpointctl show myapp maps --pid 1
  checkpointctl dump-memory myapp --pid 1 --map 7ffd1c000000 -o stack`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: d.completeContents,
		RunE: func(cmd *cobra.Command, args []string) error {
			address := uint64(0)
			if o.at != "" {
				var err error
				if address, err = strconv.ParseUint(o.at, 16, 64); err != nil {
					return fmt.Errorf("%w: --map: %q is no address in hexadecimal, as show maps prints it", config.ErrInvalid, o.at)
				}
			}
			return runOnProcess(cmd.Context(), d, args, o, func(out *os.File, s *snapshot.Snapshot, p *snapshot.Process) ([]coredump.Piece, error) {
				return dumpMemory(out, s, p, o.at != "", address)
			})
		},
	}
	d.coreFlags(cmd, &o)
	cmd.Flags().StringVar(&o.at, "map", "", "the mapping that has this `address`, in hexadecimal")
	d.jsonFlag(cmd)
	return cmd
}

func (d *deps) coreFlags(cmd *cobra.Command, o *coreOptions) {
	f := cmd.Flags()
	f.Uint32Var(&o.pid, "pid", 0, "the process with this `PID` in the container")
	f.StringVarP(&o.output, "output", "o", "", "`file` to write")
	d.contentsFlags(f)
}

// errNoMapping is an address that no mapping of the process has.
var errNoMapping = errors.New("no such mapping in the process")

func dumpMemory(out *os.File, s *snapshot.Snapshot, p *snapshot.Process, one bool, address uint64) (pieces []coredump.Piece, err error) {
	m, err := s.Memory(p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if !one {
		return coredump.WriteAll(out, m, p.Mappings)
	}
	for _, a := range p.Mappings {
		if a.Start <= address && address < a.End {
			piece, err := coredump.WriteMapping(out, m, a)
			return []coredump.Piece{piece}, err
		}
	}
	return nil, fmt.Errorf("%w %d: %x", errNoMapping, p.PID, address)
}

// runOnProcess writes something of a process into a file, which appears when it is whole,
// and prints the pieces that it has.
func runOnProcess(ctx context.Context, d *deps, args []string, o coreOptions, write func(*os.File, *snapshot.Snapshot, *snapshot.Process) ([]coredump.Piece, error)) (err error) {
	if o.pid == 0 || o.output == "" || o.output == "-" {
		return fmt.Errorf("%w: --pid says of which process, --output to which file", config.ErrInvalid)
	}
	c, err := d.contents(ctx, args)
	if err != nil {
		return err
	}
	defer closing(c, &err)
	s, err := readSnapshot(c, o.pid)
	if err != nil {
		return err
	}
	var pieces []coredump.Piece
	if _, err = toFile(o.output, func(out *os.File) (err error) {
		pieces, err = write(out, s, s.Process(o.pid))
		return err
	}); err != nil {
		return err
	}
	return printPieces(d, o.output, pieces)
}

func printPieces(d *deps, file string, pieces []coredump.Piece) error {
	switch {
	case d.json:
		return printJSON(d.out, pieces)
	case pieces == nil:
		_, err := fmt.Fprintln(d.out, file)
		return err
	}
	return table(d.out, func(w io.Writer) {
		fmt.Fprint(w, "OFFSET\tADDRESS\tNAME\n")
		for _, p := range pieces {
			fmt.Fprintf(w, "%x\t%x-%x\t%s\n", p.Offset, p.Start, p.End, report.Text(p.Name))
		}
	})
}
