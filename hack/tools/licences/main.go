package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// architectures are those that have images, as GOARCH.
var architectures = []string{"amd64", "arm", "arm64"}

// allowed are the licences under which what is linked may be given on with the project, which is under Apache-2.0. A module
// under another one is a decision for its maintainers.
var allowed = map[string]bool{
	"Apache-2.0": true, "BSD-2-Clause": true, "BSD-3-Clause": true, "ISC": true, "MIT": true,
	"MPL-2.0": true, // of hashicorp's: its files stay under it, and are used unchanged
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	fs := flag.NewFlagSet("licences", flag.ExitOnError)
	dir := fs.String("dir", ".", "the project's root `folder`")
	out := fs.String("o", "", "the table to write, a Markdown `FILE` below the root")
	check := fs.Bool("check", false, "write nothing, and fail if the table differs")
	texts := fs.String("texts", "", "the `FILE` below the root to write all texts into")
	_ = fs.Parse(args) // exits by itself
	modules, err := linked(*dir)
	if err != nil {
		return err
	}
	for i := range modules {
		if err := modules[i].find(); err != nil {
			return err
		}
	}
	if *texts != "" {
		return os.WriteFile(below(*dir, *texts), allTexts(modules), 0o644)
	}
	path := below(*dir, *out)
	if !*check {
		return os.WriteFile(path, table(modules), 0o644)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(old, table(modules)) {
		return fmt.Errorf("%s does not list what is linked: run `make licences`", *out)
	}
	return nil
}

// below is path, put below dir unless it is absolute.
func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// module is a Go module that is linked.
type module struct {
	path     string
	dir      string // where its files lie
	licences []string
	texts    []text
}

// text is a file that the licence wants to be given on.
type text struct {
	name    string
	content []byte
}

// linked returns the modules of all packages that are linked into the binaries below cmd, and Go's own, by path.
func linked(root string) ([]module, error) {
	dirs := map[string]string{}
	for _, arch := range architectures {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./cmd/...")
		cmd.Dir, cmd.Stderr = root, os.Stderr
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("list what is linked for %s: %w", arch, err)
		}
		for line := range strings.Lines(string(out)) {
			if path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
				dirs[path] = dir
			}
		}
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go: %w", err)
	}
	dirs["std"] = strings.TrimSpace(string(goroot))
	var modules []module
	for path, dir := range dirs {
		modules = append(modules, module{path: path, dir: dir})
	}
	slices.SortFunc(modules, func(a, b module) int { return strings.Compare(a.path, b.path) })
	return modules, nil
}

// isLicence and isNotice match the names of the files to look at.
var (
	isLicence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([.-].*)?$`)
	isNotice  = regexp.MustCompile(`(?i)^(notice|patents)(\..*)?$`)
)

// find reads the licences in the root folder of the module.
func (m *module) find() error {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		licence := isLicence.MatchString(e.Name())
		if e.IsDir() || !licence && !isNotice.MatchString(e.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(m.dir, e.Name()))
		if err != nil {
			return err
		}
		m.texts = append(m.texts, text{e.Name(), content})
		if licence {
			if err := m.recognise(e.Name(), content); err != nil {
				return err
			}
		}
	}
	if len(m.licences) == 0 {
		return fmt.Errorf("%s: no licence in %s", m.path, m.dir)
	}
	slices.Sort(m.licences)
	m.licences = slices.Compact(m.licences)
	return nil
}

// enough is the share of a file, in per cent, that must be words of known licences. The rest is the copyright notice, or says
// which part of the module is under which.
const enough = 70

// recognise adds the licences that a text has.
func (m *module) recognise(name string, content []byte) error {
	cover := licensecheck.Scan(content)
	if cover.Percent < enough {
		return fmt.Errorf("%s: %s is a known licence to %.0f %% only", m.path, name, cover.Percent)
	}
	for _, match := range cover.Match {
		if match.IsURL {
			continue
		}
		if !allowed[match.ID] {
			return fmt.Errorf("%s: %s has the licence %s, which is not among those that the project takes", m.path, name, match.ID)
		}
		m.licences = append(m.licences, match.ID)
	}
	if len(m.licences) == 0 {
		return errors.New(m.path + ": no licence in " + name)
	}
	return nil
}

// table is the list for people, and for the bill of materials of the image.
func table(modules []module) []byte {
	var b bytes.Buffer
	b.WriteString(`<!-- Made by ` + "`make licences`" + `. -->
# Third-party licences

These Go modules are linked into Invar's binaries, on one architecture or another. Their versions are in ` + "`go.mod`" + `; their
licences' texts are in the image, as ` + "`/THIRD_PARTY.txt`" + `. Modules that only tests and tools use are not listed.

| module | licence |
| --- | --- |
`)
	for _, m := range modules {
		fmt.Fprintf(&b, "| `%s` | %s |\n", m.path, strings.Join(m.licences, " AND "))
	}
	return b.Bytes()
}

// allTexts are the licences and notices of all modules, one after the other.
func allTexts(modules []module) []byte {
	var b bytes.Buffer
	b.WriteString("Invar has parts of the Go modules below. Their licences and notices follow.\n")
	for _, m := range modules {
		for _, t := range m.texts {
			fmt.Fprintf(&b, "\n%s\n%s: %s\n%s\n\n%s\n", strings.Repeat("=", 80), m.path, t.name, strings.Repeat("=", 80),
				bytes.TrimSpace(t.content))
		}
	}
	return b.Bytes()
}
