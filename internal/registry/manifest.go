package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/checkpointctl/checkpointctl/internal/archive"
	"github.com/checkpointctl/checkpointctl/internal/metadata"
)

// Media types of manifests that Push makes, and of their layers.
const (
	ArtifactType   = "application/vnd.checkpointctl.checkpoint.v1"
	layerType      = "application/vnd.checkpointctl.archive.v1.tar+zstd"
	sealedLayer    = layerType + "+age"
	fileAnnotation = "io.checkpointctl.file"
	partAnnotation = "io.checkpointctl.part"
)

// maxLayers is what a manifest of at most 4 MiB can have: registries take no larger
// one.
const (
	maxLayers   = 16 << 10
	maxManifest = 4 << 20
)

// layerOf describes a piece. The names of a sealed one's files are nobody's business.
func layerOf(p archive.Piece, sealed bool) v1.Descriptor {
	d := v1.Descriptor{MediaType: layerType, Digest: digest.NewDigestFromEncoded(digest.SHA256, p.SHA256), Size: p.SizeBytes}
	switch {
	case sealed:
		d.MediaType = sealedLayer
	case p.File != "":
		d.Annotations = map[string]string{fileAnnotation: p.File, partAnnotation: strconv.Itoa(p.Part)}
	}
	return d
}

// imageConfig is what tools for images ask of an image. contents are the sums of the
// layers, unpacked.
func imageConfig(rec metadata.Record, contents []digest.Digest) ([]byte, error) {
	at := rec.Timestamp.UTC()
	return json.Marshal(v1.Image{
		Created:  &at,
		Platform: v1.Platform{Architecture: rec.Architecture, OS: "linux"},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: contents},
	})
}

func manifestOf(rec metadata.Record, config v1.Descriptor, layers []v1.Descriptor, base string, subject *v1.Descriptor) ([]byte, error) {
	data, err := json.Marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: ArtifactType,
		Config: config, Layers: layers, Subject: subject, Annotations: annotations(rec, base),
	})
	if err == nil && len(data) > maxManifest {
		err = fmt.Errorf("its manifest has %d bytes, registries take at most %d", len(data), maxManifest)
	}
	return data, err
}

// annotations are what other programs know a checkpoint by: those of CRIU's tools, of
// Podman's checkpoint images and of CRI-O's. Podman's name of the runtime is not
// there: by that one, Podman takes an image for a checkpoint that it can restore.
func annotations(rec metadata.Record, base string) map[string]string {
	a := archive.Annotations(rec)
	const podman, crio = "io.podman.annotations.checkpoint.", "io.kubernetes.cri-o.annotations.checkpoint."
	maps.Copy(a, map[string]string{
		v1.AnnotationCreated:       rec.Timestamp.UTC().Format(time.RFC3339),
		v1.AnnotationBaseImageName: rec.Image, v1.AnnotationBaseImageDigest: base,
		podman + "name": rec.Name, podman + "rawImageName": rec.Image, podman + "rootfsImageName": rec.Image,
		podman + "rootfsImageID": rec.ImageDigest, podman + "criu.version": rec.Versions.CRIU,
		podman + "host.arch": rec.Architecture, podman + "host.kernel": rec.Versions.Kernel, podman + "cgroups.version": rec.CgroupMode,
		crio + "name": rec.Name, crio + "rawImageName": rec.Image, crio + "rootfsImageName": rec.Image, crio + "rootfsImageID": rec.ImageDigest,
	})
	maps.DeleteFunc(a, func(_, value string) bool { return value == "" })
	return a
}

// layersOf returns the layers that a manifest names, or an error that says why they
// are not taken.
func layersOf(mediaType string, data []byte, most int64) ([]v1.Descriptor, error) {
	if mediaType != v1.MediaTypeImageManifest {
		return nil, fmt.Errorf("it is of the type %.100q, not a checkpoint's manifest", mediaType)
	}
	var m v1.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("its manifest: %w", err)
	}
	if m.SchemaVersion != 2 || m.MediaType != v1.MediaTypeImageManifest || m.ArtifactType != ArtifactType {
		return nil, fmt.Errorf("its manifest is of the type %.100q, not a checkpoint that was pushed", m.ArtifactType)
	}
	if len(m.Layers) == 0 || len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("its manifest names %d layers", len(m.Layers))
	}
	sum := int64(0)
	for _, l := range m.Layers {
		if !slices.Contains([]string{layerType, sealedLayer}, l.MediaType) {
			return nil, fmt.Errorf("a layer is of the type %.100q", l.MediaType)
		}
		if err := l.Digest.Validate(); err != nil || l.Digest.Algorithm() != digest.SHA256 {
			return nil, errors.Join(fmt.Errorf("a layer has the digest %.100q", l.Digest), err)
		}
		if sum += l.Size; l.Size <= 0 || sum <= 0 || sum > most {
			return nil, fmt.Errorf("its layers have more than %d bytes, which is the limit, or one has none", most)
		}
	}
	return m.Layers, nil
}
