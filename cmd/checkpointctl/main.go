// Command checkpointctl checkpoints and restores Docker containers through CRIU.
package main

import (
	"os"

	"github.com/checkpointctl/checkpointctl/cmd/checkpointctl/cli"
)

func main() {
	os.Exit(cli.Main())
}
