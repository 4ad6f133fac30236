package netif

import (
	"fmt"
	"regexp"
	"strings"
)

// DefaultExclude returns the patterns of interface names that are excluded unless configured otherwise: those of pods,
// of overlay networks and of virtual machines. It is the list that MetalLB 0.16 ships in its ConfigMap metallb-excludel2.
func DefaultExclude() []*regexp.Regexp {
	names := []string{
		"^docker.*", "^cbr.*", "^dummy.*", "^virbr.*", "^lxcbr.*", "^veth.*", "^lo$", "^cali.*", "^tunl.*",
		"^flannel.*", "^kube-ipvs.*", "^cni.*", "^nodelocaldns.*", "^lxc.*",
	}
	var out []*regexp.Regexp
	for _, name := range names {
		out = append(out, regexp.MustCompile(name))
	}
	return out
}

// ParseExclude returns the patterns of a comma-separated list of regular expressions (RE2; they match anywhere in the
// name unless anchored, and can't contain a comma). Spaces around them are ignored. An empty text stands for
// [DefaultExclude]. The error names the pattern that is none; an empty one would exclude everything, and is none.
func ParseExclude(text string) ([]*regexp.Regexp, error) {
	if strings.TrimSpace(text) == "" {
		return DefaultExclude(), nil
	}
	var out []*regexp.Regexp
	for i, pattern := range strings.Split(text, ",") {
		pattern = strings.TrimSpace(pattern)
		if pattern == "" {
			return nil, fmt.Errorf("parse excluded interfaces %q: pattern %d is empty", text, i+1)
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("parse excluded interfaces: pattern %q: %w", pattern, err)
		}
		out = append(out, re)
	}
	return out, nil
}
