package image

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindRepo(t *testing.T) {
	want, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := FindRepo(); err != nil || got != want {
		t.Errorf("FindRepo from inside: %s, %v, want %s", got, err, want)
	}
	t.Chdir(t.TempDir()) // and the test's binary lies in another temporary directory
	if got, err := FindRepo(); err == nil {
		t.Errorf("FindRepo from outside: %s", got)
	}
}

func TestBuild(t *testing.T) {
	repo, err := FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Build(t.Context(), repo, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{Pause, Echo} {
		if diff := cmp.Diff([]string{"invar-lab/" + name + ":v1"}, tags(t, Tar(dir, name))); diff != "" {
			t.Errorf("tags of %s (-want +got):\n%s", name, diff)
		}
	}
}

// tags reads the names of the image in a docker-archive.
func tags(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	archive := tar.NewReader(f)
	for {
		hdr, err := archive.Next()
		if err != nil {
			t.Fatalf("find manifest: %v", err)
		}
		if hdr.Name == "manifest.json" {
			break
		}
	}
	data, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	var manifest []struct{ RepoTags []string }
	if err := json.Unmarshal(data, &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest: %v, %d images", err, len(manifest))
	}
	return manifest[0].RepoTags
}
