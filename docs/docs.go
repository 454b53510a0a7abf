// Package docs holds the documents that are manual pages, too.
package docs

import _ "embed"

// Concepts is concepts.md.
//
//go:embed concepts.md
var Concepts []byte
