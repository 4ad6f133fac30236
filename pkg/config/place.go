package config

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A placing turns a place in the text of a configuration into one in the file that it stands in; both count from 1. A
// column of 0 is not known.
type placing func(line, column int) (int, int)

// inPlace is for a text that is the whole file.
func inPlace(line, column int) (int, int) { return line, column }

// placing returns where the text of a scalar stands in the file. What YAML's rules say is checked against the text that the
// parser has read, so that a place is either right or just the beginning of the scalar.
func (m *manifest) placing(text *yaml.Node) placing {
	switch text.Style &^ yaml.TaggedStyle {
	case yaml.LiteralStyle:
		if indent, ok := m.indent(text); ok {
			return func(line, column int) (int, int) {
				if column > 0 {
					column += indent
				}
				return text.Line + line, column
			}
		}
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		u := &unquoting{lines: m.lines, line: text.Line, column: text.Column, runes: []rune(m.lines[text.Line-1])}
		if u.run() && string(u.out) == text.Value {
			return u.placing()
		}
	}
	return func(int, int) (int, int) { return text.Line, text.Column }
}

// indent returns how far a block scalar is indented, and false if its lines are not those of the file.
func (m *manifest) indent(text *yaml.Node) (int, bool) {
	indent := -1
	for i, line := range strings.Split(text.Value, "\n") {
		if line == "" {
			continue
		}
		if text.Line+i >= len(m.lines) {
			return 0, false
		}
		raw := m.lines[text.Line+i] // the first line is the one after the indicator
		if indent < 0 {
			indent = len(raw) - len(line)
		}
		if indent < 0 || raw != strings.Repeat(" ", indent)+line {
			return 0, false
		}
	}
	return max(indent, 0), true
}

// An unquoting reads a quoted scalar once more, to know where each of its characters comes from (YAML 1.1, 5.1 and 9.1).
type unquoting struct {
	lines        []string
	line, column int    // of the next character, from 1
	runes        []rune // of the line
	out          []rune
	places       [][2]int // of each of out
	firm         int      // how much of out a line's end can't trim
}

// escapes are the characters that \ and one letter stand for in double quotes.
var escapes = map[rune]rune{
	'0': 0, 'a': '\a', 'b': '\b', 't': '\t', '\t': '\t', 'n': '\n', 'v': '\v', 'f': '\f', 'r': '\r', 'e': 0x1b,
	' ': ' ', '"': '"', '/': '/', '\\': '\\', 'N': 0x85, '_': 0xa0, 'L': 0x2028, 'P': 0x2029,
}

// digits are how many hexadecimal digits follow \x, \u and \U.
var digits = map[rune]int{'x': 2, 'u': 4, 'U': 8}

// run reads from the opening quote to the closing one, and reports whether it has come that far.
func (u *unquoting) run() bool {
	quote := u.peek(0)
	if quote != '"' && quote != '\'' {
		return false
	}
	u.column++
	for u.line <= len(u.lines) {
		switch c := u.peek(0); {
		case c == '\n':
			u.fold()
		case c == quote && quote == '\'' && u.peek(1) == quote:
			u.emit(quote, 2)
		case c == quote:
			return true
		case c == '\\' && quote == '"':
			if !u.escape() {
				return false
			}
		default:
			blank := c == ' ' || c == '\t'
			firm := u.firm
			u.emit(c, 1)
			if blank {
				u.firm = firm
			}
		}
	}
	return false
}

// peek returns the character n after the next one; '\n' at the end of the line.
func (u *unquoting) peek(n int) rune {
	if i := u.column - 1 + n; i < len(u.runes) {
		return u.runes[i]
	}
	return '\n'
}

// emit notes that the next width characters of the file stand for r.
func (u *unquoting) emit(r rune, width int) {
	u.out = append(u.out, r)
	u.places = append(u.places, [2]int{u.line, u.column})
	u.column += width
	u.firm = len(u.out)
}

// escape reads \ and what follows, and reports whether that is allowed.
func (u *unquoting) escape() bool {
	c := u.peek(1)
	if c == '\n' {
		u.firm = len(u.out)
		u.nextLine()
		return true
	}
	if r, ok := escapes[c]; ok {
		u.emit(r, 2)
		return true
	}
	n, ok := digits[c]
	if !ok {
		return false
	}
	var hex []rune
	for i := range n {
		hex = append(hex, u.peek(2+i))
	}
	r, err := strconv.ParseInt(string(hex), 16, 32)
	if err != nil {
		return false
	}
	u.emit(rune(r), 2+n)
	return true
}

// fold reads the end of a line: it stands for a space, or together with blank lines after it, for these.
func (u *unquoting) fold() {
	u.out, u.places = u.out[:u.firm], u.places[:u.firm]
	line, column := u.line, u.column
	u.nextLine()
	blank := 0
	for u.line <= len(u.lines) && u.peek(0) == '\n' {
		blank++
		u.emit('\n', 0)
		u.nextLine()
	}
	if blank == 0 {
		u.out, u.places = append(u.out, ' '), append(u.places, [2]int{line, column})
		u.firm = len(u.out)
	}
}

// nextLine goes to the first character of the next line that is not blank.
func (u *unquoting) nextLine() {
	u.line, u.column, u.runes = u.line+1, 1, nil
	if u.line <= len(u.lines) {
		u.runes = []rune(u.lines[u.line-1])
	}
	for u.peek(0) == ' ' || u.peek(0) == '\t' {
		u.column++
	}
}

// placing returns where the places of the unquoted text are in the file.
func (u *unquoting) placing() placing {
	starts := []int{0}
	for i, r := range u.out {
		if r == '\n' {
			starts = append(starts, i+1)
		}
	}
	end := [2]int{u.line, u.column}
	places := append(u.places, end)
	return func(line, column int) (int, int) {
		line = min(max(line, 1), len(starts))
		at := places[min(starts[line-1]+max(column, 1)-1, len(places)-1)]
		return at[0], at[1]
	}
}
