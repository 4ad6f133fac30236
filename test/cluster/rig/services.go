package rig

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

// MaxServices is how many Services of CreateServices a benchmark can have: each takes a node port, of which there are 2,768.
const MaxServices = 2768

// clients is how many Services are being created at any time.
const clients = 16

// checkServices returns an error if there can't be n Services.
func checkServices(n int) error {
	if n < 1 || n > MaxServices {
		return fmt.Errorf("number of Services is %d, want 1 to %d", n, MaxServices)
	}
	return nil
}

// Each calls f for 0 to n-1, as many calls at a time as there are clients, and returns the first error.
func Each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}

// CreateServices makes n Services with the given annotations, and returns when the last create has. They select the pods that
// Echo makes.
func CreateServices(ctx context.Context, client kubernetes.Interface, n int, annotations map[string]string) error {
	return Each(ctx, n, func(ctx context.Context, i int) error {
		s := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bench-%05d", i), Annotations: annotations},
			Spec: corev1.ServiceSpec{
				Type:     corev1.ServiceTypeLoadBalancer,
				Selector: map[string]string{"app": "bench"},
				Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
			},
		}
		if _, err := client.CoreV1().Services(Namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create Service %s: %w", s.Name, err)
		}
		return nil
	})
}

// Echo returns an HTTP server for the Services: one pod somewhere as a Deployment, one on each node as a DaemonSet.
func Echo(kind string) string {
	return `
apiVersion: apps/v1
kind: ` + kind + `
metadata:
  namespace: ` + Namespace + `
  name: echo
spec:
  selector:
    matchLabels: {app: bench}
  template:
    metadata:
      labels: {app: bench}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: invar-lab/echo:v1
        imagePullPolicy: IfNotPresent
        readinessProbe:
          httpGet: {path: /, port: 8080}
          periodSeconds: 1
`
}
