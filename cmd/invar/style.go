package main

import (
	"io"
	"os"
	"regexp"
	"unicode/utf8"

	"golang.org/x/term"
)

// style says whether texts may have colours.
type style struct{ colours bool }

// styleOf returns the style for w: colours on a terminal, unless the user wants none (https://no-color.org) or the terminal
// has none.
func styleOf(w io.Writer, env func(string) string) style {
	return style{colours: isTerminal(w) && env("NO_COLOR") == "" && env("TERM") != "dumb"}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (s style) good(text string) string  { return s.paint("32", text) }
func (s style) bad(text string) string   { return s.paint("31", text) }
func (s style) warn(text string) string  { return s.paint("33", text) }
func (s style) bold(text string) string  { return s.paint("1", text) }
func (s style) faint(text string) string { return s.paint("2", text) }

// paint puts text between the escape sequences of ECMA-48's SGR.
func (s style) paint(code, text string) string {
	if !s.colours || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// visible returns the number of characters of text that take up room.
func visible(text string) int { return utf8.RuneCountInString(sgr.ReplaceAllString(text, "")) }
