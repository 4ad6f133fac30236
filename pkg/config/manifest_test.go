package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/config"
)

// TestFiles reads a file of each form, and compares all that is found. Each finding is checked against the file, too: what is
// said to stand there does.
func TestFiles(t *testing.T) {
	for _, name := range files(t, "files") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file := read(t, name)
			cfg, err := config.ParseFile(file, "metallb-system", "config")
			var errs config.Errors
			switch {
			case err == nil:
				errs = cfg.Warnings
			case cfg != nil || !errors.As(err, &errs):
				t.Fatalf("got config %v and error %v (%T); want none and Errors", cfg, err, err)
			}
			golden(t, name, ".err", classes(errs))
			lines := strings.Split(file, "\n")
			for _, e := range errs {
				if e.Value == "" || filepath.Base(name) == "folded.yaml" { // its places are not known
					continue
				}
				there := string([]rune(lines[e.Line-1])[e.Column-1:])
				if !strings.HasPrefix(strings.TrimLeft(there, `\"'`), e.Value) {
					t.Errorf("%v: there is %q", e, there)
				}
			}
		})
	}
}

var lineNumber = regexp.MustCompile(`line (\d+)`)

// TestFilesMoveFindings puts each bad configuration into a manifest in several forms: the findings are those of the text, moved.
func TestFilesMoveFindings(t *testing.T) {
	head := "kind: ConfigMap\nmetadata: {name: config}\ndata:\n"
	for _, name := range files(t, "bad") {
		text := read(t, name)
		_, err := config.Parse(text)
		var want config.Errors
		if !errors.As(err, &want) {
			t.Fatalf("%s: %v", name, err)
		}
		for _, indent := range []int{3, 8} {
			t.Run(fmt.Sprint(filepath.Base(name), " indented by ", indent), func(t *testing.T) {
				margin := strings.Repeat(" ", indent)
				lines := strings.TrimSuffix(strings.ReplaceAll(text, "\n", "\n"+margin), margin)
				file := fmt.Sprintf("%s  config: |%d\n%s%s", head, indent-2, margin, lines)
				compareMoved(t, file, want, func(line, column int) (int, int) {
					if column == 0 {
						return line + 4, 0
					}
					return line + 4, column + indent
				})
			})
		}
		t.Run(filepath.Base(name)+" as JSON", func(t *testing.T) {
			quoted, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			before := `  "config": `
			file := `{"kind": "ConfigMap", "metadata": {"name": "config"}, "data": {` + "\n" + before + string(quoted) + "}}\n"
			lines := strings.SplitAfter(text, "\n")
			compareMoved(t, file, want, func(line, column int) (int, int) {
				runes := []rune(lines[line-1])
				upTo := strings.Join(lines[:line-1], "") + string(runes[:max(column, 1)-1])
				quoted, err := json.Marshal(upTo)
				if err != nil {
					t.Fatal(err)
				}
				return 2, len(before) + utf8.RuneCount(quoted) // one more for the quote before, one less for that after
			})
		})
	}
}

// compareMoved wants the findings of a file to be those of its text, moved.
func compareMoved(t *testing.T, file string, want config.Errors, move func(line, column int) (int, int)) {
	t.Helper()
	_, err := config.ParseFile(file, "metallb-system", "config")
	var got config.Errors
	if !errors.As(err, &got) {
		t.Fatalf("got %v in\n%s", err, file)
	}
	moved := make(map[string]int)
	for _, e := range want {
		m := *e
		if m.Line > 0 {
			m.Line, m.Column = move(e.Line, e.Column)
		}
		m.Message = lineNumber.ReplaceAllStringFunc(m.Message, func(s string) string {
			n, _ := strconv.Atoi(strings.TrimPrefix(s, "line "))
			n, _ = move(n, 0)
			return fmt.Sprint("line ", n)
		})
		moved[m.Error()]++
	}
	found := make(map[string]int)
	for _, e := range got {
		found[e.Error()]++
	}
	if diff := cmp.Diff(moved, found); diff != "" {
		t.Errorf("findings (-want +got):\n%s\nin\n%s", diff, file)
	}
}

// TestLargestFile parses a text of the size of a ConfigMap in the form that takes the most work to follow.
func TestLargestFile(t *testing.T) {
	text, err := json.Marshal(strings.Repeat("a: 1\n", 1<<20/5))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.ParseFile(`{"kind":"ConfigMap","data":{"config":`+string(text)+"}}", "", "config"); err == nil {
		t.Error("no error")
	}
}
