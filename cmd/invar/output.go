package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// format is how a command prints its answer, the value of --output.
type format string

// The formats.
const (
	formatText format = ""
	formatWide format = "wide"
	formatJSON format = "json"
	formatYAML format = "yaml"
)

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// Set implements pflag.Value.
func (f *format) Set(s string) error {
	known := []format{formatJSON, formatYAML, formatWide}
	if !slices.Contains(known, format(s)) {
		return fmt.Errorf("want json, yaml or wide")
	}
	*f = format(s)
	return nil
}

// refuse is for commands that do something and have no answer to print: it refuses --output.
func (f *format) refuse(cmd *cobra.Command, _ []string) error {
	if *f == formatText {
		return nil
	}
	return usageError{cmd, fmt.Errorf("--output is of no use here: %s does something, and its exit code says whether that came about", cmd.Name())}
}

// print writes answer as JSON or YAML if the user asks for that, and else as the text that write makes of it.
func (t *tool) print(answer any, write func(p *page)) error {
	switch t.output {
	case formatJSON:
		enc := json.NewEncoder(t.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(answer)
	case formatYAML:
		text, err := yaml.Marshal(answer)
		if err != nil {
			return fmt.Errorf("write YAML: %w", err)
		}
		_, err = t.Out.Write(text)
		return err
	}
	p := &page{style: t.style, wide: t.output == formatWide}
	write(p)
	_, err := fmt.Fprint(t.Out, p.String())
	return err
}

// page is a text in the making.
type page struct {
	strings.Builder
	style
	wide bool // the user wants to see more columns
}

// line adds a line, formatted as by fmt.
func (p *page) line(format string, args ...any) {
	fmt.Fprintf(p, format, args...)
	p.WriteByte('\n')
}

// table adds rows in columns that are as wide as their widest cell, two spaces apart. The first row has the headings.
func (p *page) table(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], visible(cell))
		}
	}
	for n, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			if n == 0 {
				cell = p.faint(cell)
			}
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-visible(cell)+2))
			}
		}
		p.line("%s", strings.TrimRight(b.String(), " "))
	}
}
