// Command chaos breaks a lab of its own in all ways for as long as it is told, several at once, and checks afterwards that Invar
// has kept what it promises. `make chaos MINUTES=30 SEED=1` builds what it needs. Without SEED one is chosen, and printed.
//
// It prints one line of JSON on stdout, and what it is doing on stderr. Its exit code is 1 if a promise was broken; each
// violation is told with its time, the address, and the faults that were in force. The whole history and the logs of Invar's pods
// are kept in bin then, where `go run ./test/chaos -history FILE` checks it again.
//
// # Course
//
// The schedule of faults is a pure function of the seed and the length (schedule.go): a seed replays it, and `-plan` prints it. What
// the faults meet is not repeated: a machine has its moods. A schedule is a sequence of rounds. In each, one to three faults of
// different classes come, overlap and go; then all has to be ready again, as Kubernetes and the speakers see it, and after
// [settle] more all must be right until the next round. Kinds are dealt from a shuffled pack, so that all come about equally often.
//
// A run has nine Services that last: of both policies, with IPv4 and with both families, two that share an address, and one
// (churn) whose pods come and go. The pods of all others are a DaemonSet's.
//
// # What is recorded
//
//   - every ARP and NDP frame that enters the LAN's switch, with the port at which it came in and the kernel's time. Two hosts, of
//     which a partition may separate one from the other, ask for each address every 40 ms
//   - a connection to each Service from a host on the LAN every 50 ms, and the same to each node's own address, to a program that
//     Invar has no part in
//   - every change of a Service
//   - every pause of the machine of 20 ms or more: a thread on each processor asks for it every 5 ms, and the scheduler tells for
//     how long threads of the speakers were kept waiting
//   - when each fault began and ended
//
// # Faults
//
// Of the LAN and the speakers:
//
//	cable-cut                the node's cable is out for 0.1 to 12 s
//	node-freeze              all its processes stand still, its pods too, and its cable is out: 0.3 to 12 s
//	partition                the LAN falls into two parts, with nodes in both and the client in one; interfaces keep their carrier
//	speaker-kill             SIGKILL; kubelet restarts it, and some seconds later its pod is deleted
//	speaker-freeze           SIGSTOP for 0.1 to 8 s: its clocks jump, while its node goes on answering for itself
//	speaker-rollout          rollout of the DaemonSet
//	node-exclude             the label that excludes the node from load balancers
//
// Of the control plane and the controller:
//
//	controller-kill, controller-freeze, controller-rollout
//	apiserver-kill, etcd-kill, controller-manager-kill, scheduler-kill      SIGKILL, and started again 0.2 to 10 s later
//	control-plane-freeze     its host stands still, its cable is out
//
// Of a node: kubelet-kill and kube-proxy-kill, SIGKILL and started again 0.2 to 12 s later.
//
// Of Services and endpoints:
//
//	endpoint-delete          the pods behind churn are deleted, and made anew
//	endpoints-none           churn has no pods for 1 to 8 s
//	service-create           a Service is made, and deleted
//	service-policy           a Service gets policy Cluster, and Local again
//	service-pool             a pool is added and a Service asks for it; the pool goes first, the Service two seconds later
//
// Of the ConfigMap:
//
//	pool-removed             the pool that Services have their addresses from is replaced by another one
//	config-bad               a range that ends before it starts
//	config-deleted           the ConfigMap is deleted
//
// And with CLOCK=1 clock-jump: the wall clock is off by up to five seconds for one to four seconds, and is then put back to what
// it would show by the monotonic one, also when the run is interrupted. The clock is that of the whole machine, hence not without
// being asked for.
//
// # What is promised
//
// check.go looks at the recorded history alone:
//
//  1. Somebody answers for each address that a Service shows, as seen from both hosts.
//  2. Nobody answers who is not the only one.
//  3. An address stays at its node, unless a fault hits that node or the address: that another node returns is no cause.
//  4. Nobody answers for an address that no Service shows, or one without endpoints.
//  5. No address is two Services' that don't share it. None changes, and none is taken away. No Service goes without.
//  6. Connections succeed.
//  7. All is ready again, three minutes after the faults of a round are undone at the latest.
//
// # What is allowed, and for how long
//
// Each fault opens windows (windows.go) that excuse certain effects: for the addresses that the node holds which it hits, for one
// Service, or as one observer sees it. Outside of them all of the above is required at all times, within a tolerance of [lapse].
//
//	a node or a speaker is lost        1 s without an answer from the fault on, for the addresses that the node held; one holder
//	                                   from then on, while the fault lasts                                                   failover
//	a speaker stands still             7 s: heartbeats alone notice it                                                       hung
//	partition                          1 s for the addresses of the other part where most of the nodes are; 3 s elsewhere    minority
//	they are back                      2.5 s of silence of who doubts what it knows; 1 s of two answers                      rejoin, reunion
//	rollout, exclusion                 no silence; moves and two answers until done
//	control plane, controller,
//	kube-proxy, ConfigMap              nothing; what changes meanwhile is heard of late: until ready, and then 3 s and as long as
//	                                   the fault has lasted, half a minute at most                                           lagLimit
//	kubelet                            moves away from the node when it starts again, and takes its pods for unready
//	new Service, deleted Service       3 s until somebody answers, and until nobody does                                     claim, release
//	endpoints                          anything of churn, until ready and 3 s; and silence while it has none
//
// Connections to Services of policy Cluster may fail while a node is out of reach: kube-proxy sends them there until Kubernetes
// takes it for lost. Those of policy Local may fail when the address may go unanswered. One that is reset within a second of a
// move does not count: its handshake was under way.
//
// # The machine
//
// A lab shares a machine with whatever else runs there, and that is not Invar's fault. For as long as the machine paused while
// something lasted or in the second before, it may last longer. A connection to a node's own address that fails for no fault
// counts as such a pause, and so does a speaker's thread that waited for the processor. A move is excused by a pause of 60 ms or more in the five seconds before, half of a speaker's patience on
// the wire, and a failed connection by any pause around it.
package main
