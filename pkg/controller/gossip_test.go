package controller

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api/apitest"
	"github.com/invar-lb/invar/pkg/membership"
)

var vip = netip.MustParseAddr("192.168.1.160")

func TestConflicts(t *testing.T) {
	got := conflicts(map[string]membership.Observations{
		"node2": {Conflicts: []membership.Conflict{{Addr: vip, MAC: "02:00:00:00:00:99", Interface: "eth1"}}},
		"node1": {Conflicts: []membership.Conflict{{Addr: vip, MAC: "02:00:00:00:00:99", Interface: "eth0"}}},
		"node3": {Silent: []string{"node4"}},
	})
	want := map[netip.Addr]string{
		vip: "192.168.1.160 is used by a host outside the cluster: seen from " +
			"02:00:00:00:00:99 on interface eth0 of node node1, 02:00:00:00:00:99 on interface eth1 of node node2",
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestConflictCondition follows the condition of one Service while a host uses its address, and does so no more.
func TestConflictCondition(t *testing.T) {
	h := newHarness(t).start(pool).add(service("a")).add(service("b"))
	var heard map[netip.Addr]string
	h.hear = func() word { return word{conflicts: heard} }
	conflict := func(name string) string {
		c := meta.FindStatusCondition(h.get(name).Status.Conditions, kube.ConditionConflict)
		if c == nil {
			return ""
		}
		return string(c.Status) + " " + c.Reason + ": " + c.Message
	}
	want := func(when, a, b string) {
		t.Helper()
		h.queue.Add(gossipKey)
		h.work()
		if diff := cmp.Diff([]string{a, b}, []string{conflict("a"), conflict("b")}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	want("at first", "", "")
	heard = map[netip.Addr]string{vip: "somebody has it"}
	want("a conflict", "True ForeignHost: somebody has it", "")
	heard = map[netip.Addr]string{vip: "somebody else has it"}
	want("another host", "True ForeignHost: somebody else has it", "")
	heard = nil
	want("it is over", "False NoConflict: ", "")
	h.want("a [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
		"b [192.168.1.161] True Allocated: 192.168.1.161 from pool default")
	h.leaveType("a")
	if got := conflict("a"); got != "" {
		t.Errorf("left the type, and still says %q", got)
	}
}

// TestListens lets a controller hear a real speaker that it finds by the endpoints of the Service.
func TestListens(t *testing.T) {
	text := []byte("the speakers' secret")
	key, err := membership.DeriveKey(text)
	must(t, err)
	speaker, err := membership.Start(membership.Config{
		Node: "node1", BindAddr: netip.MustParseAddr("127.0.0.1"), Key: key, Logger: slog.New(slog.DiscardHandler), OnChange: func() {},
	})
	must(t, err)
	t.Cleanup(func() { must(t, speaker.Close()) })

	client := fake.NewClientset(
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "memberlist"}, Data: map[string][]byte{kube.SecretKey: text},
		},
		&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: "speaker-1", Labels: map[string]string{discoveryv1.LabelServiceName: kube.SpeakerService},
			},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"127.0.0.1"}}},
		})
	c := New(Config{
		Client: apitest.Client{Fake: client}, Leases: client.CoordinationV1(),
		Recorder: record.NewFakeRecorder(100), Logger: slog.New(slog.DiscardHandler),
		Metrics: NewMetrics(prometheus.NewRegistry()), Namespace: namespace, ConfigMap: "config", Identity: "test",
		BindAddr: netip.MustParseAddr("127.0.0.2"), Port: int(speaker.Addr().Port()), Secret: "memberlist",
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.listen(ctx) }()
	speaker.Report(membership.Observations{
		Conflicts: []membership.Conflict{{Addr: vip, MAC: "02:00:00:00:00:99", Interface: "eth0"}},
	})
	held := []membership.Holding{{
		Addr: vip, Interfaces: []string{"eth0"}, Since: epoch, From: "node2", Cause: "failure", Took: time.Second,
	}}
	speaker.Hold(held)
	for deadline := time.After(10 * time.Second); len(c.heard().conflicts) == 0 || len(c.heard().holders) == 0; {
		select {
		case <-c.gossip.news:
		case <-done:
			t.Fatal("it has ended")
		case <-deadline:
			t.Fatal("nothing heard within 10 s")
		}
	}
	wantWord := word{
		conflicts: map[netip.Addr]string{
			vip: "192.168.1.160 is used by a host outside the cluster: seen from 02:00:00:00:00:99 on interface eth0 of node node1",
		},
		holders: map[netip.Addr]holder{vip: {"node1", held[0]}}, complete: true,
	}
	if diff := cmp.Diff(wantWord, c.heard(), cmpopts.EquateComparable(netip.Addr{}), cmp.AllowUnexported(word{}, holder{})); diff != "" {
		t.Errorf("what is heard (-want +got):\n%s", diff)
	}
	wantMoves := []explain.Move{{At: epoch, Addr: vip, From: "node2", To: "node1", Cause: "failure", Took: time.Second}}
	if diff := cmp.Diff(wantMoves, c.moves.latest(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
	for _, p := range speaker.Peers() {
		if p.Name != "node1" && !p.Meta.Observer {
			t.Errorf("%+v takes part as a speaker", p)
		}
	}
	cancel()
	<-done
}

// TestWordPaced: speakers that say something all the time are not listened to all the time.
func TestWordPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		c := New(Config{
			Client: apitest.Client{Fake: client}, Recorder: record.NewFakeRecorder(100), Logger: slog.New(slog.DiscardHandler),
			Metrics: NewMetrics(prometheus.NewRegistry()), Namespace: namespace, ConfigMap: "config",
		})
		heard := 0
		term := newTerm(c)
		term.hear = func() word { heard++; return word{} }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- term.run(ctx) }()
		const news, every = 100, wordEvery / 20
		for range news {
			poke(c.gossip.news)
			time.Sleep(every)
		}
		time.Sleep(wordEvery)
		cancel()
		must(t, <-done)
		// At the beginning, and then once in wordEvery, the last time included.
		if least, most := 2, 2+news*int(every)/int(wordEvery); heard < least || heard > most {
			t.Errorf("taken over %d times, want %d to %d", heard, least, most)
		}
	})
}

// TestPortTaken is about a controller whose port somebody else has: it works all the same, and listens when it can.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.3:0")
	must(t, err)
	client := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "memberlist"}, Data: map[string][]byte{kube.SecretKey: []byte("x")},
	})
	c := New(Config{
		Client: apitest.Client{Fake: client}, Leases: client.CoordinationV1(),
		Recorder: record.NewFakeRecorder(100), Logger: slog.New(slog.DiscardHandler),
		Metrics: NewMetrics(prometheus.NewRegistry()), Namespace: namespace, ConfigMap: "config", Identity: "test",
		BindAddr: netip.MustParseAddr("127.0.0.3"), Port: taken.Addr().(*net.TCPAddr).Port, Secret: "memberlist",
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	waitFor(t, "the controller is ready", func() bool { return c.Ready() == nil })
	select {
	case err := <-done:
		t.Fatal("ended: ", err)
	case <-time.After(100 * time.Millisecond): // it has tried by then, or will later
	}
	must(t, taken.Close())
	waitFor(t, "it listens", func() bool { return c.gossip.members.Load() != nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSecretIsMadeAgain is about who deletes the Secret, to have the speakers use another key.
func TestSecretIsMadeAgain(t *testing.T) {
	client := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "memberlist"}, Data: map[string][]byte{kube.SecretKey: []byte("old")},
	})
	c := New(Config{
		Client: apitest.Client{Fake: client}, Leases: client.CoordinationV1(),
		Recorder: record.NewFakeRecorder(100), Logger: slog.New(slog.DiscardHandler),
		Metrics: NewMetrics(prometheus.NewRegistry()), Namespace: namespace, ConfigMap: "config", Identity: "test",
		BindAddr: netip.MustParseAddr("127.0.0.4"), Secret: "memberlist",
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.listen(ctx) }()
	waitFor(t, "it listens", func() bool { return c.gossip.members.Load() != nil })
	secrets := client.CoreV1().Secrets(namespace)
	must(t, secrets.Delete(ctx, "memberlist", metav1.DeleteOptions{}))
	waitFor(t, "there is another Secret", func() bool {
		s, err := secrets.Get(ctx, "memberlist", metav1.GetOptions{})
		return err == nil && len(s.Data[kube.SecretKey]) > 0 && string(s.Data[kube.SecretKey]) != "old"
	})
	cancel()
	<-done
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
