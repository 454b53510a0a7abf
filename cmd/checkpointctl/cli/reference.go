package cli

import (
	"fmt"
	"strings"

	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// reference reads CONTAINER, CONTAINER CHECKPOINT or CONTAINER/CHECKPOINT. The
// checkpoint is empty when none is named.
func reference(args []string) (container, checkpoint string, err error) {
	container, checkpoint, joined := strings.Cut(optional(args, 0), "/")
	if !joined {
		return container, optional(args, 1), nil
	}
	if len(args) > 1 {
		return "", "", fmt.Errorf("%w: %s names a checkpoint already, and so does %s", config.ErrInvalid, args[0], args[1])
	}
	for _, name := range []string{container, checkpoint} {
		if err := metadata.CheckName(name); err != nil {
			return "", "", err
		}
	}
	return container, checkpoint, nil
}

func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
