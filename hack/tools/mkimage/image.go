package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// epoch is the only time in an image: a build's time would make each image differ from the last.
var epoch = time.Unix(0, 0).UTC()

// imageSpec says what goes into an image.
type imageSpec struct {
	tags       []string
	arch       string // as GOARCH
	variant    string // of the architecture, as OCI has it; empty for none
	user       string // "UID[:GID]", empty for root
	entrypoint []string
	labels     map[string]string
	files      []file
}

// file is one regular file to put into the image.
type file struct {
	host string // absolute path on this machine
	path string // absolute path in the image
}

// sizes are in bytes.
type sizes struct {
	tar     int64 // the archive, layer compressed
	content int64 // the sum of the files' sizes
}

// write builds the image and puts it at out. A failure leaves what was at out before.
func write(out string, spec imageSpec) (sizes, error) {
	refs, err := references(spec.tags)
	if err != nil {
		return sizes{}, err
	}
	layer, content, err := layerTar(spec.files)
	if err != nil {
		return sizes{}, err
	}
	img, err := build(spec, layer)
	if err != nil {
		return sizes{}, err
	}
	n, err := replaceFile(out, func(w io.Writer) error { return writeArchive(w, refs, img) })
	if err != nil {
		return sizes{}, err
	}
	return sizes{tar: n, content: content}, nil
}

// references parses tags. A tag must be written out: an image without one would be pulled as :latest.
func references(tags []string) ([]name.Reference, error) {
	refs := make([]name.Reference, 0, len(tags))
	for _, tag := range tags {
		ref, err := name.NewTag(tag, name.WeakValidation) // strict also wants a registry, which a lab has not
		if err != nil {
			return nil, fmt.Errorf("parse tag %q: %w", tag, err)
		}
		if !strings.HasSuffix(tag, ":"+ref.TagStr()) {
			return nil, fmt.Errorf("parse tag %q: want NAME:TAG", tag)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// layerTar is the layer as an uncompressed tar, and the sum of the files' sizes. It is kept in memory: the layer is
// read more than once, and a host file that changes meanwhile must not give a digest that fits only a part of it.
func layerTar(files []file) (layer []byte, content int64, err error) {
	files = slices.SortedFunc(slices.Values(files), func(a, b file) int { return strings.Compare(a.path, b.path) })
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	isDir := map[string]bool{"/": true}
	for _, f := range files {
		if _, used := isDir[f.path]; used || path.Clean(f.path) != f.path {
			return nil, 0, fmt.Errorf("add %s: path %q in the image is unclean or used twice", f.host, f.path)
		}
		if err := addParents(tw, isDir, f.path); err != nil {
			return nil, 0, fmt.Errorf("add %s: %w", f.host, err)
		}
		isDir[f.path] = false
		n, err := addFile(tw, f)
		if err != nil {
			return nil, 0, fmt.Errorf("add %s: %w", f.host, err)
		}
		content += n
	}
	if err := tw.Close(); err != nil {
		return nil, 0, fmt.Errorf("close layer: %w", err)
	}
	return buf.Bytes(), content, nil
}

// addParents adds the directories above p that are not there yet, outermost first. isDir has an entry for each path
// added so far.
func addParents(tw *tar.Writer, isDir map[string]bool, p string) error {
	dir := path.Dir(p)
	if dirAlready, used := isDir[dir]; used {
		if !dirAlready {
			return fmt.Errorf("path %q in the image is already a file", dir)
		}
		return nil
	}
	if err := addParents(tw, isDir, dir); err != nil {
		return err
	}
	isDir[dir] = true
	hdr := &tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755, ModTime: epoch}
	if err := tw.WriteHeader(hdr); err != nil {
		return fmt.Errorf("add directory %s: %w", dir, err)
	}
	return nil
}

// addFile adds f and returns its size.
func addFile(tw *tar.Writer, f file) (int64, error) {
	src, err := os.Open(f.host)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", f.host)
	}
	mode := int64(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	hdr := &tar.Header{
		Typeflag: tar.TypeReg,
		Name:     strings.TrimPrefix(f.path, "/"),
		Size:     info.Size(),
		Mode:     mode,
		ModTime:  epoch,
	}
	if err := tw.WriteHeader(hdr); err != nil {
		return 0, err
	}
	return io.Copy(tw, src)
}

// build makes the image around its layer.
func build(spec imageSpec, layer []byte) (v1.Image, error) {
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer)), nil
	}, tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   l,
		History: v1.History{CreatedBy: "mkimage", Created: v1.Time{Time: epoch}},
	})
	if err != nil {
		return nil, fmt.Errorf("append layer: %w", err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Variant, cfg.Created = "linux", spec.arch, spec.variant, v1.Time{Time: epoch}
	cfg.Config.User, cfg.Config.Entrypoint, cfg.Config.Labels = spec.user, spec.entrypoint, spec.labels
	img, err = mutate.ConfigFile(img, cfg)
	if err != nil {
		return nil, fmt.Errorf("write config: %w", err)
	}
	return img, nil
}

// writeArchive writes img under all refs. It stands in for tarball.MultiRefWrite, which lists the names of an image in
// the random order of a map.
func writeArchive(w io.Writer, refs []name.Reference, img v1.Image) error {
	images := make(map[name.Reference]v1.Image, len(refs))
	for _, ref := range refs {
		images[ref] = img
	}
	manifest, err := tarball.ComputeManifest(images)
	if err != nil {
		return fmt.Errorf("make manifest: %w", err)
	}
	slices.Sort(manifest[0].RepoTags)
	manifestJSON, err := json.Marshal(manifest)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return fmt.Errorf("encode config: %w", err)
	}
	layer, err := compressedLayer(img)
	if err != nil {
		return fmt.Errorf("compress layer: %w", err)
	}
	tw := tar.NewWriter(w)
	for _, e := range []struct {
		name    string
		content []byte
	}{
		{manifest[0].Config, config},
		{manifest[0].Layers[0], layer},
		{"manifest.json", manifestJSON},
	} {
		hdr := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.content)), Mode: 0o644, ModTime: epoch}
		if err := tw.WriteHeader(hdr); err != nil {
			return fmt.Errorf("write %s: %w", e.name, err)
		}
		if _, err := tw.Write(e.content); err != nil {
			return fmt.Errorf("write %s: %w", e.name, err)
		}
	}
	return tw.Close()
}

// compressedLayer is the only layer of an image that build made, as it lies in the archive.
func compressedLayer(img v1.Image) ([]byte, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	rc, err := layers[0].Compressed()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// replaceFile puts at out what write writes, and returns its size. It writes beside out and renames, so that nobody
// reads half a file and a failure leaves the old one.
func replaceFile(out string, write func(io.Writer) error) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return 0, fmt.Errorf("make directory: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+"-*")
	if err != nil {
		return 0, fmt.Errorf("create archive: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	defer tmp.Close()
	if err := write(tmp); err != nil {
		return 0, fmt.Errorf("write archive: %w", err)
	}
	info, err := tmp.Stat()
	if err != nil {
		return 0, fmt.Errorf("read size of archive: %w", err)
	}
	if err := tmp.Chmod(0o644); err != nil {
		return 0, fmt.Errorf("make archive readable: %w", err)
	}
	if err := tmp.Close(); err != nil {
		return 0, fmt.Errorf("close archive: %w", err)
	}
	return info.Size(), os.Rename(tmp.Name(), out)
}
