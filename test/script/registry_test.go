package script

import (
	"archive/tar"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// registryCmd starts a registry in memory and sets an environment variable to its
// address:
//
//	registry NAME
func registryCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: registry NAME")
	}
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(s.Close)
	ts.Setenv(args[0], strings.TrimPrefix(s.URL, "http://"))
}

// saveImage writes what docker save does, of an image that inspect knows.
func saveImage(w io.Writer, name string) {
	t := tar.NewWriter(w)
	defer func() { _ = t.Close() }()
	for _, f := range [][2]string{
		{"config.json", fmt.Sprintf(`{"rootfs":{"diff_ids":["layers of %s"]}}`, name)},
		{"manifest.json", `[{"Config":"config.json","RepoTags":null}]`},
	} {
		_ = t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f[0], Size: int64(len(f[1])), Mode: 0o644})
		_, _ = io.WriteString(t, f[1])
	}
}
