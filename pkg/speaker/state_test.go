package speaker

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api/apitest"
	"github.com/invar-lb/invar/pkg/membership"
)

// offline returns a speaker that is not connected to anything.
func offline(dir string) *Speaker {
	return New(Config{
		Client: apitest.NewClient(), Logger: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
		Node: "node1", Namespace: "metallb-system", ConfigMap: "config", Secret: "memberlist", StateDir: dir,
	})
}

// TestState saves what one speaker knows; another one begins with it.
func TestState(t *testing.T) {
	dir := t.TempDir()
	before := offline(dir)
	if _, found := before.restore(); found {
		t.Error("state found where there is none")
	}
	claims := []election.Claim{{Addr: addr("192.168.1.160"), Node: "node2", Seq: 7}}
	var err error
	before.members, err = membership.Start(membership.Config{
		Node: "node1", BindAddr: netip.MustParseAddr("127.0.0.1"), Key: make([]byte, 32), Claims: claims,
		Logger: before.cfg.Logger, OnChange: func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = before.members.Close() })
	for _, name := range []string{"web", "deleted"} {
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name + "-1"}}
		slice.Labels = map[string]string{discoveryv1.LabelServiceName: name}
		if err := before.slices.GetStore().Add(slice); err != nil {
			t.Fatal(err)
		}
	}
	if err := before.services.GetStore().Add(object("web", corev1.ServiceTypeLoadBalancer)); err != nil {
		t.Fatal(err)
	}
	saved, err := before.saveState(nil)
	if err != nil {
		t.Fatal(err)
	}

	after := offline(dir)
	got, found := after.restore()
	if diff := cmp.Diff(claims, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || !found {
		t.Errorf("found %v; claims (-want +got):\n%s", found, diff)
	}
	if kube.Get[corev1.Service](after.services, name("web")) == nil {
		t.Error("the Service was not restored")
	}
	if diff := cmp.Diff([]string{"default/web-1"}, after.slices.GetStore().ListKeys()); diff != "" {
		t.Errorf("EndpointSlices (-want +got):\n%s", diff)
	}
	after.members = before.members
	for _, last := range [][]byte{nil, saved} {
		if got, err := after.saveState(last); err != nil || !cmp.Equal(saved, got) {
			t.Errorf("saved again: %v; hash %x, want %x", err, got, saved)
		}
	}
	if _, found := after.restore(); !found {
		t.Error("what was saved again can't be read")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v lie in the folder, want one file", files, err)
	}
}

func TestKeepSaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begin, changed := time.Now(), make(chan struct{}, 1)
		slow := time.Minute / stateFactor // so that the next time is a minute later
		takes := []time.Duration{0, slow, 0, 0}
		var saved []time.Duration
		done := make(chan struct{})
		go func() {
			defer close(done)
			keepSaving(ctx, changed, func() {
				saved = append(saved, time.Since(begin))
				time.Sleep(takes[len(saved)-1])
			})
		}()
		at := func(d time.Duration) {
			time.Sleep(time.Until(begin.Add(d)))
			poke(changed)
		}
		at(time.Hour)
		at(time.Hour + stateEvery/2) // saved with the one before
		at(2 * time.Hour)            // slowly
		at(2*time.Hour + stateEvery + slow/2)
		at(3 * time.Hour)
		at(4 * time.Hour)
		cancel()
		<-done
		want := []time.Duration{
			time.Hour + stateEvery, 2*time.Hour + stateEvery, 2*time.Hour + stateEvery + slow + time.Minute, 3*time.Hour + stateEvery,
		}
		if diff := cmp.Diff(want, saved); diff != "" {
			t.Errorf("saved at (-want +got):\n%s", diff)
		}
	})
}

func TestStateThatCantBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(`{"claims":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, found := offline(dir).restore(); found {
		t.Error("half a file is used")
	}
	if _, found := offline("").restore(); found {
		t.Error("state found without a folder")
	}
}
