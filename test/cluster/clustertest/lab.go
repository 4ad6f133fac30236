package clustertest

import (
	"context"
	"errors"
	"log"
	"os"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// Namespace holds the Services of the tests and the echo pods behind them, one on each node.
const Namespace = "e2e"

// Bound is how long anything may take that has no bound of its own.
const Bound = time.Minute

// Mission is the configuration of the sample, which every test finds in force and leaves so.
const Mission = "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - 192.168.1.160-192.168.1.169\n"

// Dual is Mission with a few addresses of the other family in the same pool.
const Dual = Mission + "  - fd00:1::160-fd00:1::161\n"

// Lab is a cluster that all tests of a package share. They run one after the other, and each leaves it as it found it.
type Lab struct {
	*cluster.Cluster
}

// Open connects to the lab that $LAB_NAME names.
func Open(ctx context.Context) (*Lab, error) {
	c, err := cluster.Open(ctx, os.Getenv("LAB_NAME"))
	if err != nil {
		return nil, err
	}
	return &Lab{Cluster: c}, nil
}

// Prepared is what a TestMain begins with: the lab that $LAB_NAME names, with Invar installed and the echo pods running. It ends the
// process if that can't be had.
func Prepared() *Lab {
	return PreparedBy(func(ctx context.Context, l *Lab) error {
		if err := l.Install(ctx); err != nil {
			return err
		}
		return l.InstallEcho(ctx)
	})
}

// PreparedBy is Prepared for a lab on which something else is to be done than that.
func PreparedBy(prepare func(context.Context, *Lab) error) *Lab {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	l, err := Open(ctx)
	if err == nil {
		err = prepare(ctx, l)
	}
	if err != nil {
		log.Fatal("prepare the lab: ", err)
	}
	return l
}

// Install installs Invar as a user would, with the sample configuration as it stands, and waits until it is ready.
func (l *Lab) Install(ctx context.Context) error {
	for _, file := range []string{"manifests/invar.yaml", "config/samples/layer2.yaml"} {
		if err := l.Apply(ctx, file); err != nil {
			return err
		}
	}
	for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
		if err := l.Rollout(ctx, cluster.Namespace, what); err != nil {
			return err
		}
	}
	return nil
}

// InstallEcho makes Namespace and the pods that the tests' Services select, and waits until they are ready.
func (l *Lab) InstallEcho(ctx context.Context) error {
	if err := l.ApplyText(ctx, echo); err != nil {
		return err
	}
	return l.Rollout(ctx, Namespace, "daemonset/echo")
}

// echo is an HTTP server on each node. Being on each, it serves whichever node a test leaves.
const echo = `
apiVersion: v1
kind: Namespace
metadata:
  name: ` + Namespace + `
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  namespace: ` + Namespace + `
  name: echo
spec:
  selector:
    matchLabels: {app: echo}
  template:
    metadata:
      labels: {app: echo}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: invar-lab/echo:v1
        imagePullPolicy: IfNotPresent
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        readinessProbe:
          httpGet: {path: /, port: 8080}
          periodSeconds: 1
`

// Eventually waits for f to return no error.
func Eventually(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(t.Context()), Bound, errors.New("not within "+Bound.String()))
	defer cancel()
	if err := cluster.Eventually(ctx, func() error { return f(ctx) }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
