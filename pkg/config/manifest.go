package config

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ParseFile reads a configuration out of a file: the text of the ConfigMap's key "config" by itself, or a manifest, as
// YAML or JSON, that holds ConfigMap namespace/name in one of its documents or in a List. A file whose only ConfigMap has
// another name is read too, with a Notice. It returns what [Parse] does; lines and columns are those of the file.
//
// A text that stands in the manifest in a form whose lines can't be followed (folded, or plain) has all its findings at its
// beginning.
func ParseFile(file, namespace, name string) (*Config, error) {
	m := &manifest{
		reader: reader{where: inPlace},
		lines:  strings.Split(strings.ReplaceAll(file, "\r\n", "\n"), "\n"),
		want:   objectName(namespace, name),
	}
	docs, err := documents(file)
	if !slices.ContainsFunc(docs, isObject) {
		return Parse(file)
	}
	if err != nil {
		m.syntaxError(file, err)
		return nil, m.errs
	}
	text := m.text(m.configMap(docs))
	if m.noted[Invalid] > 0 {
		return nil, m.errs
	}
	m.where = m.placing(text)
	return m.parse(text.Value)
}

// A manifest is a file with objects of Kubernetes.
type manifest struct {
	reader
	lines []string // of the file
	want  string   // the ConfigMap looked for
}

// documents returns the content of the documents of a file, up to the first one that is no YAML.
func documents(file string) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	for decoder := yaml.NewDecoder(strings.NewReader(file)); ; {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return docs, err
		}
		docs = append(docs, doc.Content...)
	}
}

// isObject reports whether a document looks like an object of Kubernetes.
func isObject(doc *yaml.Node) bool {
	return field(doc, "kind") != nil || field(doc, "apiVersion") != nil
}

// field returns the value of a key of a mapping, or nil.
func field(node *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if node = resolved(node); node == nil || node.Kind != yaml.MappingNode {
			return nil
		}
		i := 0
		for i < len(node.Content) && node.Content[i].Value != key {
			i += 2
		}
		if i >= len(node.Content) {
			return nil
		}
		node = node.Content[i+1]
	}
	return resolved(node)
}

// resolved returns what an alias stands for, and any other node itself.
func resolved(node *yaml.Node) *yaml.Node {
	if node != nil && node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

// scalar returns the text of a single value, or "".
func scalar(node *yaml.Node) string {
	if node == nil || node.Kind != yaml.ScalarNode {
		return ""
	}
	return node.Value
}

// objectName returns "namespace/name", or the name alone if there is no namespace.
func objectName(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// configMap returns the ConfigMap to read, or nil after noting why there is none.
func (m *manifest) configMap(docs []*yaml.Node) *yaml.Node {
	var found, named []*yaml.Node
	for _, doc := range docs {
		objects := []*yaml.Node{doc}
		if items := field(doc, "items"); items != nil && strings.HasSuffix(scalar(field(doc, "kind")), "List") {
			objects = items.Content
		}
		for _, o := range objects {
			if scalar(field(o, "kind")) != "ConfigMap" {
				continue
			}
			found = append(found, o)
			if name := nameOf(o); name == m.want || strings.HasSuffix(m.want, "/"+name) {
				named = append(named, o)
			}
		}
	}
	switch {
	case len(named) == 1:
		return named[0]
	case len(named) > 1:
		m.fail(at(named[1]), "ConfigMap %s is in the file twice, first in line %d; remove one", m.want, named[0].Line)
	case len(found) == 1:
		m.note(Notice, at(found[0]), "this ConfigMap is named %s; Invar reads %s", nameOf(found[0]), m.want)
		return found[0]
	case len(found) == 0:
		m.fail(value{line: 1}, "the file holds no ConfigMap; write a manifest of ConfigMap %s, or the text of its key config by itself",
			m.want)
	default:
		m.fail(at(found[1]), "none of the file's %d ConfigMaps is %s; name one so", len(found), m.want)
	}
	return nil
}

// nameOf returns the name of an object with its namespace, as far as it has one.
func nameOf(object *yaml.Node) string {
	metadata := field(object, "metadata")
	return objectName(scalar(field(metadata, "namespace")), scalar(field(metadata, "name")))
}

// at returns the place of a node of the manifest.
func at(node *yaml.Node) value {
	return value{line: node.Line, column: node.Column}
}

// text returns the value of the ConfigMap's key "config", or nil after noting why there is none. configMap may be nil.
func (m *manifest) text(configMap *yaml.Node) *yaml.Node {
	if configMap == nil {
		return nil
	}
	data := field(configMap, "data")
	text := field(data, "config")
	switch {
	case data == nil || data.Kind != yaml.MappingNode:
		place := at(configMap)
		place.path = "data"
		m.fail(place, "the ConfigMap has no data; write the configuration under data, config: |")
	case text == nil:
		var keys []string
		for i := 0; i < len(data.Content); i += 2 {
			keys = append(keys, fmt.Sprintf("%q", shorten(data.Content[i].Value)))
		}
		place := at(data)
		place.path = "data"
		m.fail(place, "the ConfigMap has no key \"config\", only %s", strings.Join(keys, ", "))
	case text.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!str", "!!null"}, text.ShortTag()):
		place := at(text)
		place.path = "data.config"
		m.fail(place, "must be text; write config: | and indent the lines below it")
	default:
		return text
	}
	return nil
}
