package main

import (
	"flag"
	"io"
	"strings"
	"testing"
)

// TestOptions checks what the flags are refused for: each error names the flag and what is allowed.
func TestOptions(t *testing.T) {
	good := "--node-name=node1 --ml-bindaddr=192.168.1.11 --namespace=metallb-system"
	for _, tt := range []struct{ args, want string }{
		{good, ""},
		{good + " --announce-rate=1 --announce-refresh=10s", ""},
		{good + " --node-name=", "--node-name"},
		{good + " --ml-bindaddr=", "--ml-bindaddr"},
		{good + " --announce-rate=0", "--announce-rate 0: want 1 or more"},
		{good + " --announce-refresh=9s", "--announce-refresh 9s: want 10s or more"},
		{good + " --log-level=loud", "loud"},
	} {
		var o options
		fs := flag.NewFlagSet("speaker", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		o.register(fs)
		if err := fs.Parse(strings.Fields(tt.args)); err != nil {
			t.Fatal(err)
		}
		switch err := o.check(); {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.args, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: error is %v, want one with %q", tt.args, err, tt.want)
		}
	}
}
