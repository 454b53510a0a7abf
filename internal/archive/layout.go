package archive

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A checkpoint may be an image in an OCI layout: what `ctr image export --skip-manifest-json` and
// `podman save --format oci-archive` write.
const (
	// containerdImages is the tar of the images (containerd, core/images/mediatypes.go,
	// MediaTypeContainerd1Checkpoint). It is named by an index, beside the writable layer
	// and the container's image (client/container_checkpoint_opts.go).
	containerdImages  = "application/vnd.containerd.container.criu.checkpoint.criu.tar"
	containerdRuntime = "io.containerd.checkpoint.runtime" // an annotation of that index
	maxDepth          = 4                                  // of indexes
	maxDocuments      = 64                                 // indexes and manifests that are read
	maxUnpacked       = 16                                 // layers that are compressed
)

// imageAnnotations are on an image whose layer is the archive: what
// `podman container checkpoint --create-image` writes, and what CRI-O and containerd
// restore a pod's container from (libpod/define/annotations.go; pkg/annotations of both).
func imageAnnotations() []string {
	return []string{
		"io.podman.annotations.checkpoint.name", "io.kubernetes.cri-o.annotations.checkpoint.name", "io.kubernetes.containerd.annotations.checkpoint.name",
		"org.criu.checkpoint.engine.name",
	}
}

// layout finds the checkpoint in an image. An archive that is no image is as it was.
func (o *Opened) layout(ctx context.Context) error {
	var top v1.Index
	err := o.parse(v1.ImageIndexFile, &top)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return o.descend(ctx, top.Manifests, 0)
}

func (o *Opened) descend(ctx context.Context, list []v1.Descriptor, depth int) error {
	if depth > maxDepth {
		return refused("its indexes are too many below each other")
	}
	// The layer is the container's only in an index that has its images, too.
	ofContainer := slices.ContainsFunc(list, func(d v1.Descriptor) bool { return d.MediaType == containerdImages })
	for _, d := range list {
		if o.found() && !ofContainer {
			return nil
		}
		var err error
		switch {
		case d.MediaType == containerdImages && !o.found():
			err = o.tar(ctx, d, imageDir)
		case ofContainer && strings.HasPrefix(d.MediaType, v1.MediaTypeImageLayer):
			if s, there := o.files[blobOf(d)]; there {
				o.files["rootfs-diff.tar"] = s
			}
		case d.MediaType == v1.MediaTypeImageIndex:
			err = o.indexBlob(ctx, d, depth)
		case d.MediaType == v1.MediaTypeImageManifest && !ofContainer:
			err = o.manifest(ctx, d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *Opened) found() bool {
	_, found := o.files[imageDir+"pstree.img"]
	return found
}

func (o *Opened) indexBlob(ctx context.Context, d v1.Descriptor, depth int) error {
	var index v1.Index
	if err := o.parse(blobOf(d), &index); err != nil {
		return ignoreMissing(err)
	}
	if name := index.Annotations[v1.AnnotationRefName]; index.Annotations[containerdRuntime] != "" {
		o.Config.RootfsImageName, o.Config.OCIRuntime = name, index.Annotations[containerdRuntime]
	}
	return o.descend(ctx, index.Manifests, depth+1)
}

// manifest reads the layers of an image that says to be a checkpoint.
func (o *Opened) manifest(ctx context.Context, d v1.Descriptor) error {
	var m v1.Manifest
	if err := o.parse(blobOf(d), &m); err != nil {
		return ignoreMissing(err)
	}
	if !slices.ContainsFunc(imageAnnotations(), func(name string) bool { return m.Annotations[name] != "" }) {
		return nil
	}
	for _, layer := range m.Layers {
		if err := o.tar(ctx, layer, ""); err != nil {
			return err
		}
	}
	return nil
}

// tar notes the entries of a blob, which is unpacked if it is compressed.
func (o *Opened) tar(ctx context.Context, d v1.Descriptor, below string) error {
	s, there := o.files[blobOf(d)]
	if !there {
		return refused("it has no blob %s", d.Digest)
	}
	head, err := s.head()
	if err != nil {
		return err
	}
	if isTar(head) {
		return o.index(s, below)
	}
	if o.sealed {
		return refused("it is encrypted, and an image with compressed layers: decrypt it first")
	}
	if len(o.open) > maxUnpacked {
		return refused("it has more than %d compressed layers", maxUnpacked)
	}
	plain, err := unpack(ctx, s.open(), nil, os.TempDir())
	if err != nil {
		return err
	}
	o.open = append(o.open, plain)
	info, err := plain.Stat()
	if err != nil {
		return err
	}
	return o.index(section{from: plain, size: info.Size()}, below)
}

// parse reads a document of JSON.
func (o *Opened) parse(name string, into any) error {
	data, err := o.small(name, maxForeign)
	if err != nil {
		return err
	}
	if o.parsed++; o.parsed > maxDocuments {
		return refused("it has more than %d indexes and manifests", maxDocuments)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return refused("%s: %w", name, err)
	}
	return nil
}

// ignoreMissing takes a blob that is not there, as of an image for another platform.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// blobOf is the entry of what a descriptor means; one that nothing has for a digest
// that is none.
func blobOf(d v1.Descriptor) string {
	if d.Digest.Validate() != nil {
		return ""
	}
	return path.Join(v1.ImageBlobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded())
}
