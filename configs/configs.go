// Package configs holds the example configuration.
package configs

import _ "embed"

// Example is checkpointctl.yaml: every setting with its default and a comment that
// describes it.
//
//go:embed checkpointctl.yaml
var Example []byte
