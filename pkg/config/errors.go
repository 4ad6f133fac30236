package config

import (
	"fmt"
	"strings"
)

// A Class says how much an [Error] matters.
type Class uint8

const (
	// Invalid is a mistake; a text that has one is refused as a whole.
	Invalid Class = iota
	// Layer2Only is a part of the text that is about BGP. It is left out; the rest serves.
	Layer2Only
	// Notice is something that is allowed but that its author may not have meant.
	Notice
)

// String returns "error", "layer 2 only" or "notice".
func (c Class) String() string {
	switch c {
	case Layer2Only:
		return "layer 2 only"
	case Notice:
		return "notice"
	default:
		return "error"
	}
}

// MarshalText returns what String does.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// An Error is one finding in a configuration.
type Error struct {
	Class   Class  `json:"class"`
	Path    string `json:"path,omitempty"`   // for example "address-pools[1].addresses[0]"; "" for the text as a whole
	Pool    string `json:"pool,omitempty"`   // name of the pool it is in, if it is in one that has a name
	Line    int    `json:"line,omitempty"`   // from 1; 0 if not known
	Column  int    `json:"column,omitempty"` // from 1; 0 if not known
	Value   string `json:"value,omitempty"`  // the text found there, shortened; "" if there is none, or if it is secret
	Message string `json:"message"`          // what is wrong and what is allowed
}

// Error returns everything in one line, for example
//
//	line 5, column 9: address-pools[0].addresses[0] (pool "default"): "10.0.0.9-10.0.0.5": ends before it starts; …
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ", column %d", e.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Text())
	return b.String()
}

// Text returns what [Error.Error] does without the line and the column.
func (e *Error) Text() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Pool != "" {
		fmt.Fprintf(&b, " (pool %q)", shorten(e.Pool))
	}
	if e.Path != "" {
		b.WriteString(": ")
	}
	if e.Value != "" {
		fmt.Fprintf(&b, "%q: ", e.Value)
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errors are the findings of a text in the order of the text, those without a line last. Of each class the first
// hundred are listed; one without a line then says that there are more.
type Errors []*Error

// Error returns one line for each finding.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single findings, for errors.As and errors.Is.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}
