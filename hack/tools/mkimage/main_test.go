package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// entry is one entry of an image's file system, with everything that could differ between two builds.
type entry struct {
	Name, Content string
	Type          byte
	Mode          int64
	UID, GID      int
	Time          time.Time
}

// hostFiles makes a directory with an executable and a plain file, with times and modes that no image should have.
func hostFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"app": 0o700, "data:v1.txt": 0o660} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte("content of "+name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// unpack reads an image's file system back through the library that registries' tools use.
func unpack(t *testing.T, img v1.Image) []entry {
	t.Helper()
	rc := mutate.Extract(img)
	defer rc.Close()
	var entries []entry
	tr := tar.NewReader(rc)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{
			Name: hdr.Name, Content: string(content), Type: hdr.Typeflag, Mode: hdr.Mode,
			UID: hdr.Uid, GID: hdr.Gid, Time: hdr.ModTime.UTC(),
		})
	}
}

func TestImage(t *testing.T) {
	dir := hostFiles(t)
	out := filepath.Join(dir, "made", "out.tar")
	var stdout bytes.Buffer
	err := run([]string{
		"-dir", dir, "-tag", "invar-lab/app:v1", "-tag", "example.org/app:v2", "-o", "made/out.tar", "-arch", "arm64",
		"-entrypoint", "/app", "-entrypoint", "--flag", "-user", "65534:65534", "-label", "k=v=w",
		"data:v1.txt:/etc/app/data", "app:/app",
	}, &stdout, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout.String(), "content 0.0 MB in 2 files (invar-lab/app:v1, example.org/app:v2)") {
		t.Errorf("size line is %q", stdout.String())
	}

	// Both names lead to the image.
	var img v1.Image
	for _, tag := range []string{"invar-lab/app:v1", "example.org/app:v2"} {
		ref, err := name.NewTag(tag)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = tarball.ImageFromPath(out, &ref); err != nil {
			t.Fatalf("read image by %s: %v", tag, err)
		}
	}

	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	wantConfig := v1.Config{
		User: "65534:65534", Entrypoint: []string{"/app", "--flag"}, Labels: map[string]string{"k": "v=w"},
	}
	if diff := cmp.Diff(wantConfig, cfg.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if got := cfg.OS + "/" + cfg.Architecture; got != "linux/arm64" || !cfg.Created.Equal(epoch) {
		t.Errorf("platform %s created %s", got, cfg.Created)
	}
	want := []entry{
		{Name: "app", Content: "content of app", Type: tar.TypeReg, Mode: 0o755, Time: epoch},
		{Name: "etc", Type: tar.TypeDir, Mode: 0o755, Time: epoch},
		{Name: "etc/app", Type: tar.TypeDir, Mode: 0o755, Time: epoch},
		{Name: "etc/app/data", Content: "content of data:v1.txt", Type: tar.TypeReg, Mode: 0o644, Time: epoch},
	}
	if diff := cmp.Diff(want, unpack(t, img)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestReproducible builds the same image many times: map order anywhere would show.
func TestReproducible(t *testing.T) {
	var first []byte
	for i := range 30 {
		dir := hostFiles(t)
		args := []string{"-dir", dir, "-o", "out.tar", "-label", "a=1", "-label", "b=2", "-tag", "a:1", "-tag", "b:1", "-tag", "c:1"}
		files := []string{"app:/usr/bin/app", "app:/app", "data:v1.txt:/z"}
		if i%2 == 1 {
			files[0], files[2] = files[2], files[0]
		}
		if err := run(append(args, files...), io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "out.tar"))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		if !bytes.Equal(first, got) {
			t.Fatalf("build %d differs from the first", i)
		}
	}
}

func TestRelativePaths(t *testing.T) {
	dir := hostFiles(t)
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, pwd, flag, want string }{
		{"PWD is the caller's directory", dir, "", dir},
		{"no PWD", "", "", wd},
		{"relative PWD means nothing", "x", "", wd},
		{"flag beats PWD", "/elsewhere", dir, dir},
		{"relative flag is below PWD", "/elsewhere", "sub", "/elsewhere/sub"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PWD", tt.pwd)
			got, err := callerDir(tt.flag)
			if err != nil || got != tt.want {
				t.Errorf("callerDir(%q) = %q, %v; want %q", tt.flag, got, err, tt.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	dir := hostFiles(t)
	out := filepath.Join(dir, "out.tar")
	if err := os.WriteFile(out, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"no tag", "-tag is required", []string{"-o", "out.tar", "app:/app"}},
		{"no output", "-o is required", []string{"-tag", "a:1", "app:/app"}},
		{"no file", "no HOSTFILE", []string{"-tag", "a:1", "-o", "out.tar"}},
		{"tag without version", "want NAME:TAG", []string{"-tag", "a", "-o", "out.tar", "app:/app"}},
		{"registry port is no version", "want NAME:TAG", []string{"-tag", "localhost:5000/a", "-o", "out.tar", "app:/app"}},
		{"bad tag", "parse tag", []string{"-tag", "A B:1", "-o", "out.tar", "app:/app"}},
		{"bad label", "not KEY=VALUE", []string{"-tag", "a:1", "-label", "=x", "-o", "out.tar", "app:/app"}},
		{"relative path in image", "is not HOSTFILE", []string{"-tag", "a:1", "-o", "out.tar", "app:app"}},
		{"no host file", "is not HOSTFILE", []string{"-tag", "a:1", "-o", "out.tar", ":/app"}},
		{"missing host file", filepath.Join(dir, "none"), []string{"-tag", "a:1", "-o", "out.tar", "none:/app"}},
		{"directory", "not a regular file", []string{"-tag", "a:1", "-o", "out.tar", ".:/app"}},
		{"same path twice", "used twice", []string{"-tag", "a:1", "-o", "out.tar", "app:/a", "app:/a"}},
		{"file as directory", "already a file", []string{"-tag", "a:1", "-o", "out.tar", "app:/a/b", "app:/a"}},
		{"unclean path", "unclean", []string{"-tag", "a:1", "-o", "out.tar", "app:/a/../b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run(append([]string{"-dir", dir}, tt.args...), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "before" {
		t.Errorf("a failed build changed the old output, now %d bytes, %v", len(got), err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".out.tar-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLimit(t *testing.T) {
	dir := t.TempDir()
	big := make([]byte, 3e6)
	for i, x := 0, uint32(1); i < len(big); i++ { // incompressible: a xorshift generator
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		big[i] = byte(x)
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-dir", dir, "-tag", "a:1", "-o", "out.tar", "-max-mb"}
	if err := run(append(args, "4", "big:/big"), io.Discard, io.Discard); err != nil {
		t.Errorf("3 MB under a limit of 4: %v", err)
	}
	err := run(append(args, "2", "big:/big"), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "above the limit of 2.0 MB") {
		t.Errorf("3 MB over a limit of 2: %v", err)
	}
}

func TestHelp(t *testing.T) {
	var stderr bytes.Buffer
	if err := run([]string{"-help"}, io.Discard, &stderr); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got error %v", err)
	}
	for _, want := range []string{"HOSTFILE:/path/in/image", "$PWD", "-entrypoint", "-max-mb"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("help does not mention %s:\n%s", want, stderr.String())
		}
	}
}
