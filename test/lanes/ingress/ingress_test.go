//go:build e2e

// Package ingress tests what most addresses are for: an ingress controller behind one, which serves sites by their names and
// tells its backends who the client is. `make lanes LANES=ingress` builds the controller (see image) and brings the lab up.
package ingress

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// lab is the cluster that all tests share.
var lab *clustertest.Lab

// clients are the addresses of the client on the LAN by which each of the ingress's addresses is reached.
var clients = map[string]string{"192.168.1.160": "192.168.1.100", "fd00:1::160": "fd00:1::100"}

func TestMain(m *testing.M) {
	lab = clustertest.Prepared()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := install(ctx); err != nil {
		log.Fatal("install the ingress controller: ", err)
	}
	os.Exit(m.Run())
}

func install(ctx context.Context) error {
	if err := lab.Lab(ctx, "load", filepath.Join(lab.Root, "bin/ingress-image.tar")); err != nil {
		return err
	}
	if err := lab.Apply(ctx, "test/lanes/ingress/testdata/ingress.yaml"); err != nil {
		return err
	}
	for _, what := range []string{"daemonset/ingress", "deployment/red", "deployment/blue"} {
		if err := lab.Rollout(ctx, clustertest.Namespace, what); err != nil {
			return err
		}
	}
	return nil
}

// wantSites wants each site from its own backend, which is told the client's address, at each of the ingress's addresses.
func wantSites(t *testing.T) {
	t.Helper()
	for addr, client := range clients {
		for _, site := range []string{"red", "blue"} {
			body := lab.WantSite(t, cluster.Client, addr, site+".example", 200)
			if !strings.HasPrefix(body, "pod "+site+"-") || !strings.HasSuffix(body, " forwarded "+client+"\n") {
				t.Errorf("%s.example at %s answers %q, want a pod of %s that is told of client %s", site, addr, body, site, client)
			}
		}
		lab.WantSite(t, cluster.Client, addr, "green.example", 404)
	}
}

// wantPublished waits until both Ingresses show the addresses, which the controller takes from its Service.
func wantPublished(t *testing.T, want ...string) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("the Ingresses show %v", want), func(ctx context.Context) error {
		list, err := lab.Kube.NetworkingV1().Ingresses(clustertest.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(list.Items) != 2 {
			return fmt.Errorf("there are %d", len(list.Items))
		}
		for _, ingress := range list.Items {
			var got []string
			for _, in := range ingress.Status.LoadBalancer.Ingress {
				got = append(got, in.IP)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				err = errors.Join(err, fmt.Errorf("%s shows %v", ingress.Name, got))
			}
		}
		return err
	})
}

// TestSites has the sites served before and after the node is lost by which they are reached.
func TestSites(t *testing.T) {
	lab.Configure(t, clustertest.Dual)
	node := lab.Nodes()[0].Name // which has none of the backends
	lab.Patch(t, "ingress", `{"metadata":{"annotations":{"`+kube.AnnotationAnnounceFrom+`":"`+node+`"}}}`)
	lab.WantAddresses(t, "ingress", "192.168.1.160", "fd00:1::160")
	addrs := []netip.AddrPort{netip.MustParseAddrPort("192.168.1.160:80"), netip.MustParseAddrPort("[fd00:1::160]:80")}
	lab.WantHeldBy(t, node, addrs...)
	wantPublished(t, "192.168.1.160", "fd00:1::160")
	wantSites(t)

	lab.FailOver(t, cluster.Client, node, addrs...)
	wantSites(t)
	wantPublished(t, "192.168.1.160", "fd00:1::160")
}
