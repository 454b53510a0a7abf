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

// maxTexts is the same of all processes.
const maxTexts = 128 << 20

// text are the arguments and the environment of a process, or why they are not there.
type text struct {
	args, env []string
	err       error
}

// Text returns the arguments and the environment of a process, as it has them in its
// memory.
func (s *Snapshot) Text(p *Process) (args, env []string, err error) {
	if p.text == nil {
		p.text = &text{}
		p.text.args, p.text.env, p.text.err = s.readText(p)
	}
	return p.text.args, p.text.env, p.text.err
}

func (s *Snapshot) readText(p *Process) (args, env []string, err error) {
	m, err := criuimg.OpenMemory(s.chain, fmt.Sprintf("pagemap-%d.img", p.PID))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoText, err)
	}
	args, err = s.splitText(m, p.argStart, p.argEnd)
	if err == nil {
		env, err = s.splitText(m, p.envStart, p.envEnd)
	}
	return args, env, errors.Join(err, m.Close())
}

// splitText reads what ends in zeros.
func (s *Snapshot) splitText(m *criuimg.Memory, start, end uint64) ([]string, error) {
	if end <= start {
		return nil, nil
	}
	size := min(end-start, maxText)
	if s.textBytes += size; s.textBytes > maxTexts {
		return nil, fmt.Errorf("arguments and environments have more than %d bytes", maxTexts)
	}
	data := make([]byte, size)
	if err := m.Read(data, start); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoText, err)
	}
	var list []string
	for _, text := range bytes.Split(bytes.TrimRight(data, "\x00"), []byte{0}) {
		list = append(list, string(text))
	}
	return list, nil
}
