package imports

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRepository applies the rules to every Go file of the project, those of the other modules in it included.
func TestRepository(t *testing.T) {
	files, err := goFiles(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := files["test/imports/repository_test.go"]; !ok || len(files) < 20 {
		t.Fatalf("found only %d Go files, and not all of this package: the search is broken", len(files))
	}
	problems, err := check(table, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// goFiles is the text of each Go file by its path in the repository.
func goFiles(repository fs.FS) (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(repository, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skip(path, d.Name())
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(repository, path)
		files[path] = string(text)
		return err
	})
	return files, err
}

// skip keeps the search out of folders that the go command ignores too, and out of what is built.
func skip(path, name string) error {
	hidden := path != "." && strings.HasPrefix(name, ".")
	if hidden || strings.HasPrefix(name, "_") || name == "testdata" || path == "bin" {
		return fs.SkipDir
	}
	return nil
}
