package criu

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoUserfaultfd is a kernel or a CRIU that cannot restore lazily.
var ErrNoUserfaultfd = errors.New("the kernel or CRIU lacks userfaultfd (CONFIG_USERFAULTFD)")

// Userfaultfd returns ErrNoUserfaultfd where a restore cannot be lazy.
func (d *Dumper) Userfaultfd(ctx context.Context) error {
	// It asks for userfaultfd and for word of memory that tasks unmap or move.
	if err := d.Check(ctx, "uffd-noncoop"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoUserfaultfd, err)
	}
	return nil
}
