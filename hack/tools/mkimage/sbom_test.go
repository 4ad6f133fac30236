package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// TestSBOM makes an image of a real Go binary, this test's, and reads its bill of materials back.
func TestSBOM(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	licences := "| module | licence |\n| --- | --- |\n| `github.com/google/go-cmp` | BSD-3-Clause |\n"
	if err := os.WriteFile(filepath.Join(dir, "licences.md"), []byte(licences), 0o600); err != nil {
		t.Fatal(err)
	}
	build := func() []byte {
		t.Helper()
		args := []string{"-dir", dir, "-o", "out.tar", "-sbom", "out.spdx.json", "-licences", "licences.md", "-tag", "a:1"}
		if err := run(append(args, exe+":/app", exe+":/bin/other"), io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "out.spdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	text := build()
	if !bytes.Equal(text, build()) {
		t.Error("building twice gives two bills of materials")
	}
	doc, err := spdxjson.Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	checkModules(t, doc, exe)
	var files []string
	for _, f := range doc.Files {
		files = append(files, f.FileName)
	}
	if want := []string{"./app", "./bin/other"}; !slices.Equal(files, want) {
		t.Errorf("files %q, want %q", files, want)
	}
	checkRelated(t, doc)
}

// checkModules compares the packages with what `go version -m` says of a binary.
func checkModules(t *testing.T, doc *v2_3.Document, exe string) {
	t.Helper()
	out, err := exec.Command("go", "version", "-m", exe).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) >= 3 && (f[0] == "dep" || f[0] == "mod") {
			want[f[1]] = f[2]
		}
	}
	for _, p := range doc.Packages {
		switch p.PackageName {
		case "a:1", "std":
			continue
		case "github.com/google/go-cmp":
			if p.PackageLicenseDeclared != "BSD-3-Clause" {
				t.Errorf("licence of %s is %s", p.PackageName, p.PackageLicenseDeclared)
			}
		}
		if want[p.PackageName] != p.PackageVersion {
			t.Errorf("%s %s, want version %q", p.PackageName, p.PackageVersion, want[p.PackageName])
		}
		delete(want, p.PackageName)
	}
	if len(want) > 0 {
		t.Errorf("not in the bill of materials: %v", want)
	}
}

// checkRelated checks that all relationships are between what is there, and that each package but the image is linked into a
// file.
func checkRelated(t *testing.T, doc *v2_3.Document) {
	t.Helper()
	known, linked := map[common.ElementID]bool{"DOCUMENT": true}, map[common.ElementID]bool{"Image": true}
	for _, p := range doc.Packages {
		known[p.PackageSPDXIdentifier] = true
	}
	for _, f := range doc.Files {
		known[f.FileSPDXIdentifier] = true
	}
	for _, r := range doc.Relationships {
		if !known[r.RefA.ElementRefID] || !known[r.RefB.ElementRefID] {
			t.Errorf("relationship between what is not there: %+v", r)
		}
		if r.Relationship == common.TypeRelationshipStaticLink {
			linked[r.RefB.ElementRefID] = true
		}
	}
	for _, p := range doc.Packages {
		if !linked[p.PackageSPDXIdentifier] {
			t.Errorf("%s is linked into no file", p.PackageName)
		}
	}
}
