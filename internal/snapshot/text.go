package snapshot

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/checkpointctl/checkpointctl/internal/criuimg"
)

// maxText is how much of the arguments or of the environment of a process is read, in
// bytes: more than the kernel takes from who has the usual limit on the stack.
const maxText = 4 << 20

// ErrNoText is a process whose arguments and environment are not in the images: they
// are in pages of a parent that is not there, or the process has no memory.
var ErrNoText = errors.New("not in the images")

// Text returns the arguments and the environment of a process, as it has them in its
// memory.
func (s *Snapshot) Text(p *Process) (args, env []string, err error) {
	m, err := criuimg.OpenMemory(s.chain, fmt.Sprintf("pagemap-%d.img", p.PID))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoText, err)
	}
	args, err = splitText(m, p.argStart, p.argEnd)
	if err == nil {
		env, err = splitText(m, p.envStart, p.envEnd)
	}
	return args, env, errors.Join(err, m.Close())
}

// splitText reads what ends in zeros.
func splitText(m *criuimg.Memory, start, end uint64) ([]string, error) {
	if end <= start {
		return nil, nil
	}
	data := make([]byte, min(end-start, maxText))
	if err := m.Read(data, start); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoText, err)
	}
	var list []string
	for _, text := range bytes.Split(bytes.TrimRight(data, "\x00"), []byte{0}) {
		list = append(list, string(text))
	}
	return list, nil
}
