package speaker

import (
	"maps"
	"net/netip"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
)

// eventConflict is the reason of the Event on a Service whose address a host outside the cluster uses.
const eventConflict = "AddressConflict"

// ParseExclude returns the patterns of a comma-separated list, for [Config.ExcludeInterfaces].
func ParseExclude(text string) ([]*regexp.Regexp, error) { return layer2.ParseExclude(text) }

// reportConflicts tells users, peers and the controller about hosts that use addresses of the cluster. While the speakers are
// blocked, or some are no members, it tells nothing new: one of them looks like a host outside the cluster.
func (s *Speaker) reportConflicts(f facts) {
	if s.blocked.now || time.Now().Before(s.strange) {
		return
	}
	now := map[netip.Addr]layer2.MAC{}
	var told []membership.Conflict
	for _, c := range s.announcer.Conflicts() {
		if len(told) < membership.MaxConflicts {
			told = append(told, membership.Conflict{Addr: c.Address, MAC: c.MAC.String(), Interface: c.Interface})
		}
		now[c.Address] = c.MAC
		if s.conflicts[c.Address] == c.MAC {
			continue
		}
		for _, service := range f.services[c.Address] {
			if obj := kube.Get[corev1.Service](s.services, service); obj != nil {
				s.cfg.Recorder.Eventf(obj, corev1.EventTypeWarning, eventConflict, "%s is used by a host outside the cluster: "+
					"%s on interface %s of node %q", c.Address, c.MAC, c.Interface, s.cfg.Node)
			}
		}
	}
	if !maps.Equal(now, s.conflicts) {
		s.conflicts = now
		s.observing.Lock()
		s.toReport = told
		s.observing.Unlock()
		s.observe()
	}
}
