package report

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/checkpointctl/checkpointctl/internal/contents"
	"github.com/checkpointctl/checkpointctl/internal/criuimg"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
	"github.com/checkpointctl/checkpointctl/internal/snapshot"
)

// Overview is what a checkpoint is, in short.
type Overview struct {
	Name      string     `json:"name"`
	Container string     `json:"container,omitempty"`
	ID        string     `json:"id,omitempty"`
	Image     string     `json:"image,omitempty"`
	MadeAt    *time.Time `json:"made_at,omitempty"`
	// Comment and MadeBy are as in the record.
	Comment   string          `json:"comment,omitempty"`
	MadeBy    *metadata.Maker `json:"made_by,omitempty"`
	Hostname  string          `json:"hostname,omitempty"`
	Encrypted bool            `json:"encrypted"`
	// Links is how many sets of images it takes: 1, and those of rounds and parents.
	Links     int                `json:"image_sets"`
	Processes int                `json:"processes"`
	Threads   int                `json:"threads"`
	FDs       int                `json:"fds"`
	Sockets   int                `json:"sockets"`
	Memory    []Amount           `json:"memory"`
	Parts     []metadata.Part    `json:"parts,omitempty"`
	Versions  *metadata.Versions `json:"versions,omitempty"`
	// Needs are what a restore will need.
	Needs []string `json:"needs"`
}

// Amount is how much memory of a kind there is, in bytes, by where it is.
type Amount struct {
	Kind    snapshot.Kind `json:"kind"`
	Images  uint64        `json:"in_images_bytes"`
	Parent  uint64        `json:"in_parent_bytes"`
	Zero    uint64        `json:"zero_bytes"`
	OfFile  uint64        `json:"of_file_bytes"`
	Missing uint64        `json:"missing_bytes"`
}

func (d *Document) overview(c *contents.Contents, s *snapshot.Snapshot) error {
	o := &Overview{Name: c.Name, Hostname: s.Hostname, Links: len(c.Images), Processes: len(s.Processes)}
	switch {
	case c.Record != nil:
		r := c.Record
		o.Container, o.ID, o.Image, o.MadeAt, o.Encrypted, o.Parts, o.Versions = r.Name, r.ID, r.Image, &r.Timestamp, r.Encrypted, r.Parts, &r.Versions
		o.Comment, o.MadeBy = r.Comment, r.MadeBy
	case c.Config != nil:
		o.Container, o.ID, o.Image = c.Config.Name, c.Config.ID, c.Config.RootfsImageName
		if !c.Config.CheckpointedAt.IsZero() {
			o.MadeAt = &c.Config.CheckpointedAt
		}
	}
	for _, p := range s.Processes {
		o.Threads += len(p.Threads)
		o.FDs += len(p.Descriptors)
	}
	sockets, err := s.Sockets()
	if err != nil {
		return err
	}
	o.Sockets = len(sockets)
	if o.Memory, err = amounts(s); err != nil {
		return err
	}
	o.Needs = needs(c, s, sockets)
	d.Overview = o
	return nil
}

// amounts adds up the memory of all processes by its kind, what is shared once.
func amounts(s *snapshot.Snapshot) ([]Amount, error) {
	sums := map[snapshot.Kind]*snapshot.Pages{}
	add := func(kind snapshot.Kind, pages snapshot.Pages) {
		if sums[kind] == nil {
			sums[kind] = &snapshot.Pages{}
		}
		sums[kind].Add(pages)
	}
	for _, p := range s.Processes {
		maps, err := mapsOf(s, p)
		if err != nil {
			return nil, err
		}
		for _, m := range maps.Mappings {
			if !m.IsShared() {
				add(m.Kind, m.Pages)
			}
		}
	}
	for _, shared := range s.SharedMemory() {
		pages, err := s.SharedPages(shared)
		if err != nil {
			return nil, err
		}
		add(shared.First.Kind, pages)
	}
	list := []Amount{}
	for kind, p := range sums {
		const size = criuimg.PageSize
		list = append(list, Amount{kind, p.Present * size, p.Parent * size, p.Zero * size, p.OfFile * size, p.Missing * size})
	}
	slices.SortFunc(list, func(a, b Amount) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	return list, nil
}

// needs are what a restore will need, as far as the checkpoint tells.
func needs(c *contents.Contents, s *snapshot.Snapshot, sockets []snapshot.Socket) []string {
	list := []string{}
	if r := c.Record; r != nil {
		list = append(list, fmt.Sprintf("image %s (%s)", r.Image, r.ImageDigest))
		if r.Architecture != "" {
			list = append(list, fmt.Sprintf("a CPU (%s) with the features of the one it was made on", r.Architecture))
		}
		if r.Parent != "" {
			list = append(list, fmt.Sprintf("checkpoint %s/%s, which it continues", r.Name, r.Parent))
		}
	}
	addresses := map[string]bool{}
	for _, socket := range sockets {
		if socket.State == "established" && strings.HasPrefix(socket.Protocol, "tcp") && !strings.HasPrefix(socket.Local, "127.") && !strings.HasPrefix(socket.Local, "[::1]") {
			at := socket.Local[:max(0, strings.LastIndexByte(socket.Local, ':'))]
			addresses[at] = true
		}
	}
	for at := range addresses {
		list = append(list, "address "+at+", for its connections")
	}
	for _, m := range s.Mounts {
		if m.External != "" && c.Record != nil && slices.ContainsFunc(c.Record.Binds, func(b metadata.Bind) bool { return b.Destination == m.Path }) {
			list = append(list, "what was mounted at "+m.Path)
		}
	}
	if _, err := fs.Stat(c.Images[0], "filelocks.img"); err == nil {
		list = append(list, "file locks that nobody else holds")
	}
	slices.Sort(list)
	return list
}
