package config

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/invar-lb/invar/pkg/ipam"
)

// poolText is a pool as it is written. Its keys are poolKeys.
type poolText struct {
	Name               string         `yaml:"name"`
	Protocol           string         `yaml:"protocol"`
	Addresses          []string       `yaml:"addresses"`
	AvoidBuggyIPs      bool           `yaml:"avoid-buggy-ips,omitempty"`
	AutoAssign         *bool          `yaml:"auto-assign,omitempty"`
	Priority           int            `yaml:"priority,omitempty"`
	Namespaces         []string       `yaml:"namespaces,omitempty"`
	NamespaceSelectors []selectorText `yaml:"namespace-selectors,omitempty"`
	ServiceSelectors   []selectorText `yaml:"service-selectors,omitempty"`
	NodeSelectors      []selectorText `yaml:"node-selectors,omitempty"`
	Interfaces         []string       `yaml:"interfaces,omitempty"`
}

type selectorText struct {
	MatchLabels      map[string]string `yaml:"match-labels,omitempty"`
	MatchExpressions []requirementText `yaml:"match-expressions,omitempty"`
}

type requirementText struct {
	Key      string   `yaml:"key"`
	Operator string   `yaml:"operator"`
	Values   []string `yaml:"values,omitempty"`
}

// Text writes pools as the text of the ConfigMap's key "config", which [Parse] reads as the same pools. What has its default
// is left out.
func Text(pools []Pool) string {
	texts := make([]poolText, len(pools))
	for i := range pools {
		texts[i] = textOf(&pools[i])
	}
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(map[string][]poolText{"address-pools": texts}); err != nil {
		panic("config: pools are no YAML: " + err.Error())
	}
	return b.String()
}

func textOf(p *Pool) poolText {
	t := poolText{
		Name: p.Name, Protocol: "layer2", AvoidBuggyIPs: p.AvoidBuggyIPs, Priority: p.Priority, Namespaces: p.Namespaces,
		NamespaceSelectors: selectorTexts(p.NamespaceSelectors), ServiceSelectors: selectorTexts(p.ServiceSelectors),
		NodeSelectors: selectorTexts(p.NodeSelectors), Interfaces: p.Interfaces,
	}
	if !p.AutoAssign {
		t.AutoAssign = &p.AutoAssign
	}
	for _, r := range p.Ranges {
		t.Addresses = append(t.Addresses, r.String())
	}
	return t
}

func selectorTexts(selectors []ipam.Selector) []selectorText {
	texts := make([]selectorText, len(selectors))
	for i, s := range selectors {
		texts[i].MatchLabels = s.MatchLabels
		for _, r := range s.MatchExpressions {
			texts[i].MatchExpressions = append(texts[i].MatchExpressions, requirementText{r.Key, string(r.Operator), r.Values})
		}
	}
	return texts
}
