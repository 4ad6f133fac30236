package ipam

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Selector chooses objects by their labels, with the meaning of Kubernetes' LabelSelector: all MatchLabels and all
// MatchExpressions must hold. The empty Selector matches everything.
type Selector struct {
	MatchLabels      map[string]string
	MatchExpressions []Requirement
}

// A Requirement is one condition on the labels of an object.
type Requirement struct {
	Key      string
	Operator Operator
	Values   []string // for In and NotIn; empty for the others
}

// An Operator relates a label to the values of a [Requirement].
type Operator string

// The operators of Kubernetes' LabelSelectorRequirement.
const (
	OperatorIn           Operator = "In"           // the label is there and has one of the values
	OperatorNotIn        Operator = "NotIn"        // the label is not there or has none of the values
	OperatorExists       Operator = "Exists"       // the label is there
	OperatorDoesNotExist Operator = "DoesNotExist" // the label is not there
)

// Matches reports whether labels fulfil every condition of s.
func (s Selector) Matches(labels map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	for _, r := range s.MatchExpressions {
		if !r.Matches(labels) {
			return false
		}
	}
	return true
}

// Matches reports whether labels fulfil r. An unknown operator matches nothing.
func (r Requirement) Matches(labels map[string]string) bool {
	value, exists := labels[r.Key]
	switch r.Operator {
	case OperatorIn:
		return exists && slices.Contains(r.Values, value)
	case OperatorNotIn:
		return !exists || !slices.Contains(r.Values, value)
	case OperatorExists:
		return exists
	case OperatorDoesNotExist:
		return !exists
	default:
		return false
	}
}

// matchesAny reports whether one of the selectors matches labels.
func matchesAny(selectors []Selector, labels map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s Selector) bool { return s.Matches(labels) })
}

// String returns the selector in kubectl's form, such as "app=web,tier in (a,b),!legacy"; "everything" if it is empty.
func (s Selector) String() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		parts = append(parts, key+"="+s.MatchLabels[key])
	}
	for _, r := range s.MatchExpressions {
		parts = append(parts, r.String())
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ",")
}

// String returns the requirement in kubectl's form.
func (r Requirement) String() string {
	switch r.Operator {
	case OperatorExists:
		return r.Key
	case OperatorDoesNotExist:
		return "!" + r.Key
	case OperatorNotIn:
		return fmt.Sprintf("%s notin (%s)", r.Key, strings.Join(r.Values, ","))
	default:
		return fmt.Sprintf("%s in (%s)", r.Key, strings.Join(r.Values, ","))
	}
}
