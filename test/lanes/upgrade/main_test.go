//go:build e2e

// Package upgrade replaces one version of what answers for the addresses by another, on a lab whose Services are in use: MetalLB
// 0.12 by Invar and back, and an earlier Invar by this one and back. hack/lane-upgrade.sh makes what it installs.
package upgrade

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// failoverBound is for how long new connections may fail at most, as in a failover.
const failoverBound = time.Second

// built is where hack/lane-upgrade.sh puts what it makes.
const built = "bin/lanes/upgrade"

// lab is the cluster that all tests share. Each installs what it upgrades from, and removes all of it.
var lab *clustertest.Lab

func TestMain(m *testing.M) {
	lab = clustertest.PreparedBy(prepare)
	os.Exit(m.Run())
}

func prepare(ctx context.Context, lab *clustertest.Lab) error {
	for _, image := range []string{"metallb/controller.tar", "metallb/speaker.tar", "from/invar.tar"} {
		if err := lab.Lab(ctx, "load", filepath.Join(built, image)); err != nil {
			return err
		}
	}
	return lab.InstallEcho(ctx)
}

// release is a version that can be installed.
type release struct {
	name     string
	manifest string // as kubectl apply takes it
	image    string // a part of the names of its images
}

// thisInvar is that of this tree.
func thisInvar(t *testing.T) release {
	return release{"this Invar", read(t, "manifests/invar.yaml"), "ghcr.io/invar-lb/invar:v"}
}

// formerInvar is that of an earlier commit.
func formerInvar(t *testing.T) release {
	return release{"former Invar", read(t, built+"/from/invar.yaml"), "ghcr.io/invar-lb/invar:from"}
}

// metalLB is MetalLB 0.12.1 by its own manifests. Of these, PodSecurityPolicies are left out: Kubernetes 1.25 and later have no such
// kind. The nodes have the images already.
func metalLB(t *testing.T) release {
	t.Helper()
	var kept []string
	all := read(t, built+"/metallb/namespace.yaml") + "---\n" + read(t, built+"/metallb/metallb.yaml")
	for object := range strings.SplitSeq(all, "\n---\n") {
		if !strings.Contains(object, "kind: PodSecurityPolicy\n") {
			kept = append(kept, object)
		}
	}
	return release{"MetalLB", strings.Join(kept, "\n---\n"), "quay.io/metallb/"}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.Root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// onDelete returns r with speakers that are replaced when their pods are deleted, one by one as the test wants it.
func (r release) onDelete(t *testing.T) release {
	t.Helper()
	rolling := regexp.MustCompile(`(?s)  updateStrategy:\n    rollingUpdate:\n      maxUnavailable: 1\n    type: RollingUpdate\n`)
	if r.manifest = rolling.ReplaceAllString(r.manifest, "  updateStrategy: {type: OnDelete}\n"); !strings.Contains(r.manifest, "OnDelete") {
		t.Fatalf("the manifest of %s has another updateStrategy than was thought", r.name)
	}
	return r
}

// apply applies r as a user would.
func apply(t *testing.T, r release) {
	t.Helper()
	if err := lab.ApplyText(t.Context(), r.manifest); err != nil {
		t.Fatal(err)
	}
}

// ready waits until controller and speakers are those of the release that was applied last.
func ready(t *testing.T) {
	t.Helper()
	for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
		if err := lab.Rollout(t.Context(), cluster.Namespace, what); err != nil {
			t.Fatal(err)
		}
	}
}

// install installs r with the sample's pool, and removes all that is in its namespace after the test. The Events of an earlier test
// are forgotten.
func install(t *testing.T, r release) {
	t.Helper()
	t.Cleanup(func() { remove(t) })
	if _, err := lab.Kubectl(t.Context(), "-n", clustertest.Namespace, "delete", "events", "--all"); err != nil {
		t.Fatal(err)
	}
	apply(t, r)
	if err := lab.Apply(t.Context(), "config/samples/layer2.yaml"); err != nil {
		t.Fatal(err)
	}
	ready(t)
}

// remove deletes all that releases have made.
func remove(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	for _, args := range [][]string{
		{"delete", "namespace", cluster.Namespace, "--ignore-not-found", "--timeout=120s"},
		{"delete", "clusterrole,clusterrolebinding", "-l", "app=metallb"},
	} {
		if _, err := lab.Kubectl(ctx, args...); err != nil {
			t.Error(err)
		}
	}
}

// wantOnly waits until all pods are those of r, as many as there have to be.
func wantOnly(t *testing.T, r release) {
	t.Helper()
	clustertest.Eventually(t, "all pods are of "+r.name, func(ctx context.Context) error {
		pods, err := lab.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if got, want := len(pods.Items), 1+len(lab.Nodes()); got != want {
			return fmt.Errorf("%d pods, want %d", got, want)
		}
		for _, p := range pods.Items {
			if image := p.Spec.Containers[0].Image; !strings.Contains(image, r.image) {
				return fmt.Errorf("pod %s has image %s", p.Name, image)
			}
		}
		return nil
	})
}
