package kube

import (
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
)

// NewClient connects with the given kubeconfig, or as the pod's service account if it is empty.
func NewClient(kubeconfig, userAgent string) (kubernetes.Interface, error) {
	cfg, err := restConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("configure Kubernetes client: %w", err)
	}
	cfg.UserAgent = userAgent
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	// The API server's priority and fairness does the limiting. The client's own limit of 5 requests a second would
	// make a thousand new Services wait for minutes.
	cfg.QPS = -1
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create Kubernetes client: %w", err)
	}
	return client, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// NewRecorder returns a recorder that writes Events as the given component, and the function that flushes and stops it.
func NewRecorder(client kubernetes.Interface, component string, logger *slog.Logger) (record.EventRecorder, func()) {
	b := record.NewBroadcaster()
	b.StartEventWatcher(func(e *corev1.Event) {
		logger.Info("event", "reason", e.Reason, "kind", e.InvolvedObject.Kind,
			"namespace", e.InvolvedObject.Namespace, "name", e.InvolvedObject.Name, "message", e.Message)
	})
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component}), b.Shutdown
}
