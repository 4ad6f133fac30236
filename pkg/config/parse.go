package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads the text of the ConfigMap's key "config". If the text has a mistake it returns a nil Config and an error
// of type [Errors] with every finding, Layer2Only and Notice ones included. Otherwise the error is nil, and
// Config.Warnings holds the findings that keep nothing from serving. An empty text is a Config without pools.
func Parse(text string) (*Config, error) {
	r := &reader{where: inPlace}
	return r.parse(text)
}

// parse is Parse for a reader that may have findings already.
func (r *reader) parse(text string) (*Config, error) {
	root := r.document(text)
	cfg := r.config(root)
	slices.SortStableFunc(r.errs, func(a, b *Error) int {
		last := func(line int) uint { return uint(line) - 1 } // 0 becomes the highest of all
		return cmp.Or(cmp.Compare(last(a.Line), last(b.Line)), cmp.Compare(a.Column, b.Column))
	})
	if slices.ContainsFunc(r.errs, func(e *Error) bool { return e.Class == Invalid }) {
		return nil, r.errs
	}
	cfg.Warnings = r.errs
	return cfg, nil
}

// document returns the content of the first document of text.
func (r *reader) document(text string) value {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return value{}
	case err != nil:
		r.syntaxError(text, err)
		return value{}
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil && !isEmptyDocument(&second) || err != nil && !errors.Is(err, io.EOF) {
		line, column := r.where(second.Line, second.Column)
		r.note(Notice, value{line: line, column: column}, `only the first document is read; what follows the next "---" is ignored`)
	}
	if len(doc.Content) == 0 {
		return value{}
	}
	return r.at(value{}, "", doc.Content[0])
}

// isEmptyDocument reports whether there is nothing in a document, as after a "---" at the end of a text.
func isEmptyDocument(doc *yaml.Node) bool {
	return len(doc.Content) == 1 && value{node: doc.Content[0]}.isNull()
}

// What the YAML parser says of a place.
var (
	yamlLine   = regexp.MustCompile(`^line (\d+): `)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	tabIndent  = regexp.MustCompile(`(?m)^ *\t`)
)

// syntaxError notes that the text is no YAML. The parser gives the line where the construct began that it couldn't
// finish, and none for line 1 and for anchors; where that can be told better, it is.
func (r *reader) syntaxError(text string, err error) {
	message, at := strings.TrimPrefix(err.Error(), "yaml: "), value{line: 1}
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		at.line, _ = strconv.Atoi(m[1])
		message = strings.TrimPrefix(message, m[0])
	}
	offset := -1
	if m := yamlAnchor.FindStringSubmatch(message); m != nil {
		offset = strings.Index(text, "*"+m[1])
	} else if m := tabIndent.FindStringIndex(text); m != nil && strings.Contains(message, "tab character") {
		offset = m[1] - 1
	}
	if offset >= 0 {
		at.line = 1 + strings.Count(text[:offset], "\n")
		at.column = offset - strings.LastIndexByte(text[:offset], '\n')
	}
	at.line, at.column = r.where(at.line, at.column)
	r.fail(at, "not valid YAML: %s", message)
}

// config reads the whole text.
func (r *reader) config(root value) *Config {
	fields := r.mapping(root, "address-pools", "peers", "bgp-communities", "bfd-profiles")
	bgp := r.bgp(fields)
	pools := r.pools(fields["address-pools"], bgp)
	r.overlaps(pools)
	cfg := &Config{}
	for _, p := range pools {
		if p.layer2 {
			cfg.Pools = append(cfg.Pools, p.Pool)
		}
	}
	return cfg
}

// A readPool is a pool with what is needed to check it against others.
type readPool struct {
	Pool
	layer2 bool
	places []place // of its ranges
}

// pools reads the list of pools.
func (r *reader) pools(v value, bgp *bgpNames) []readPool {
	var pools []readPool
	names := map[string]value{}
	for _, item := range r.list(v) {
		pool, name := r.poolAt(item, bgp)
		if first, exists := names[pool.Name]; exists && pool.Name != "" {
			r.pool = pool.Name
			r.fail(name, "the name is taken by %s in line %d; names of pools are unique", parentPath(first.path), first.line)
			r.pool = ""
		} else {
			names[pool.Name] = name
		}
		pools = append(pools, pool)
	}
	return pools
}

// parentPath returns the path of the mapping that has the key at path.
func parentPath(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}

// poolKeys are the keys of a pool: those of MetalLB 0.12, then Invar's.
var poolKeys = []string{
	"name", "protocol", "addresses", "avoid-buggy-ips", "auto-assign", "bgp-advertisements",
	"priority", "namespaces", "namespace-selectors", "service-selectors", "node-selectors", "interfaces",
}

// poolAt reads one pool and returns it with the place of its name.
func (r *reader) poolAt(v value, bgp *bgpNames) (readPool, value) {
	fields := r.mapping(v, poolKeys...)
	var p readPool
	if !v.isNull() && v.node.Kind != yaml.MappingNode {
		return p, v // said by mapping
	}
	p.Name = r.text(fields["name"])
	r.pool = p.Name
	defer func() { r.pool = "" }()
	if p.Name == "" {
		r.fail(r.missing(v, fields, "name"), "every pool needs a name")
	}
	p.AvoidBuggyIPs = r.boolean(fields["avoid-buggy-ips"], false)
	p.AutoAssign = r.boolean(fields["auto-assign"], true)
	p.Priority = int(r.number(fields["priority"], 0, 1<<31-1))
	r.addresses(&p, v, fields)
	r.protocol(&p, v, fields, bgp)
	p.Namespaces = r.names(fields["namespaces"], checkNamespace)
	p.NamespaceSelectors = r.selectors(fields["namespace-selectors"])
	p.ServiceSelectors = r.selectors(fields["service-selectors"])
	p.NodeSelectors = r.selectors(fields["node-selectors"])
	p.Interfaces = r.names(fields["interfaces"], checkInterface)
	return p, fields["name"]
}

// missing returns the place of a key that should be there: its own if it is, else that of the mapping.
func (r *reader) missing(v value, fields map[string]value, key string) value {
	if field, exists := fields[key]; exists {
		return field
	}
	v.path, v.node = joinPath(v.path, key), nil
	return v
}

// protocol reads what speaks for the pool.
func (r *reader) protocol(p *readPool, v value, fields map[string]value, bgp *bgpNames) {
	at := r.missing(v, fields, "protocol")
	advertisements := fields["bgp-advertisements"]
	switch protocol := r.text(fields["protocol"]); protocol {
	case "layer2":
		p.layer2 = true
		if len(r.list(advertisements)) > 0 {
			r.fail(advertisements, "a pool of protocol layer2 has no bgp-advertisements; remove them")
		}
	case "bgp":
		r.advertisements(advertisements, bgp)
		at.path = parentPath(at.path)
		r.note(Layer2Only, at, "the pool is left out: Invar works in Layer 2 only; use protocol: layer2")
	case "":
		if at.isNull() {
			r.fail(at, "every pool needs a protocol; allowed: layer2")
		}
	default:
		r.fail(at, "unknown protocol; allowed: layer2")
	}
}

// names reads a list of strings, each of which check accepts, and each once.
func (r *reader) names(v value, check func(string) string) []string {
	var names []string
	for _, item := range r.list(v) {
		name := r.text(item)
		if slices.Contains(names, name) {
			r.fail(item, "is in the list twice; remove one")
			continue
		}
		if reason := check(name); reason != "" {
			r.fail(item, "%s", reason)
			continue
		}
		names = append(names, name)
	}
	return names
}

// namespaceName is what Kubernetes accepts as the name of a namespace (RFC 1123 label).
var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// checkNamespace returns why name is no namespace, or "".
func checkNamespace(name string) string {
	if namespaceName.MatchString(name) {
		return ""
	}
	return "is no name of a namespace; allowed: up to 63 of a-z, 0-9 and -, not starting or ending with -"
}

// checkInterface returns why name is no network interface of Linux (dev_valid_name), or "".
func checkInterface(name string) string {
	bad := name == "" || len(name) > 15 || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\r\n\v\f")
	if bad {
		return "is no name of an interface; allowed: 1 to 15 characters without /, : and spaces"
	}
	return ""
}

// describe names a place for a message about another one.
func (p place) describe() string {
	if p.pool == "" {
		return fmt.Sprintf("%s in line %d", p.at.path, p.at.line)
	}
	return fmt.Sprintf("%s in line %d (pool %q)", p.at.path, p.at.line, shorten(p.pool))
}
