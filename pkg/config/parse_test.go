package config_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/invar-lb/invar/pkg/config"
)

// update writes the golden files anew; read the difference before committing it.
var update = os.Getenv("GOLDEN_UPDATE") == "1"

// files returns the configurations in a folder of testdata.
func files(t testing.TB, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("list testdata/%s: %d files, %v", folder, len(names), err)
	}
	return names
}

// read returns the text of a file.
func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("read file: %v", err)
	}
	return string(text)
}

// golden compares got with the golden file of a configuration.
func golden(t *testing.T, name, suffix, got string) {
	t.Helper()
	name = strings.TrimSuffix(name, ".yaml") + suffix
	if update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatalf("write golden file: %v", err)
		}
	}
	if diff := cmp.Diff(read(t, name), got); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", name, diff)
	}
}

// TestBadConfigs parses a file for each mistake, and compares all messages.
func TestBadConfigs(t *testing.T) {
	for _, name := range files(t, "bad") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			cfg, err := config.Parse(read(t, name))
			var errs config.Errors
			if cfg != nil || !errors.As(err, &errs) {
				t.Fatalf("got config %v and error %v (%T); want none and Errors", cfg, err, err)
			}
			golden(t, name, ".err", strings.TrimSuffix(classes(errs), "\n")+"\n")
		})
	}
}

// TestGoodConfigs parses what is allowed, and compares the pools and the warnings.
func TestGoodConfigs(t *testing.T) {
	for _, name := range files(t, "good") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			cfg, err := config.Parse(read(t, name))
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			dump, err := json.MarshalIndent(cfg.Pools, "", "  ")
			if err != nil {
				t.Fatalf("marshal: %v", err)
			}
			golden(t, name, ".json", string(dump)+"\n"+classes(cfg.Warnings))
		})
	}
}

// classes returns each finding in a line with its class.
func classes(errs config.Errors) string {
	var b strings.Builder
	for _, err := range errs {
		b.WriteString(err.Class.String() + ": " + err.Error() + "\n")
	}
	return b.String()
}

// TestPasswordsStaySecret checks that a mistake in a peer doesn't put its password into an event.
func TestPasswordsStaySecret(t *testing.T) {
	for _, text := range []string{
		"peers: [{password: [hunter2]}]",
		"peers: [{password: {hunter2: hunter2}}]",
		"peers: [{password: !secret hunter2}]",
		"peers: [{password: &a hunter2, my-asn: 1}, {password: *a, password: hunter2}]",
	} {
		_, err := config.Parse(text)
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", text, err)
		}
	}
}

// TestErrorsUnwrap checks that a single finding can be got at.
func TestErrorsUnwrap(t *testing.T) {
	_, err := config.Parse("address-pools: 5")
	var finding *config.Error
	if !errors.As(err, &finding) {
		t.Fatalf("errors.As finds no *config.Error in %v", err)
	}
	want := &config.Error{Path: "address-pools", Line: 1, Column: 16, Value: "5", Message: "must be a list, is a single value"}
	if diff := cmp.Diff(want, finding); diff != "" {
		t.Errorf("finding (-want +got):\n%s", diff)
	}
}

// TestMaxLineLength keeps the longest message an Event can carry (1,024 characters) in view.
func TestMaxLineLength(t *testing.T) {
	long := strings.Repeat("x", 5000)
	_, err := config.Parse("address-pools: [{name: " + long + ", protocol: " + long + ", addresses: [" + long + "]}]")
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) != 2 {
		t.Fatalf("got %v, want two findings", err)
	}
	for _, e := range errs {
		if len(e.Error()) > 1024 {
			t.Errorf("message of %d characters: %.200s…", len(e.Error()), e)
		}
	}
}

// BenchmarkParse parses a configuration with every key.
func BenchmarkParse(b *testing.B) {
	text := read(b, filepath.Join("testdata", "good", "all-keys.yaml"))
	for b.Loop() {
		if _, err := config.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSamples parses the ConfigMaps that the project shows its users.
func TestSamples(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "..", "config", "samples", "*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("list samples: %d files, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			var configMap struct {
				Kind string            `yaml:"kind"`
				Data map[string]string `yaml:"data"`
			}
			if err := yaml.Unmarshal([]byte(read(t, name)), &configMap); err != nil {
				t.Fatalf("unmarshal: %v", err)
			}
			cfg, err := config.Parse(configMap.Data["config"])
			if err != nil || configMap.Kind != "ConfigMap" || len(cfg.Pools) == 0 || len(cfg.Warnings) > 0 {
				t.Errorf("%s: config %+v, error %v", configMap.Kind, cfg, err)
			}
		})
	}
}

// TestParseLargest parses texts as long as a ConfigMap can be (1 MiB), the last of them made to cost much.
func TestParseLargest(t *testing.T) {
	const size = 1 << 20
	fill := func(start, part string) string {
		return start + strings.Repeat(part, (size-len(start))/len(part))
	}
	for name, text := range map[string]string{
		"pools":          fill("address-pools:\n", "- {name: a, protocol: layer2, addresses: [10.0.0.0/24]}\n"),
		"ranges":         fill("address-pools:\n- addresses:\n", "  - 10.0.0.0/24\n"),
		"unknown keys":   fill("", "k: 1\n"),
		"aliases":        fill("address-pools:\n- &a {addresses: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}\n", "- *a\n"),
		"merges":         fill("address-pools:\n- &a {name: a}\n- <<: [*a", ", *a"),
		"nested":         fill("address-pools: ", "["),
		"documents":      fill("a: 1\n", "---\na: 1\n"),
		"label keys":     fill("address-pools:\n- node-selectors:\n  - match-labels: {", "a: 1, "),
		"bgp everywhere": fill("peers:\n", "- {my-asn: 1, password: secret}\n"),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if _, err := config.Parse(text); err == nil {
				t.Errorf("no error")
			}
			t.Logf("%d bytes in %v", len(text), time.Since(start).Round(time.Millisecond))
		})
	}
}
