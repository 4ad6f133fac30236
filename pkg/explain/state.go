package explain

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// StatePort is the TCP port on 127.0.0.1 where speakers and controller serve their state, unless a flag says otherwise.
const StatePort = 7471

// StatePath is the path of the state there. The controller's takes a query: see [ServiceQuery].
const StatePath = "/state"

// ServiceQuery is the parameter of [StatePath] by which the controller is asked for [ControllerState.Service]: its value is
// "namespace/name".
const ServiceQuery = "service"

// SpeakerState is what one speaker knows and does.
type SpeakerState struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"` // when the process started
	Now     time.Time `json:"now"`   // when this was said, by the node's clock
	// NotReady says what the speaker waits for; empty: nothing.
	NotReady string `json:"notReady,omitempty"`
	Draining bool   `json:"draining,omitempty"`
	// Blocked: it can talk to no other speaker, though others live.
	Blocked bool   `json:"blocked,omitempty"`
	Config  Config `json:"config"`
	// Interfaces are all of the node's, by index.
	Interfaces []Interface `json:"interfaces"`
	// Members are the speakers and controllers in sight, this one included, by name.
	Members []Member `json:"members"`
	// Addresses are those that Services show, sorted.
	Addresses []Address `json:"addresses"`
	// Conflicts are addresses that a host outside the cluster uses, sorted.
	Conflicts []Conflict `json:"conflicts,omitempty"`
	// Moves are the last addresses that this node took over, the newest first.
	Moves []Move `json:"moves,omitempty"`
}

// Config is the state of the configuration.
type Config struct {
	// Pools is the number of pools in force; 0 also if no configuration ever was.
	Pools int `json:"pools"`
	// Error is what is wrong with the newest text; empty: it is in force.
	Error string `json:"error,omitempty"`
	// Warnings are parts of the text that are left out or may not be what was meant.
	Warnings []string `json:"warnings,omitempty"`
}

// Interface is a network interface of a node.
type Interface struct {
	Name     string         `json:"name"`
	MAC      string         `json:"mac"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
	// Skip says why it carries no announcements; empty: it can.
	Skip string `json:"skip,omitempty"`
	// RPFilter is the kernel's reverse path filter for IPv4: 0 none, 1 strict, 2 loose.
	RPFilter    int  `json:"rpFilter,omitempty"`
	Promiscuous bool `json:"promiscuous,omitempty"`
	Wireless    bool `json:"wireless,omitempty"`
	// DefaultRoute: an IPv4 default route leads out of it.
	DefaultRoute bool `json:"defaultRoute,omitempty"`
}

// Member is a speaker or controller in the gossip, as one of them sees it.
type Member struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"`
	// Announcing: it is able to answer.
	Announcing bool `json:"announcing,omitempty"`
	// Draining: it is about to leave.
	Draining bool `json:"draining,omitempty"`
	// Observer: it only listens, as the controller does.
	Observer bool `json:"observer,omitempty"`
	// Silent: its node does not answer on the wire, or so most of those say that watch it.
	Silent bool `json:"silent,omitempty"`
}

// Role is what a speaker does about an address.
type Role string

// The roles.
const (
	RoleNone  Role = ""
	RoleHold  Role = "hold"  // it answers and announces
	RoleQuiet Role = "quiet" // it answers, and does not announce: it is cut off from the others
	RoleProbe Role = "probe" // it asks the LAN whether the address is free
)

// Address is an address as one speaker sees it.
type Address struct {
	Addr netip.Addr `json:"addr"`
	// Services are those that show it, as "namespace/name", sorted.
	Services []string `json:"services"`
	// Pool is the pool that it lies in, empty if in none.
	Pool string `json:"pool,omitempty"`
	// Holder is the node of the winning claim, empty if there is none. Seq is the claim's number.
	Holder string `json:"holder,omitempty"`
	Seq    uint64 `json:"seq,omitempty"`
	// Prefer is the node that its user wants.
	Prefer string `json:"prefer,omitempty"`
	// Role is what this node does about it, Since when it began to hold it.
	Role  Role      `json:"role,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Interfaces are those of this node that carry the address, or would; if there are none, NoInterface says why.
	Interfaces  []string `json:"interfaces,omitempty"`
	NoInterface string   `json:"noInterface,omitempty"`
	// Nodes says of each node whether it may hold the address, by name.
	Nodes []Eligibility `json:"nodes"`
}

// Eligibility says whether a node may hold an address.
type Eligibility struct {
	Node string `json:"node"`
	// Bar is why it may not; empty: it may.
	Bar Bar `json:"bar,omitempty"`
}

// Bar is why a node may not announce an address.
type Bar string

// The bars, in the order in which they are looked for.
const (
	BarNone        Bar = ""
	BarNoSpeaker   Bar = "NoSpeaker"          // no live speaker is in sight there
	BarSilent      Bar = "Silent"             // the node does not answer on the wire
	BarUnable      Bar = "Unable"             // its speaker can answer on no interface
	BarExcluded    Bar = "Excluded"           // label node.kubernetes.io/exclude-from-external-load-balancers
	BarNoNetwork   Bar = "NetworkUnavailable" // condition of that name
	BarNoEndpoint  Bar = "NoEndpoint"         // no endpoint takes traffic, on any node
	BarNotLocal    Bar = "NoLocalEndpoint"    // externalTrafficPolicy Local, and no endpoint takes traffic there
	BarNotSelected Bar = "NotSelected"        // the pool's node-selectors leave it out
	BarNoInterface Bar = "NoInterface"        // no interface there can carry the address
)

// Conflict is an address of the cluster that a host outside uses.
type Conflict struct {
	Addr netip.Addr `json:"addr"`
	MAC  string     `json:"mac"`
	// Interface is where it was seen, Node by whom: empty in a speaker's own state.
	Interface string    `json:"interface"`
	Node      string    `json:"node,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Last      time.Time `json:"last,omitzero"`
}

// SortConflicts sorts by address, then by who saw it.
func SortConflicts(cs []Conflict) {
	slices.SortFunc(cs, func(a, b Conflict) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Node, b.Node)) })
}

// Move is a change of an address's holder.
type Move struct {
	At   time.Time  `json:"at"`
	Addr netip.Addr `json:"addr"`
	From string     `json:"from,omitempty"` // empty: nobody held it
	To   string     `json:"to"`
	// Cause is one of election's: first, failure, drain, unfit or preferred.
	Cause string `json:"cause"`
	// Took is the time from the last sign of life of a node that failed until the new holder claimed it; 0 if nothing failed, or
	// if it is not known.
	Took time.Duration `json:"took,omitempty"`
}

// ControllerState is what a controller knows and does.
type ControllerState struct {
	Identity string    `json:"identity"` // the pod's name
	Version  string    `json:"version"`
	Since    time.Time `json:"since"`
	Now      time.Time `json:"now"`
	NotReady string    `json:"notReady,omitempty"`
	// Leading: it holds the Lease and gives addresses. Config, Pools and Services are empty if it does not.
	Leading bool `json:"leading"`
	// Class is the spec.loadBalancerClass that it serves; empty: Services without one.
	Class  string `json:"class,omitempty"`
	Config Config `json:"config"`
	// Pools are those in force, in the order of the text, each family apart.
	Pools []Pool `json:"pools"`
	// Services are those that have addresses or wait for some, by name.
	Services []Service `json:"services"`
	// Service is the one that was asked for, if the controller serves it.
	Service *Service `json:"service,omitempty"`
	// Listening: it hears the speakers, so that Holders, Moves and Conflicts mean something.
	Listening bool     `json:"listening"`
	Members   []Member `json:"members,omitempty"`
	// Holders are the addresses that are announced, sorted.
	Holders   []Holder   `json:"holders,omitempty"`
	Conflicts []Conflict `json:"conflicts,omitempty"`
	// Moves are the last ones that it has heard of, the newest first.
	Moves []Move `json:"moves,omitempty"`
}

// Pool is how full a pool is, for one address family.
type Pool struct {
	Name   string `json:"name"`
	Family string `json:"family"` // IPv4 or IPv6
	// Total is the number of addresses that it can give, at most math.MaxInt64, InUse of those in use.
	Total    uint64 `json:"total"`
	InUse    uint64 `json:"inUse"`
	Services int    `json:"services"`
}

// Service is what the controller has decided for a Service.
type Service struct {
	Name string `json:"name"` // "namespace/name"
	// Addrs are the addresses that it has, Pools where each came from (empty: not known).
	Addrs []netip.Addr `json:"addrs,omitempty"`
	Pools []string     `json:"pools,omitempty"`
	// Waiting: it asks for something that it can't have now.
	Waiting bool `json:"waiting,omitempty"`
	// Stranded is the number of its addresses that lie in no pool any more.
	Stranded int `json:"stranded,omitempty"`
	// Reason and Message are those of condition invar.io/AddressAllocated.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Verdicts say of each pool in the order in which they are tried, and of each address that was asked for, whether the
	// Service could have it. They are there for [ControllerState.Service] and for those that wait.
	Verdicts []Verdict `json:"verdicts,omitempty"`
}

// Verdict is what a pool, or a requested address, says to a Service.
type Verdict struct {
	Pool   string     `json:"pool,omitempty"`
	Addr   netip.Addr `json:"addr,omitzero"`
	Family string     `json:"family,omitempty"` // if it depends on that
	// Refusal is why not; empty: it gives what is asked.
	Refusal string `json:"refusal,omitempty"`
}

// Holder is who announces an address.
type Holder struct {
	Addr       netip.Addr `json:"addr"`
	Node       string     `json:"node"`
	Interfaces []string   `json:"interfaces,omitempty"`
	Since      time.Time  `json:"since,omitzero"`
}
