package imports

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testTable is small, so that the rows below can be read without the real one.
var testTable = map[string]row{
	"cmd/a":     {imports: []string{"pkg/wire"}, kubernetes: true},
	"pkg/pure":  {pure: true},
	"pkg/pure2": {pure: true, imports: []string{"pkg/pure"}},
	"pkg/wire":  {frames: true},
}

// doc begins an ordinary file that has a package comment.
const doc = "// Package p is documented.\n"

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string // beginnings of the problems, without the reason
	}{
		{
			name: "all in order",
			files: map[string]string{
				"cmd/a/main.go":         doc + "package main\nimport (\n\"os\"\n\"k8s.io/api\"\n\"" + module + "/pkg/wire\"\n)\nfunc main() { go x() }",
				"pkg/pure/doc.go":       doc + "package pure",
				"pkg/pure/p.go":         "package pure\nimport (\n\"time\"\n\"net/netip\"\n)\nvar d = time.Second\nfunc (t T) init() {}",
				"pkg/pure/p_test.go":    "package pure_test\nimport (\n\"os\"\n\"time\"\n\"" + module + "/test/x\"\n)\nvar n = time.Now\nfunc f() { go f() }",
				"pkg/pure2/p.go":        doc + "package pure2\nimport \"" + module + "/pkg/pure\"",
				"pkg/wire/w.go":         doc + "package wire\nimport (\n\"github.com/mdlayher/arp\"\n\"log/slog\"\n)",
				"test/lab/main.go":      doc + "package main\nimport (\n\"k8s.io/api\"\n\"github.com/mdlayher/arp\"\n\"" + module + "/pkg/pure\"\n)",
				"test/only/run_test.go": "package only",
			},
		},
		{
			name:  "no row",
			files: map[string]string{"pkg/new/n.go": doc + "package n\nimport \"k8s.io/api\""},
			want:  []string{"pkg/new/n.go:2: package pkg/new is not in the import table"},
		},
		{
			name: "against the arrows",
			files: map[string]string{
				"pkg/pure/p.go": doc + "package pure\nimport \"" + module + "/pkg/pure2\"",
				"cmd/a/main.go": doc + "package main\nimport (\n_ \"" + module + "/pkg/pure\"\nx \"" + module + "/test/x\"\n)",
			},
			want: []string{
				"cmd/a/main.go:4: imports " + module + "/pkg/pure",
				"cmd/a/main.go:5: imports " + module + "/test/x",
				"pkg/pure/p.go:3: imports " + module + "/pkg/pure2",
			},
		},
		{
			name: "Kubernetes and frames where they don't belong",
			files: map[string]string{
				"pkg/wire/w.go": doc + "package wire\nimport \"k8s.io/api/core/v1\"",
				"cmd/a/main.go": doc + "package main\nimport \"github.com/mdlayher/ndp\"",
			},
			want: []string{
				"cmd/a/main.go:3: imports github.com/mdlayher/ndp",
				"pkg/wire/w.go:3: imports k8s.io/api/core/v1",
			},
		},
		{
			name: "impure imports",
			files: map[string]string{
				"pkg/pure/p.go": doc + "package pure\nimport (\n\"os\"\n\"os/exec\"\n\"log\"\n\"log/slog\"\n\"syscall\"\n" +
					"\"golang.org/x/sys/unix\"\n\"k8s.io/api\"\n\"github.com/mdlayher/arp\"\n\"oscar\"\n\"logs\"\n)",
			},
			want: []string{
				"pkg/pure/p.go:4: imports os:",
				"pkg/pure/p.go:5: imports os/exec:",
				"pkg/pure/p.go:6: imports log:",
				"pkg/pure/p.go:7: imports log/slog:",
				"pkg/pure/p.go:8: imports syscall:",
				"pkg/pure/p.go:9: imports golang.org/x/sys/unix:",
				"pkg/pure/p.go:10: imports k8s.io/api:",
				"pkg/pure/p.go:11: imports github.com/mdlayher/arp:",
			},
		},
		{
			name: "goroutine and clock",
			files: map[string]string{
				"pkg/pure/a.go": doc + "package pure\nimport \"time\"\nfunc f() {\ngo f()\nx := []any{time.Now}\n<-time.After(1)\n}",
				"pkg/pure/b.go": "package pure\nimport clock \"time\"\nvar t = clock.Now()\nvar u = other.Now()",
				"pkg/pure/c.go": "package pure\nimport . \"time\"",
			},
			want: []string{
				"pkg/pure/a.go:5: starts a goroutine",
				"pkg/pure/a.go:6: uses time.Now",
				"pkg/pure/a.go:7: uses time.After",
				"pkg/pure/b.go:3: uses time.Now",
				"pkg/pure/c.go:1: imports time into its own scope",
			},
		},
		{
			name: "init, in tests and tools too",
			files: map[string]string{
				"pkg/wire/w.go":      doc + "package wire\n\nfunc init() {}",
				"pkg/wire/w_test.go": "package wire\nfunc init() {}",
				"hack/x/main.go":     doc + "package main\nfunc init() {}",
			},
			want: []string{
				"hack/x/main.go:3: init function",
				"pkg/wire/w.go:4: init function",
				"pkg/wire/w_test.go:2: init function",
			},
		},
		{
			name: "vague names, of folder or package",
			files: map[string]string{
				"test/util/u.go":     doc + "package u",
				"test/x/x.go":        doc + "package helpers",
				"test/y/y_test.go":   "package common_test",
				"test/utility/ok.go": doc + "package utility",
			},
			want: []string{
				"test/util/u.go:2: package u in test/util",
				"test/x/x.go:2: package helpers in test/x",
				"test/y/y_test.go:1: package common in test/y",
			},
		},
		{
			name: "no package comment",
			files: map[string]string{
				"pkg/wire/w.go":      "//go:build linux\n\npackage wire",
				"pkg/wire/w_test.go": doc + "package wire",
				"hack/x/main.go":     "// A comment with a gap below it.\n\npackage main",
			},
			want: []string{"hack/x: no package comment", "pkg/wire: no package comment"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := check(testTable, tt.files)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("problems (-want +got):\n%s", cmp.Diff(tt.want, got))
			}
			for i, want := range tt.want {
				if reason := strings.TrimPrefix(got[i], want); reason == got[i] || len(reason) < 20 {
					t.Errorf("problem %d is %q, want %q and a reason", i, got[i], want)
				}
			}
		})
	}
}

func TestCheckBrokenFile(t *testing.T) {
	if got, err := check(testTable, map[string]string{"pkg/pure/p.go": "package"}); err == nil {
		t.Errorf("no error for a file that does not parse, problems %q", got)
	}
}

// TestTable checks the real table itself: every arrow ends in a row, pure packages import pure ones only, no circles.
func TestTable(t *testing.T) {
	for _, from := range slices.Sorted(maps.Keys(table)) {
		for _, to := range table[from].imports {
			if _, ok := table[to]; !ok {
				t.Errorf("%s may import %s, which has no row", from, to)
			}
			if table[from].pure && !table[to].pure {
				t.Errorf("%s is pure and may import %s, which is not", from, to)
			}
			if strings.HasPrefix(to, "cmd/") {
				t.Errorf("%s may import %s, a main package", from, to)
			}
		}
		if reaches(from, from) {
			t.Errorf("%s may import itself, through others", from)
		}
		if table[from].pure && (table[from].kubernetes || table[from].frames) {
			t.Errorf("%s is pure and may import Kubernetes or frames", from)
		}
	}
	for _, name := range []string{"pkg/ipam", "pkg/config", "pkg/election", "pkg/explain"} {
		if !table[name].pure {
			t.Errorf("%s is not pure any more", name)
		}
	}
}

// reaches reports whether the table leads from one package to another over at least one arrow.
func reaches(from, to string) bool {
	seen := map[string]bool{}
	queue := slices.Clone(table[from].imports)
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if next == to {
			return true
		}
		if !seen[next] {
			seen[next] = true
			queue = append(queue, table[next].imports...)
		}
	}
	return false
}
