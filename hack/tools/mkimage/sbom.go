package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/spdxlib"
)

// unknown is SPDX's word for what is not looked for.
const unknown = "NOASSERTION"

// sbom makes the bill of materials of an image, as SPDX 2.3: its files, and the Go modules that are linked into them by what
// their build information says. licences has the SPDX expression of each module that is known, and may be nil. The same image
// gives the same document: its time is the epoch, its namespace the checksum of the archive.
func sbom(spec imageSpec, archive []byte, licences map[string]string) (*v2_3.Document, error) {
	image := &v2_3.Package{
		PackageName: spec.tags[0], PackageSPDXIdentifier: "Image", PackageDownloadLocation: unknown,
		PackageChecksums:        []common.Checksum{checksum256(archive)},
		PackageLicenseConcluded: unknown, PackageLicenseDeclared: unknown, PackageCopyrightText: unknown,
		PrimaryPackagePurpose: "CONTAINER",
	}
	doc := &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: spec.tags[0],
		DocumentNamespace: "https://github.com/invar-lb/invar/spdx/" + image.PackageChecksums[0].Value,
		CreationInfo: &v2_3.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "mkimage"}}, Created: epoch.Format(time.RFC3339),
		},
		Packages: []*v2_3.Package{image},
	}
	relate(doc, "DOCUMENT", common.TypeRelationshipDescribe, "Image")
	modules := map[string]*v2_3.Package{} // by identifier
	for _, f := range spec.files {
		if err := addBinary(doc, modules, f, licences); err != nil {
			return nil, fmt.Errorf("add %s to the bill of materials: %w", f.host, err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		doc.Packages = append(doc.Packages, modules[id])
	}
	return doc, spdxlib.ValidateDocument(doc)
}

// addBinary adds a file, and the modules in it to modules.
func addBinary(doc *v2_3.Document, modules map[string]*v2_3.Package, f file, licences map[string]string) error {
	content, err := os.ReadFile(f.host)
	if err != nil {
		return err
	}
	id := elementID("File", f.path)
	sum := sha1.Sum(content) // which SPDX requires
	doc.Files = append(doc.Files, &v2_3.File{
		FileName: "." + f.path, FileSPDXIdentifier: id,
		Checksums: []common.Checksum{
			{Algorithm: common.SHA1, Value: hex.EncodeToString(sum[:])}, checksum256(content),
		},
		LicenseConcluded: unknown, LicenseInfoInFiles: []string{unknown}, FileCopyrightText: unknown,
	})
	relate(doc, "Image", common.TypeRelationshipContains, id)
	info, err := buildinfo.ReadFile(f.host)
	if err != nil {
		return nil // no Go binary: it has no modules
	}
	goVersion, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	linked := append([]*debug.Module{&info.Main, {Path: "std", Version: goVersion}}, info.Deps...)
	for _, m := range linked {
		p := modulePackage(m, licences)
		modules[string(p.PackageSPDXIdentifier)] = p
		relate(doc, id, common.TypeRelationshipStaticLink, p.PackageSPDXIdentifier)
	}
	return nil
}

// modulePackage describes a Go module. The purl is of https://github.com/package-url/purl-spec, type golang.
func modulePackage(m *debug.Module, licences map[string]string) *v2_3.Package {
	if m.Replace != nil {
		m = m.Replace
	}
	licence := licences[m.Path]
	if licence == "" {
		licence = unknown
	}
	p := &v2_3.Package{
		PackageName: m.Path, PackageVersion: m.Version, PackageSPDXIdentifier: elementID("Module", m.Path+"@"+m.Version),
		PackageDownloadLocation: unknown, PackageLicenseConcluded: unknown, PackageLicenseDeclared: licence,
		PackageCopyrightText: unknown, PrimaryPackagePurpose: "LIBRARY",
		PackageExternalReferences: []*v2_3.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL,
			Locator: "pkg:golang/" + m.Path + "@" + m.Version,
		}},
	}
	if m.Sum != "" {
		p.PackageSourceInfo = "go.sum: " + m.Sum
	}
	return p
}

func relate(doc *v2_3.Document, from common.ElementID, how string, to common.ElementID) {
	doc.Relationships = append(doc.Relationships, &v2_3.Relationship{
		RefA: common.DocElementID{ElementRefID: from}, RefB: common.DocElementID{ElementRefID: to}, Relationship: how,
	})
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// elementID makes an identifier of SPDX, which has letters, digits, dots and hyphens only.
func elementID(kind, name string) common.ElementID {
	return common.ElementID(kind + "-" + strings.Trim(notInID.ReplaceAllString(name, "-"), "-"))
}

func checksum256(b []byte) common.Checksum {
	sum := sha256.Sum256(b)
	return common.Checksum{Algorithm: common.SHA256, Value: hex.EncodeToString(sum[:])}
}

// writeSBOM writes the bill of materials of the archive that lies at archive.
func writeSBOM(out, archive string, spec imageSpec, licences map[string]string) error {
	content, err := os.ReadFile(archive)
	if err != nil {
		return err
	}
	doc, err := sbom(spec, content, licences)
	if err != nil {
		return err
	}
	_, err = replaceFile(out, func(w io.Writer) error { return spdxjson.Write(doc, w, spdxjson.Indent("  ")) })
	return err
}

// licenceRow is a row of THIRD_PARTY.md.
var licenceRow = regexp.MustCompile(`(?m)^\| ` + "`" + `(\S+)` + "`" + ` \| (\S.*\S) \|$`)

// readLicences reads the table of hack/tools/licences: an SPDX expression by module.
func readLicences(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	table := map[string]string{}
	for _, row := range licenceRow.FindAllStringSubmatch(string(text), -1) {
		table[row[1]] = row[2]
	}
	if len(table) == 0 {
		return nil, fmt.Errorf("%s: no table of licences", path)
	}
	return table, nil
}
