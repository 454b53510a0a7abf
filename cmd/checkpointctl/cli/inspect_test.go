package cli

import (
	"bytes"
	"testing"

	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

func TestPrintParts(t *testing.T) {
	r := metadata.Record{
		Parts: []metadata.Part{
			{Name: metadata.PartCRIU, SizeBytes: 3 << 20},
			{Name: metadata.PartRootFS, File: "rootfs.tar", SizeBytes: 2048, Entries: 7, Destination: "/"},
			{Name: metadata.PartVolume + "data", File: "volume-data.tar", SizeBytes: 1 << 20, Destination: "/data"},
		},
		Binds: []metadata.Bind{{Destination: "/etc/app", Source: "/srv/app"}},
	}
	var out bytes.Buffer
	if err := printParts(&out, r); err != nil {
		t.Fatal(err)
	}
	want := `
PART              DESTINATION   ENTRIES   SIZE
criu              -             -         3MiB
rootfs            /             7         2KiB
volume:data       /data         0         1MiB
bind, not taken   /etc/app      -         -
`
	if out.String() != want {
		t.Errorf("got %s", out.String())
	}
	out.Reset()
	if err := printParts(&out, metadata.Record{}); err != nil || out.Len() != 0 {
		t.Errorf("without parts: %q, %v", out.String(), err)
	}
}
