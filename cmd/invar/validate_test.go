package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// ran is what came of a command line.
type ran struct {
	Code     int
	Out, Err string
}

// runLine runs a command line in a folder with the given files, with stdin as standard input.
func runLine(t *testing.T, line, stdin string, files map[string]string) ran {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.WriteFile(filepath.Clean(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	streams, in, out, errOut := genericiooptions.NewTestIOStreams()
	in.WriteString(stdin)
	code := run(t.Context(), streams, strings.Fields(line))
	return ran{code, out.String(), errOut.String()}
}

func TestValidate(t *testing.T) {
	manifest := "kind: ConfigMap\nmetadata: {name: config}\ndata:\n  config: |\n    address-pools:\n    - name: a\n      protocol: layer2\n" +
		"      addresses: [10.0.0.0/24, 10.0.0.7]\n    peers: [{my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1}]\n"
	good := "address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/24]}]"
	tests := []struct {
		name, line, stdin string
		files             map[string]string
		want              ran
	}{
		{
			name: "manifest with a mistake", line: "invar validate c.yaml", files: map[string]string{"c.yaml": manifest},
			want: ran{exitNo, `c.yaml:8:32: error: address-pools[0].addresses[1] (pool "a"): "10.0.0.7": is a single address; write 10.0.0.7/32
c.yaml:9:12: layer 2 only: peers: left out: Invar works in Layer 2 only
c.yaml: 1 mistake, 1 warning
`, ""},
		},
		{
			name: "bare text", line: "invar validate -", stdin: good,
			want: ran{exitOK, "<stdin>: valid with 1 pool\n", ""},
		},
		{
			name: "warnings are no mistakes", line: "invar validate -", stdin: strings.Replace(good, "10.0.0.0/24", "127.0.0.0/8", 1),
			want: ran{exitOK, `<stdin>:1:57: notice: address-pools[0].addresses[0] (pool "a"): "127.0.0.0/8": contains loopback addresses (127.0.0.0/8), which clients can't reach
<stdin>: valid with 1 pool, 1 warning
`, ""},
		},
		{
			name: "as JSON", line: "invar validate - -o json", stdin: strings.Replace(good, "layer2", "layer3", 1),
			want: ran{exitNo, `{
  "file": "\u003cstdin\u003e",
  "valid": false,
  "findings": [
    {
      "class": "error",
      "path": "address-pools[0].protocol",
      "pool": "a",
      "line": 1,
      "column": 37,
      "value": "layer3",
      "message": "unknown protocol; allowed: layer2"
    }
  ]
}
`, ""},
		},
		{
			name: "valid as JSON", line: "invar validate - -o json", stdin: good,
			want: ran{exitOK, `{
  "file": "\u003cstdin\u003e",
  "valid": true,
  "findings": [],
  "pools": [
    "a"
  ]
}
`, ""},
		},
		{
			name: "another name", line: "invar validate - --config lb --invar-namespace net", stdin: "kind: ConfigMap\nmetadata: {name: lb, namespace: net}\ndata: {config: ''}",
			want: ran{exitOK, "<stdin>: valid with 0 pools\n", ""},
		},
		{
			name: "no file", line: "invar validate c.yaml",
			want: ran{exitFailed, "", "error: read the configuration: open c.yaml: no such file or directory\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, runLine(t, tt.line, tt.stdin, tt.files)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}
