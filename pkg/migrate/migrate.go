package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/ipam"
)

// A Result is what becomes of a MetalLB's configuration.
type Result struct {
	// Pools are Invar's pools, in the order of the resources.
	Pools []config.Pool
	// Losses are what the pools don't say, in the order of the resources.
	Losses []Loss
	// Resources is how many custom resources of MetalLB there were, of whatever kind.
	Resources int
}

// Text returns the pools as the text of the ConfigMap's key "config", which [config.Parse] accepts.
func (r *Result) Text() string { return config.Text(r.Pools) }

// A Loss is something that can't be carried over, or that means something else now.
type Loss struct {
	Object  string `json:"object"`          // for example "IPAddressPool default"
	Field   string `json:"field,omitempty"` // for example "spec.interfaces"; "" for the object as a whole
	Message string `json:"message"`         // what is lost, and what to do
}

// String returns the loss in one line.
func (l Loss) String() string {
	if l.Field == "" {
		return l.Object + ": " + l.Message
	}
	return l.Object + ": " + l.Field + ": " + l.Message
}

// Convert reads objects of Kubernetes, each as JSON, or lists of them. Those that are not MetalLB's are passed over.
func Convert(objects []json.RawMessage) (*Result, error) {
	c := &conversion{}
	for _, text := range objects {
		expanded, err := expand(text)
		if err != nil {
			return nil, err
		}
		for i := range expanded {
			if err := c.read(&expanded[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", expanded[i].name(), err)
			}
		}
	}
	for i := range c.pools {
		c.pool(&c.pools[i])
	}
	c.unknownPools()
	c.check()
	return &c.Result, nil
}

// A conversion is what has been read, and what has come of it so far.
type conversion struct {
	Result
	pools  []sourcePool
	layer2 []advertisement
	bgp    []advertisement
}

type sourcePool struct {
	object
	spec poolSpec
}

type advertisement struct {
	object
	spec advertisementSpec
}

// lose notes a loss.
func (c *conversion) lose(o *object, field, format string, args ...any) {
	c.Losses = append(c.Losses, Loss{Object: o.name(), Field: field, Message: fmt.Sprintf(format, args...)})
}

// noBGP is what is said of everything that is about BGP.
const noBGP = "not carried over: Invar works in Layer 2 only"

// read takes in one object.
func (c *conversion) read(o *object) error {
	ownWord := []string{"ServiceL2Status", "ServiceBGPStatus", "ConfigurationState", "ConfigurationStatus"}
	if !strings.HasPrefix(o.APIVersion, group) || slices.Contains(ownWord, o.Kind) {
		return nil // not MetalLB's, or what MetalLB says itself
	}
	c.Resources++
	var err error
	switch o.Kind {
	case "IPAddressPool", "AddressPool":
		p := sourcePool{object: *o}
		err = c.spec(o, &p.spec)
		c.pools = append(c.pools, p)
	case "L2Advertisement":
		a := advertisement{object: *o}
		err = c.spec(o, &a.spec)
		c.layer2 = append(c.layer2, a)
	case "BGPAdvertisement":
		a := advertisement{object: *o}
		_, err = decode(o.Spec, &a.spec)
		c.bgp = append(c.bgp, a)
		c.lose(o, "", noBGP)
	case "BGPPeer", "BFDProfile", "Community":
		c.lose(o, "", noBGP)
	default:
		c.lose(o, "", "not carried over: a kind that this version of invar does not know")
	}
	return err
}

// spec reads the object's spec and notes what is not known of it.
func (c *conversion) spec(o *object, v any) error {
	unknown, err := decode(o.Spec, v)
	for _, field := range unknown {
		c.lose(o, field, "not carried over: this version of invar does not know it")
	}
	return err
}

// pool makes a pool of Invar out of one of MetalLB.
func (c *conversion) pool(p *sourcePool) {
	out := config.Pool{Pool: ipam.Pool{
		Name: p.Metadata.Name, AutoAssign: p.spec.AutoAssign == nil || *p.spec.AutoAssign, AvoidBuggyIPs: p.spec.AvoidBuggyIPs,
	}}
	for i, text := range p.spec.Addresses {
		r, err := ipam.ParseRange(text)
		if bad := (*ipam.RangeError)(nil); errors.As(err, &bad) {
			c.lose(&p.object, fmt.Sprintf("spec.addresses[%d]", i), "%q %s", text, bad.Reason)
			continue
		}
		out.Ranges = append(out.Ranges, r)
	}
	c.allocation(p, &out)
	if c.announcement(p, &out) {
		c.Pools = append(c.Pools, out)
	}
}

// allocation carries over which Services may use the pool.
func (c *conversion) allocation(p *sourcePool, out *config.Pool) {
	a := p.spec.ServiceAllocation
	if a == nil {
		return
	}
	out.Priority = max(a.Priority, 0)
	if a.Priority < 0 {
		c.lose(&p.object, "spec.serviceAllocation.priority", "%d: Invar's priorities begin at 1, and 0 comes last; "+
			"the pool comes last now: give all pools priorities in the order that you want", a.Priority)
	}
	out.Namespaces = a.Namespaces
	out.NamespaceSelectors = selectors(a.NamespaceSelectors)
	out.ServiceSelectors = selectors(a.ServiceSelectors)
}

// announcement carries over where the pool is announced, and reports whether it is in Layer 2.
func (c *conversion) announcement(p *sourcePool, out *config.Pool) bool {
	if p.Kind == "AddressPool" {
		if p.spec.Protocol != "layer2" {
			c.lose(&p.object, "spec.protocol", "%q: the pool is left out: Invar works in Layer 2 only", p.spec.Protocol)
			return false
		}
		return true
	}
	ads := selecting(c.layer2, p)
	if len(ads) == 0 {
		if by := selecting(c.bgp, p); len(by) > 0 {
			c.lose(&p.object, "", "the pool is left out: it is announced by BGP only (%s), and Invar works in Layer 2 only", names(by))
			return false
		}
		c.lose(&p.object, "", "no L2Advertisement selects the pool, so MetalLB gives its addresses and announces none; "+
			"Invar announces every pool: remove it if that is not wanted")
		return true
	}
	c.merge(p, ads, out)
	return true
}

// unknownPools notes pools that an advertisement names and that don't exist.
func (c *conversion) unknownPools() {
	for i := range c.layer2 {
		a := &c.layer2[i]
		for j, name := range a.spec.IPAddressPools {
			exists := func(p sourcePool) bool { return p.Kind == "IPAddressPool" && p.Metadata.Name == name }
			if !slices.ContainsFunc(c.pools, exists) {
				c.lose(&a.object, fmt.Sprintf("spec.ipAddressPools[%d]", j), "there is no IPAddressPool %q", name)
			}
		}
	}
}

// poolPath is the path of a finding in a pool.
var poolPath = regexp.MustCompile(`^address-pools\[(\d+)\](?:\.(.*))?$`)

// check leaves out pools until the configuration is one that Invar accepts, with the reason for each.
func (c *conversion) check() {
	for {
		_, err := config.Parse(c.Text())
		var findings config.Errors
		if !errors.As(err, &findings) {
			return
		}
		i := slices.IndexFunc(findings, func(e *config.Error) bool {
			return e.Class == config.Invalid && poolPath.MatchString(e.Path)
		})
		if i < 0 {
			panic("migrate: a mistake outside of every pool: " + err.Error())
		}
		e := *findings[i]
		m := poolPath.FindStringSubmatch(e.Path)
		n, _ := strconv.Atoi(m[1])
		message := e.Message
		if e.Value != "" {
			message = fmt.Sprintf("%q: %s", e.Value, message)
		}
		c.Losses = append(c.Losses, Loss{
			Object: "pool " + c.Pools[n].Name, Field: m[2], Message: "the pool is left out, for Invar refuses it: " + message,
		})
		c.Pools = slices.Delete(c.Pools, n, n+1)
	}
}
