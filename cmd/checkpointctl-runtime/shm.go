package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/checkpointctl/checkpointctl/internal/layer"
)

const shmPath = "/dev/shm"

// fillShm puts back what the container had in /dev/shm: Docker mounts it on the
// host for containers that share it, and has just made it anew, empty. CRIU opens
// files in it.
func fillShm(bundle, tar string) error {
	if tar == "" {
		return nil
	}
	var spec struct {
		Mounts []struct{ Destination, Type, Source string }
	}
	if err := readSpec(bundle, &spec); err != nil {
		return err
	}
	for _, m := range spec.Mounts {
		if m.Destination == shmPath && m.Type == "bind" {
			return extractShm(tar, m.Source)
		}
	}
	return errors.New("the checkpoint has files of /dev/shm, but Docker mounts none there from the host")
}

func extractShm(tar, dir string) error {
	in, err := os.Open(tar)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err == nil {
		_, err = layer.Extract(context.Background(), in, info.Size(), dir, layer.Target{})
	}
	if err != nil {
		return fmt.Errorf("filling %s: %w", shmPath, err)
	}
	return nil
}
