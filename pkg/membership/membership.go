package membership

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/invar-lb/invar/pkg/election"
)

// DefaultPort is the TCP and UDP port on which speakers talk to each other; MetalLB's is the same.
const DefaultPort = 7946

// Config says how one speaker takes part.
type Config struct {
	Node     string           // the node's name in Kubernetes
	BindAddr netip.Addr       // the address to listen on, which the peers reach it by
	Port     int              // TCP and UDP port; 0: one that is free
	Key      []byte           // AES key of 32 bytes, from DeriveKey
	Meta     Meta             // at first
	Claims   []election.Claim // known from before
	// Heartbeat is how often this member looks after one of the others; 0 stands for the usual, which finds failures out.
	Heartbeat time.Duration
	Logger    *slog.Logger
	// OnChange is called whenever members, their Meta, what they observe or announce, or who holds what this node claims has changed.
	// It must not block or call back.
	OnChange func()
	// OnClaims is called instead if the only news is who holds what is none of this node's: in a large cluster that is most of what is
	// said. Nil: OnChange is called then as well. It must not block or call back either.
	OnClaims func()
}

// Peer is a live member.
type Peer struct {
	Name string
	Addr netip.Addr
	Port uint16
	Meta Meta
}

func (p Peer) addrPort() netip.AddrPort { return netip.AddrPortFrom(p.Addr, p.Port) }

// Members is this speaker's view of the speakers and of their claims. All methods may be called at any time.
type Members struct {
	cfg     Config
	queue   *memberlist.TransmitLimitedQueue
	list    *memberlist.Memberlist // memberlist's own goroutines, which start before it is set, use running
	started chan struct{}          // closed once list is set

	keys          *keys
	transport     *transport
	attendance    *attendance
	roll          roll
	stopAttending context.CancelFunc

	mu       sync.Mutex // guards the fields below; never held while calling memberlist
	meta     Meta
	ledger   *election.Ledger
	reports  *reports
	holdings map[string]*holdings        // by node: this one's own, and if this is an observer those of the others
	dying    map[string]bool             // members that memberlist takes for dead since a moment ago
	members  map[string]*memberlist.Node // copies: memberlist changes its own Nodes under a lock of its own
	lost     bool                        // the last member that went did so without a word

	comparing atomic.Bool // an exchange runs because digests differed
}

// DeriveKey turns the text of Secret memberlist into an AES-256 key (HKDF, RFC 5869, with SHA-256).
func DeriveKey(secret []byte) ([]byte, error) {
	if len(secret) == 0 {
		return nil, errors.New("secret is empty")
	}
	return hkdf.Key(sha256.New, secret, nil, "invar speakers v1", 32)
}

// Start listens and makes a cluster of one; Join finds the others.
func Start(cfg Config) (*Members, error) {
	if cfg.OnClaims == nil {
		cfg.OnClaims = cfg.OnChange
	}
	m := &Members{
		cfg: cfg, meta: cfg.Meta, started: make(chan struct{}), ledger: election.NewLedger(cfg.Node),
		reports: newReports(cfg.Node, uint64(time.Now().UnixNano()), cfg.Meta), members: map[string]*memberlist.Node{},
		dying: map[string]bool{}, holdings: map[string]*holdings{},
	}
	var err error
	if m.keys, err = newKeys(cfg.Key); err != nil {
		return nil, fmt.Errorf("start memberlist: %w", err)
	}
	m.ledger.Receive(cfg.Claims)
	m.roll.onBack = m.welcome
	c := m.profile()
	if m.transport, err = newTransport(cfg.BindAddr, cfg.Port, cfg.Logger, m.roll.sign); err == nil {
		c.Transport = m.transport
		c.BindPort, c.AdvertisePort = m.transport.port(), m.transport.port()
		m.list, err = memberlist.Create(c)
	}
	if err != nil {
		return nil, fmt.Errorf("start memberlist on %s: %w", netip.AddrPortFrom(cfg.BindAddr, uint16(cfg.Port)), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.attendance, m.stopAttending = newAttendance(ctx, m.transport.dial, cfg.OnChange), cancel
	close(m.started)
	return m, nil
}

// How fast a member that has vanished is found out: it is probed after at most one interval on average, misses that
// probe, and has the time of suspicion to deny it, which is suspicionMult intervals at least. Each probe wakes both processes. The
// heartbeats are patient, since only a process that hangs is left to them: see the package's documentation.
const (
	probeInterval = time.Second
	probeTimeout  = 100 * time.Millisecond
	suspicionMult = 1
	// awarenessMax is how many times slower a member probes that is unwell itself, or cut off.
	awarenessMax = 2
)

// GossipInterval is that between two rounds of gossip, which wake a speaker also when there is nothing to tell: every other one together
// with a probe. Who is suspected hears of it within one of them, mostly, and has to deny it within the time of suspicion.
const GossipInterval = probeInterval / 2

// Repeats says after which times what is new is told to each member again: a datagram may be lost, the gossip is slow, and a
// break of some seconds may outlast both.
func Repeats() []time.Duration {
	return []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, time.Second, 4 * time.Second}
}

// updateWait bounds how long memberlist tries to get a new Meta into its gossip.
const updateWait = time.Second

// A member that is said to be dead may deny it: one that was cut off itself may have said so. It has denyWait to answer, and is
// asked each denyAsk by one datagram: it may be dead to hundreds at once because it is slow. If it answers, its denial has DenyLater to
// arrive.
const (
	denyWait = 200 * time.Millisecond
	denyAsk  = 100 * time.Millisecond
	// DenyLater is how long a denial may take.
	DenyLater = 5 * time.Second
)

// Accusers is how many members, on average, exchange all that they know with one that is said to be dead: so it hears of that at once.
const Accusers = 3

// profile returns memberlist's settings. They are MetalLB's (DefaultLANConfig) but for the speed. Lifeguard stays on, so a
// member that is slow itself doubts itself first.
func (m *Members) profile() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.cfg.Node
	c.Label = "invar" // keeps apart from a MetalLB that is being replaced
	c.BindAddr, c.BindPort = m.cfg.BindAddr.String(), m.cfg.Port
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	c.Keyring = m.keys.ring
	c.Logger = slog.NewLogLogger(m.cfg.Logger.Handler(), slog.LevelDebug)

	c.ProbeInterval = cmp.Or(m.cfg.Heartbeat, probeInterval)
	c.ProbeTimeout = probeTimeout
	c.SuspicionMult = suspicionMult
	c.SuspicionMaxTimeoutMult = 2
	c.AwarenessMaxMultiplier = awarenessMax
	c.GossipInterval = GossipInterval
	c.EnableCompression = false // the messages are small, and short of nothing but time
	c.PushPullInterval = 10 * time.Second
	c.TCPTimeout = time.Second
	c.DeadNodeReclaimTime = time.Second // a node may come back with another address
	c.HandoffQueueDepth = 8192          // a thousand addresses may be claimed in one moment

	m.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: c.RetransmitMult, NumNodes: m.numMembers}
	c.Delegate = delegate{m}
	c.Events = events{m}
	return c
}

// running returns memberlist, waiting for Start to have it.
func (m *Members) running() *memberlist.Memberlist {
	<-m.started
	return m.list
}

func (m *Members) numMembers() int { return m.running().NumMembers() }

// Addr returns the address and port that this speaker listens on.
func (m *Members) Addr() netip.AddrPort {
	n := m.list.LocalNode()
	return netip.AddrPortFrom(addrOf(n), n.Port)
}

// Peers returns the live members, this speaker included, sorted by name.
func (m *Members) Peers() []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var peers []Peer
	for _, n := range m.members {
		if addr := addrOf(n); !m.roll.isGone(addr) {
			peers = append(peers, Peer{Name: n.Name, Addr: addr, Port: n.Port, Meta: m.metaOf(n)})
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.Name, b.Name) })
	return peers
}

// addrOf returns the address of a member.
func addrOf(n *memberlist.Node) netip.Addr {
	addr, _ := netip.AddrFromSlice(n.Addr)
	return addr.Unmap()
}

// live returns the live members. What they point to doesn't change.
func (m *Members) live() []*memberlist.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.members))
}

// metaOf returns what a member tells about itself; of one that can't be understood, nothing is known. The caller holds m.mu.
func (m *Members) metaOf(n *memberlist.Node) Meta {
	encoded := n.Meta
	if r, ok := m.reports.of[n.Name]; ok && len(r.Meta) > 0 {
		encoded = r.Meta
	}
	meta, err := decodeMeta(encoded)
	if err != nil {
		m.cfg.Logger.Debug("peer's metadata is not understood", "node", n.Name, "err", err)
	}
	return meta
}

// Alone reports whether no peer is in sight and the last one that was did not take its leave: either it is gone or this
// speaker is cut off, which from here look the same. Peers that are gone by [Members.CallRoll] are not in sight. Observers don't count.
func (m *Members) Alone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	lost := m.lost
	for _, n := range m.members {
		switch {
		case n.Name == m.cfg.Node || m.metaOf(n).Observer:
		case m.roll.isGone(addrOf(n)):
			lost = true
		default:
			return false
		}
	}
	return lost
}

// SetMeta tells the peers what has changed about this speaker. It does not wait for them.
func (m *Members) SetMeta(meta Meta) error {
	if len(meta.Carry) > MaxCarry {
		return fmt.Errorf("tell peers of this node's state: %d bytes say what it can carry, want at most %d", len(meta.Carry), MaxCarry)
	}
	m.mu.Lock()
	same := m.meta == meta
	m.meta = meta
	var r report
	if !same {
		r = m.reports.setMeta(meta)
	}
	m.mu.Unlock()
	if same {
		return nil
	}
	m.spread([][]byte{encodeReport(r)})
	go func() { // for those that join later; it waits until the gossip has it
		if err := m.list.UpdateNode(updateWait); err != nil {
			m.cfg.Logger.Debug("gossip did not take up this node's state in time", "err", err)
		}
	}()
	return nil
}

// Attend replaces the set of peers whose end is to be noticed at once: see [Members.Ended].
func (m *Members) Attend(peers []Peer) {
	set := make(map[netip.AddrPort]bool, len(peers))
	for _, p := range peers {
		set[p.addrPort()] = true
	}
	m.attendance.set(set)
}

// Ended reports whether the process of a peer that this speaker attends to has ended: its kernel refuses connections,
// though it had accepted them before.
func (m *Members) Ended(p Peer) bool { return m.attendance.isEnded(p.addrPort()) }

// Claims returns a copy of the winning claims.
func (m *Members) Claims() election.Claims {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ledger.Claims()
}

// AllClaims returns the winning claims, sorted: see [election.Ledger.All].
func (m *Members) AllClaims() []election.Claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ledger.All()
}

// Holder returns the node that holds addr by the winning claim, empty if there is none.
func (m *Members) Holder(addr netip.Addr) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ledger.Holder(addr)
}

// Claim makes the claims of this node known to all.
func (m *Members) Claim(claims []election.Claim) {
	m.merge(claims)
	m.spread(encodeDatagrams(claims))
}

// Renounce has the holders of addrs announce them once more: this node has answered for them on its side of a LAN that had fallen
// apart, so hosts may know them by its MAC.
func (m *Members) Renounce(addrs []netip.Addr) {
	m.mu.Lock()
	vain := m.ledger.Vain(addrs)
	m.mu.Unlock()
	m.spread(encodeDatagrams(vain))
}

// Contested returns the addresses held by this node that a peer has claimed in vain since the last call: see
// [election.Ledger.Contested].
func (m *Members) Contested() []netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ledger.Contested()
}

// Report tells the peers what this speaker observes, if that is news.
func (m *Members) Report(o Observations) {
	m.mu.Lock()
	r, news := m.reports.observe(o)
	m.mu.Unlock()
	if news {
		m.spread([][]byte{encodeReport(r)})
	}
}

// Reports returns what the live members observe, by node, this one included.
func (m *Members) Reports() map[string]Observations {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]Observations, len(m.members))
	for node := range m.members {
		if r, ok := m.reports.of[node]; ok {
			out[node] = r.Observations
		}
	}
	return out
}

// spread sends messages of this node to every member at once, and some more times, and leaves them to the gossip as well.
func (m *Members) spread(msgs [][]byte) {
	if len(msgs) == 0 {
		return
	}
	for _, msg := range msgs {
		m.queue.QueueBroadcast(broadcast(msg))
	}
	m.sendAll(msgs)
	for _, d := range Repeats() {
		time.AfterFunc(d, func() { m.sendAll(msgs) }) // after Close it does nothing
	}
}

func (m *Members) sendAll(msgs [][]byte) {
	for _, n := range m.live() {
		if n.Name == m.cfg.Node {
			continue
		}
		for _, msg := range msgs {
			m.send(n, msg)
		}
	}
}

func (m *Members) send(n *memberlist.Node, msg []byte) {
	if err := m.running().SendBestEffort(n, msg); err != nil {
		m.cfg.Logger.Debug("claim not sent; the gossip will carry it", "node", n.Name, "err", err)
	}
}

// greet tells a member that has just come, or come back, what this node holds and observes: it may have missed that.
func (m *Members) greet(n *memberlist.Node) {
	m.mu.Lock()
	msgs := append(encodeDatagrams(m.ledger.Own()), encodeReport(m.reports.of[m.cfg.Node]))
	own := m.holdings[m.cfg.Node]
	m.mu.Unlock()
	for _, msg := range msgs {
		m.send(n, msg)
	}
	if !m.confide(n, own) {
		m.leaveUntold(own)
		m.cfg.OnChange() // so that it is told again
	}
}

// stopHelpers ends what runs beside memberlist.
func (m *Members) stopHelpers() {
	m.stopAttending()
	m.keys.stop()
}

// Leave tells the peers that this speaker goes, so that nobody waits for a time-out, and stops listening.
func (m *Members) Leave(timeout time.Duration) error {
	m.stopHelpers()
	return errors.Join(m.list.Leave(timeout), m.list.Shutdown())
}

// Close stops listening without a word, as a crash would.
func (m *Members) Close() error {
	m.stopHelpers()
	return m.list.Shutdown()
}

// merge takes claims in and returns what the peers should hear in turn, and whether that concerns what this node holds.
func (m *Members) merge(claims []election.Claim) (tell []election.Claim, own bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	own = slices.ContainsFunc(claims, m.ledger.Concerns)
	return m.ledger.Receive(claims), own
}

// receive takes in what a peer sent, passes on what was new and corrects what was wrong.
func (m *Members) receive(msg []byte) {
	got, err := decode(msg)
	if err != nil {
		m.cfg.Logger.Warn("message from a peer is not understood", "err", err)
		return
	}
	m.compare(got.digest)
	byNode := map[string][]election.Claim{}
	claims, own := m.merge(got.claims)
	for _, c := range claims {
		byNode[c.Node] = append(byNode[c.Node], c)
	}
	var tell [][]byte
	for _, claims := range byNode {
		tell = append(tell, encodeDatagrams(claims)...)
	}
	m.mu.Lock()
	reports := m.reports.merge(got.reports)
	for _, r := range reports {
		tell = append(tell, encodeReport(r))
	}
	holdings := m.hear(got.holdings)
	m.mu.Unlock()
	for _, msg := range tell {
		m.queue.QueueBroadcast(broadcast(msg))
	}
	switch {
	case holdings, len(reports) > 0, own && len(claims) > 0:
		m.cfg.OnChange()
	case len(claims) > 0:
		m.cfg.OnClaims()
	}
}

// digest returns the digest of what this node knows. The caller holds m.mu.
func (m *Members) digest() digest {
	return digest{m.cfg.Node, m.ledger.Digest() + m.reports.digest()}
}

// compare makes this node and a peer tell each other all, if the peer's digest says that they don't know the same. One of the two does
// so, the same one each time.
func (m *Members) compare(of digest) {
	if of.node == "" {
		return // most messages have none, and this node's own takes time
	}
	m.mu.Lock()
	peer, own := m.members[of.node], m.digest()
	m.mu.Unlock()
	if peer == nil || of.sum == own.sum || of.node < own.node || m.comparing.Swap(true) {
		return
	}
	go func() {
		defer m.comparing.Store(false)
		if _, err := m.Join([]netip.AddrPort{netip.AddrPortFrom(addrOf(peer), peer.Port)}); err != nil {
			m.cfg.Logger.Debug("peer that knows something else is not reached", "node", of.node, "err", err)
		}
	}()
}
