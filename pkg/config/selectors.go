package config

import (
	"regexp"
	"strings"

	"github.com/invar-lb/invar/pkg/ipam"
)

// selectors reads a list of label selectors, written as those of MetalLB's peers: match-labels and match-expressions.
func (r *reader) selectors(v value) []ipam.Selector {
	var selectors []ipam.Selector
	for _, item := range r.list(v) {
		selectors = append(selectors, r.selector(item))
	}
	return selectors
}

// selector reads one label selector.
func (r *reader) selector(v value) ipam.Selector {
	fields := r.mapping(v, "match-labels", "match-expressions")
	var s ipam.Selector
	for key, field := range r.anyMapping(fields["match-labels"]) {
		r.labelKey(field, key)
		if s.MatchLabels == nil {
			s.MatchLabels = map[string]string{}
		}
		s.MatchLabels[key] = r.labelValue(field)
	}
	for _, item := range r.list(fields["match-expressions"]) {
		s.MatchExpressions = append(s.MatchExpressions, r.requirement(item))
	}
	return s
}

// requirement reads one condition of match-expressions.
func (r *reader) requirement(v value) ipam.Requirement {
	fields := r.mapping(v, "key", "operator", "values")
	q := ipam.Requirement{Key: r.text(fields["key"]), Operator: ipam.Operator(r.text(fields["operator"]))}
	r.labelKey(r.missing(v, fields, "key"), q.Key)
	seen := map[string]bool{}
	for _, item := range r.list(fields["values"]) {
		val := r.labelValue(item)
		if seen[val] {
			r.fail(item, "is in the list twice; remove one")
			continue
		}
		seen[val] = true
		q.Values = append(q.Values, val)
	}
	at := r.missing(v, fields, "values")
	switch q.Operator {
	case ipam.OperatorIn, ipam.OperatorNotIn:
		if len(seen) == 0 {
			r.fail(at, "operator %s needs at least one value", q.Operator)
		}
	case ipam.OperatorExists, ipam.OperatorDoesNotExist:
		if len(seen) > 0 {
			r.fail(at, "operator %s takes no values; remove them", q.Operator)
		}
	default:
		r.fail(r.missing(v, fields, "operator"), "unknown operator; allowed: In, NotIn, Exists, DoesNotExist")
	}
	return q
}

// The syntax of labels, from Kubernetes' documentation of labels and selectors.
var (
	labelName   = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelPrefix = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// labelKey notes if key is no key of a label.
func (r *reader) labelKey(at value, key string) {
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		prefix, name = "", key
	}
	if !labelName.MatchString(name) || prefixed && (len(prefix) > 253 || !labelPrefix.MatchString(prefix)) {
		r.fail(at, "%q is no key of a label; allowed: [prefix/]name, such as node.kubernetes.io/zone", shorten(key))
	}
}

// labelValue reads the value of a label.
func (r *reader) labelValue(v value) string {
	text := r.text(v)
	if text != "" && !labelName.MatchString(text) {
		r.fail(v, "is no value of a label; allowed: up to 63 of A-Z, a-z, 0-9, -, _ and .")
	}
	return text
}
