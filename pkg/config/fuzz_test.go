package config_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/ipam"
)

// FuzzParse parses any text. It must not panic; findings must have a message and a line of the text; and pools
// that are written out again must be read as the same pools.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, name := range files(f, folder) {
			f.Add(read(f, name))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := config.Parse(text)
		if err != nil {
			var errs config.Errors
			if cfg != nil || !errors.As(err, &errs) {
				t.Fatalf("got a config (%v) or a %T besides the error", cfg != nil, err)
			}
			checkFindings(t, text, errs)
			return
		}
		checkFindings(t, text, cfg.Warnings)
		if err := ipam.New().SetPools(cfg.AddressPools()); err != nil {
			t.Fatalf("checked pools are refused by the allocator: %v", err)
		}
		again, err := config.Parse(config.Text(cfg.Pools))
		if err != nil {
			t.Fatalf("what was written isn't read: %v\n%s", err, config.Text(cfg.Pools))
		}
		if diff := cmp.Diff(cfg.Pools, again.Pools, equateRanges, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("what was written reads differently (-first +again):\n%s", diff)
		}
	})
}

// equateRanges lets cmp compare addresses.
var equateRanges = cmpopts.EquateComparable(ipam.Range{})

// checkFindings checks that every finding can be shown.
func checkFindings(t *testing.T, text string, errs config.Errors) {
	t.Helper()
	for _, err := range errs {
		if err.Message == "" || err.Line < 0 || err.Line > len(text)+2 || err.Column < 0 {
			t.Fatalf("finding without a message or outside the text: %+v", err)
		}
	}
}

// FuzzParseFile parses any file. It must not panic, and findings must have a message and a line of the file.
func FuzzParseFile(f *testing.F) {
	for _, name := range files(f, "files") {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, file string) {
		cfg, err := config.ParseFile(file, "metallb-system", "config")
		var errs config.Errors
		switch {
		case err == nil:
			errs = cfg.Warnings
		case cfg != nil || !errors.As(err, &errs):
			t.Fatalf("got a config (%v) or a %T besides the error", cfg != nil, err)
		}
		checkFindings(t, file, errs)
	})
}
