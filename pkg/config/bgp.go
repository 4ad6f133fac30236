package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The BGP parts of a text are checked as far as one part doesn't depend on how MetalLB would use another, so that a
// text that MetalLB refuses for them is refused here too, and are left out then.

// bgpNames are what the BGP parts of a text define and other parts refer to.
type bgpNames struct {
	communities map[string]value
	profiles    map[string]bool
}

// bgp reads peers, communities and BFD profiles.
func (r *reader) bgp(fields map[string]value) *bgpNames {
	names := &bgpNames{profiles: map[string]bool{}}
	names.communities = r.anyMapping(fields["bgp-communities"])
	for _, v := range names.communities {
		if text := r.text(v); !isCommunity(text) {
			r.fail(v, "must be a community such as 65535:65282, two numbers from 0 to 65535")
		}
	}
	for _, item := range r.list(fields["bfd-profiles"]) {
		r.profile(item, names.profiles)
	}
	for _, item := range r.list(fields["peers"]) {
		r.peer(item, names.profiles)
	}
	for _, key := range []string{"peers", "bgp-communities", "bfd-profiles"} {
		if v := fields[key]; !v.isNull() && len(v.node.Content) > 0 {
			r.note(Layer2Only, v, "left out: Invar works in Layer 2 only")
		}
	}
	return names
}

// isCommunity reports whether text is two 16-bit numbers.
func isCommunity(text string) bool {
	high, low, ok := strings.Cut(text, ":")
	_, errHigh := strconv.ParseUint(high, 10, 16)
	_, errLow := strconv.ParseUint(low, 10, 16)
	return ok && errHigh == nil && errLow == nil
}

// profile checks one BFD profile. Intervals are in milliseconds.
func (r *reader) profile(v value, names map[string]bool) {
	fields := r.mapping(v, "name", "receive-interval", "transmit-interval", "detect-multiplier", "echo-interval",
		"echo-mode", "passive-mode", "minimum-ttl")
	at := r.missing(v, fields, "name")
	switch name := r.text(fields["name"]); {
	case name == "":
		r.fail(at, "every BFD profile needs a name")
	case names[name]:
		r.fail(at, "another BFD profile has this name")
	default:
		names[name] = true
	}
	for _, key := range []string{"receive-interval", "transmit-interval", "echo-interval"} {
		r.number(fields[key], 10, 60000)
	}
	r.number(fields["detect-multiplier"], 2, 255)
	r.number(fields["minimum-ttl"], 1, 254)
	r.boolean(fields["echo-mode"], false)
	r.boolean(fields["passive-mode"], false)
}

// peer checks one BGP peer.
func (r *reader) peer(v value, profiles map[string]bool) {
	fields := r.mapping(v, "my-asn", "peer-asn", "peer-address", "source-address", "peer-port", "hold-time",
		"keepalive-time", "router-id", "node-selectors", "password", "bfd-profile", "ebgp-multihop")
	mine, theirs := r.asn(v, fields, "my-asn"), r.asn(v, fields, "peer-asn")
	if at := r.missing(v, fields, "peer-address"); at.isNull() {
		r.fail(at, "every peer needs an address")
	}
	for _, key := range []string{"peer-address", "source-address", "router-id"} {
		if text := r.text(fields[key]); text != "" {
			if _, err := netip.ParseAddr(text); err != nil {
				r.fail(fields[key], "must be an IP address")
			}
		}
	}
	r.number(fields["peer-port"], 0, 65535)
	r.times(fields)
	r.selectors(fields["node-selectors"])
	r.text(fields["password"])
	if name := r.text(fields["bfd-profile"]); name != "" && !profiles[name] {
		r.fail(fields["bfd-profile"], "is not among bfd-profiles")
	}
	if r.boolean(fields["ebgp-multihop"], false) && mine != 0 && mine == theirs {
		r.fail(fields["ebgp-multihop"], "is for peers of another AS only; remove it")
	}
}

// asn reads an AS number, which must be there.
func (r *reader) asn(v value, fields map[string]value, key string) int64 {
	at := r.missing(v, fields, key)
	if at.isNull() {
		r.fail(at, "every peer needs the number of an AS here")
		return 0
	}
	return r.number(at, 1, 1<<32-1)
}

// times checks the timers of a peer (RFC 4271, section 4.2).
func (r *reader) times(fields map[string]value) {
	hold := r.duration(fields["hold-time"], 90*time.Second)
	if hold != 0 && hold < 3*time.Second {
		r.fail(fields["hold-time"], "must be 0s or at least 3s")
	}
	if keepalive := r.duration(fields["keepalive-time"], 0); keepalive > hold {
		r.fail(fields["keepalive-time"], "must not be longer than the hold time (%s)", hold)
	}
}

// duration reads a duration, or returns otherwise if the value is missing, empty or wrong.
func (r *reader) duration(v value, otherwise time.Duration) time.Duration {
	text := r.text(v)
	if text == "" {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.fail(v, "must be a duration such as 90s or 2m")
		return otherwise
	}
	return d
}

// advertisements checks the BGP advertisements of a pool.
func (r *reader) advertisements(v value, names *bgpNames) {
	for _, item := range r.list(v) {
		fields := r.mapping(item, "aggregation-length", "aggregation-length-v6", "localpref", "communities")
		r.number(fields["aggregation-length"], 0, 32)
		r.number(fields["aggregation-length-v6"], 0, 128)
		r.number(fields["localpref"], 0, 1<<32-1)
		for _, community := range r.list(fields["communities"]) {
			text := r.text(community)
			if _, named := names.communities[text]; !named && !isCommunity(text) {
				r.fail(community, "must be one of bgp-communities, or a community such as 65535:65282")
			}
		}
	}
}
