package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxExpanded bounds how many values may be read through aliases, so that a short text can't stand for a huge one.
	maxExpanded = 20_000
	// maxFindings bounds how many findings of one class are reported.
	maxFindings = 100
)

// A value is a place in the text. Aliases are followed already; the position is where the alias stands.
type value struct {
	path         string
	node         *yaml.Node // nil if the key is missing
	line, column int
	aliased      bool // read through an alias
	secret       bool // never to be shown
}

// isNull reports whether the value is missing, or is one of YAML 1.1's nulls.
func (v value) isNull() bool {
	if v.node == nil {
		return true
	}
	if v.node.Kind != yaml.ScalarNode || v.quoted() {
		return false
	}
	if v.tagged() {
		return v.node.Tag == "!!null"
	}
	return slices.Contains([]string{"", "~", "null", "Null", "NULL"}, v.node.Value)
}

// quoted reports whether a scalar is written with quotes or as a block.
func (v value) quoted() bool {
	return v.node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// tagged reports whether the text gives the value a tag, such as !!str.
func (v value) tagged() bool {
	return v.node.Style&yaml.TaggedStyle != 0
}

// kind returns what the value is, for messages.
func (v value) kind() string {
	switch {
	case v.isNull():
		return "empty"
	case v.node.Kind == yaml.MappingNode:
		return "a mapping"
	case v.node.Kind == yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

// text returns what is shown of the value in an error.
func (v value) text() string {
	if v.secret || v.node == nil || v.node.Kind != yaml.ScalarNode {
		return ""
	}
	return shorten(v.node.Value)
}

// shorten returns text, cut off if it is too long for a message.
func shorten(text string) string {
	const most = 64
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// A reader turns values into Go's types and notes every finding.
type reader struct {
	errs     Errors
	where    placing         // of what is read, for those who will read the findings
	noted    [Notice + 1]int // findings of each class, those not reported included
	pool     string          // name of the pool that is being read
	expanded int             // values read through aliases
}

// fail notes a mistake at v.
func (r *reader) fail(v value, format string, args ...any) {
	r.note(Invalid, v, format, args...)
}

// note notes a finding of any class at v.
func (r *reader) note(class Class, v value, format string, args ...any) {
	r.noted[class]++
	switch {
	case r.expanded > maxExpanded+1 || r.noted[class] > maxFindings+1:
		return // after too much, everything else follows from it or is more of the same
	case r.noted[class] == maxFindings+1:
		r.errs = append(r.errs, &Error{Class: class, Message: "there are more findings of this kind"})
		return
	}
	r.errs = append(r.errs, &Error{
		Class: class, Path: v.path, Pool: r.pool, Line: v.line, Column: v.column, Value: v.text(),
		Message: fmt.Sprintf(format, args...),
	})
}

// at returns node as the value at path, with its alias followed.
func (r *reader) at(parent value, path string, node *yaml.Node) value {
	line, column := r.where(node.Line, node.Column)
	v := value{
		path: path, node: node, line: line, column: column,
		aliased: parent.aliased, secret: parent.secret || strings.HasSuffix(path, ".password"),
	}
	if node.Kind == yaml.AliasNode {
		v.node, v.aliased = node.Alias, true
	}
	if v.aliased {
		r.expanded++
	}
	if r.expanded == maxExpanded+1 {
		r.fail(v, "aliases (*name) stand for more than %d values; write fewer", maxExpanded)
		r.expanded++
	}
	if r.expanded > maxExpanded {
		v.node = nil
	}
	return v
}

// list returns the elements of a list. A missing or empty value is an empty list.
func (r *reader) list(v value) []value {
	if v.isNull() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		r.fail(v, "must be a list, is %s", v.kind())
		return nil
	}
	items := make([]value, 0, len(v.node.Content))
	for i, node := range v.node.Content {
		if r.expanded > maxExpanded {
			break
		}
		items = append(items, r.at(v, fmt.Sprintf("%s[%d]", v.path, i), node))
	}
	return items
}

// text returns a string. Any single value is one, as it is written; a missing or empty value is "".
func (r *reader) text(v value) string {
	switch {
	case v.isNull():
		return ""
	case v.node.Kind != yaml.ScalarNode:
		r.fail(v, "must be a string, is %s", v.kind())
		return ""
	case !r.knownTag(v):
		return ""
	}
	return v.node.Value
}

// knownTag reports whether a scalar has no tag of its own or one that is allowed, and notes it otherwise.
func (r *reader) knownTag(v value) bool {
	if !v.tagged() || slices.Contains([]string{"!", "!!str", "!!int", "!!float", "!!bool", "!!null"}, v.node.Tag) {
		return true
	}
	r.fail(v, "has the tag %s; remove it", v.node.Tag)
	return false
}

// boolean returns a boolean of YAML 1.1, which knows yes, on and y too, or otherwise if the value is missing or empty.
func (r *reader) boolean(v value, otherwise bool) bool {
	switch {
	case v.isNull():
		return otherwise
	case v.node.Kind != yaml.ScalarNode:
		r.fail(v, "must be true or false, is %s", v.kind())
		return otherwise
	case !r.knownTag(v):
		return otherwise
	}
	if !v.quoted() && !(v.tagged() && v.node.Tag == "!!str") {
		switch v.node.Value {
		case "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
			return true
		case "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
			return false
		}
	}
	r.fail(v, "must be true or false, without quotes")
	return otherwise
}

// number returns an integer from low to high, or 0 if the value is missing or empty.
func (r *reader) number(v value, low, high int64) int64 {
	if v.isNull() {
		return 0
	}
	if v.node.Kind == yaml.ScalarNode && !v.quoted() && r.knownTag(v) {
		n, err := strconv.ParseInt(strings.ReplaceAll(v.node.Value, "_", ""), 0, 64)
		if err == nil && n >= low && n <= high {
			return n
		}
	}
	r.fail(v, "must be a whole number from %d to %d, without quotes", low, high)
	return 0
}

// mapping returns the values of a mapping by key. Only the keys allowed may occur, each once. A missing or empty value
// is an empty mapping.
func (r *reader) mapping(v value, allowed ...string) map[string]value {
	fields := map[string]value{}
	r.gather(v, fields, nil, func(key value) bool {
		if slices.Contains(allowed, key.node.Value) {
			return true
		}
		r.unknownKey(key, allowed)
		return false
	})
	return fields
}

// anyMapping returns the values of a mapping whose keys its author chooses.
func (r *reader) anyMapping(v value) map[string]value {
	fields := map[string]value{}
	r.gather(v, fields, nil, func(value) bool { return true })
	return fields
}

// gather puts the values of a mapping in fields, first its own, then those merged with "<<", whose keys don't replace
// others. within are the mappings around that are being merged.
func (r *reader) gather(v value, fields map[string]value, within []*yaml.Node, allowed func(key value) bool) {
	if v.isNull() {
		return
	}
	if v.node.Kind != yaml.MappingNode {
		r.fail(v, "must be a mapping (key: value), is %s", v.kind())
		return
	}
	if slices.Contains(within, v.node) {
		r.fail(v, "merges itself")
		return
	}
	own, merges := map[string]value{}, []value(nil)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key := r.at(v, v.path, v.node.Content[i])
		if key.node == nil || key.node.Kind != yaml.ScalarNode {
			r.fail(key, "a key must be a single word")
			continue
		}
		if key.node.Tag == "!!merge" {
			merges = append(merges, r.at(v, v.path, v.node.Content[i+1]))
			continue
		}
		r.addKey(v, key, v.node.Content[i+1], own, allowed)
	}
	for name, field := range own {
		if _, exists := fields[name]; !exists {
			fields[name] = field
		}
	}
	r.merge(merges, fields, append(within, v.node), allowed)
}

// addKey puts one key of a mapping in own, unless it isn't allowed or is there already.
func (r *reader) addKey(mapping, key value, node *yaml.Node, own map[string]value, allowed func(key value) bool) {
	name := key.node.Value
	key.path = joinPath(mapping.path, name)
	if first, exists := own[name]; exists {
		r.fail(key, "the key is set twice, first in line %d; remove one", first.line)
		return
	}
	if !allowed(key) {
		return
	}
	field := r.at(mapping, key.path, node)
	if field.isNull() {
		field.line, field.column = key.line, key.column // an empty value has no place of its own
	}
	own[name] = field
}

// merge gathers what "<<" refers to: a mapping, or a list of mappings of which earlier ones come first.
func (r *reader) merge(merges []value, fields map[string]value, within []*yaml.Node, allowed func(key value) bool) {
	for _, m := range merges {
		sources := []value{m}
		if m.node != nil && m.node.Kind == yaml.SequenceNode {
			sources = r.list(m)
		}
		for _, source := range sources {
			r.gather(source, fields, within, allowed)
		}
	}
}

// dashes drops what keys are written with in one style and without in another.
var dashes = strings.NewReplacer("-", "", "_", "")

// unknownKey notes a key that isn't allowed, and the one that may have been meant.
func (r *reader) unknownKey(key value, allowed []string) {
	plain := func(s string) string {
		return strings.ToLower(dashes.Replace(s))
	}
	for _, a := range allowed {
		if plain(a) == plain(key.node.Value) {
			r.fail(key, "unknown key; did you mean %q?", a)
			return
		}
	}
	r.fail(key, "unknown key; allowed: %s", strings.Join(allowed, ", "))
}

// joinPath returns the path of a key in the mapping at path.
func joinPath(path, key string) string {
	if path == "" {
		return shorten(key)
	}
	return path + "." + shorten(key)
}
