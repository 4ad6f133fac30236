package imports

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// checker collects what breaks the rules, as "path:line: what: why".
type checker struct {
	fset     *token.FileSet
	table    map[string]row
	problems []string
}

// check applies all rules to the files, given as text by path relative to the repository, and returns what breaks them.
func check(table map[string]row, files map[string]string) ([]string, error) {
	c := &checker{fset: token.NewFileSet(), table: table}
	documented := map[string]bool{} // by directory; only those with ordinary files
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := parser.ParseFile(c.fset, name, files[name], parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		dir := path.Dir(name)
		c.checkName(f, dir)
		c.checkInit(f)
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		documented[dir] = documented[dir] || f.Doc.Text() != ""
		c.checkImports(f, dir)
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			c.problems = append(c.problems, dir+": no package comment: a reader starts there; write doc.go")
		}
	}
	return c.problems, nil
}

// problem records that the rule behind why is broken at pos.
func (c *checker) problem(pos token.Pos, what, why string) {
	p := c.fset.Position(pos)
	c.problems = append(c.problems, fmt.Sprintf("%s:%d: %s: %s", p.Filename, p.Line, what, why))
}

// checkName refuses names that say nothing.
func (c *checker) checkName(f *ast.File, dir string) {
	name := strings.TrimSuffix(f.Name.Name, "_test")
	if vague[name] || vague[path.Base(dir)] {
		c.problem(f.Name.Pos(), "package "+name+" in "+dir, "the name says nothing of what is inside; name the thing it holds")
	}
}

// checkInit refuses init functions.
func (c *checker) checkInit(f *ast.File) {
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			c.problem(fn.Pos(), "init function", "importing a package must do nothing; let main call what must happen")
		}
	}
}

// checkImports applies the table to a file of cmd or pkg. Other folders hold tests and tools, which may import anything.
func (c *checker) checkImports(f *ast.File, dir string) {
	if !strings.HasPrefix(dir, "cmd/") && !strings.HasPrefix(dir, "pkg/") {
		return
	}
	r, ok := c.table[dir]
	if !ok {
		c.problem(f.Name.Pos(), "package "+dir+" is not in the import table", "say there what it may import")
		return
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		if why := r.refuses(dir, imported); why != "" {
			c.problem(spec.Pos(), "imports "+imported, why)
		}
	}
	if r.pure {
		c.checkPure(f, dir)
	}
}

// refuses is why the package in dir may not import a path, or empty.
func (r row) refuses(dir, imported string) string {
	if rest, ok := strings.CutPrefix(imported, module+"/"); ok {
		if slices.Contains(r.imports, rest) {
			return ""
		}
		return fmt.Sprintf("the import table lets %s import only %q of the project; arrows point one way, "+
			"so that each package can be read and tested without those above it", dir, r.imports)
	}
	if !r.kubernetes && strings.HasPrefix(imported, kubernetesPrefix) {
		return dir + " knows nothing of Kubernetes; pkg/kube turns API objects into plain structs"
	}
	if !r.frames && strings.HasPrefix(imported, framesPrefix) {
		return "only pkg/responder knows frames and their libraries"
	}
	if !r.pure {
		return ""
	}
	for _, prefix := range slices.Sorted(maps.Keys(impure)) {
		if imported == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(imported, prefix) {
			return dir + " is pure: " + impure[prefix]
		}
	}
	return ""
}

// checkPure refuses goroutines and clocks.
func (c *checker) checkPure(f *ast.File, dir string) {
	timeName := localName(f, "time")
	if timeName == "." {
		c.problem(f.Name.Pos(), "imports time into its own scope", "clocks could not be told apart from its own functions")
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			c.problem(n.Pos(), "starts a goroutine", dir+" is pure: its caller decides what runs when")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == timeName && clock[n.Sel.Name] {
				c.problem(n.Pos(), "uses time."+n.Sel.Name, dir+" is pure: a time is an argument, so that tests and simulations own it")
			}
		}
		return true
	})
}

// localName is the name by which f refers to an imported package whose name is the last element of its path; empty
// if f does not import it.
func localName(f *ast.File, imported string) string {
	for _, spec := range f.Imports {
		if spec.Path.Value != strconv.Quote(imported) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(imported)
	}
	return ""
}
