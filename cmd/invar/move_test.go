package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func TestAwait(t *testing.T) {
	const wait = 30 * time.Second
	tests := []struct {
		name        string
		interrupted time.Duration // after which the user gives up; 0: never
		done        time.Duration // after which it has come about
		out, err    string
		code        int
	}{
		{name: "it comes about", done: time.Second, out: "done\n", code: exitOK},
		{name: "it does not", done: time.Hour, err: "error: gave up waiting after 30s: not yet\n", code: exitTimeout},
		{name: "interrupted", done: time.Hour, interrupted: time.Second, err: "error: interrupted: not yet\n", code: exitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.interrupted > 0 {
					time.AfterFunc(tt.interrupted, cancel)
				}
				streams, _, out, errOut := genericiooptions.NewTestIOStreams()
				tool, start := newTool(streams), time.Now()
				code := tool.exitCode(tool.await(ctx, wait,
					func(context.Context) (bool, string) { return time.Since(start) >= tt.done, "not yet." },
					func() string { return "done" }))
				if code != tt.code || out.String() != tt.out || errOut.String() != tt.err {
					t.Errorf("exit code %d, stdout %q, stderr %q; want %d, %q, %q", code, out, errOut, tt.code, tt.out, tt.err)
				}
			})
		})
	}
}
