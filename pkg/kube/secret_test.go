package kube

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/invar-lb/invar/pkg/kube/api/apitest"
)

const (
	secretNamespace = "metallb-system"
	secretName      = "memberlist"
	retry           = time.Second
)

// failing makes the first n requests of that verb for Secrets fail with err.
func failing(client *fake.Clientset, verb string, n int, err error) {
	client.PrependReactor(verb, "secrets", func(k8stesting.Action) (bool, runtime.Object, error) {
		if n == 0 {
			return false, nil, nil
		}
		n--
		return true, nil, err
	})
}

func TestEnsureSecret(t *testing.T) {
	existing := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: secretNamespace, Name: secretName},
		Data:       map[string][]byte{SecretKey: []byte("as MetalLB made it")},
	}
	resource := schema.GroupResource{Resource: "secrets"}
	tests := []struct {
		name    string
		objs    []runtime.Object
		prepare func(*fake.Clientset)
		kept    bool          // the Secret is existing, unchanged
		created int           // attempts to create
		takes   time.Duration // on the test's clock
	}{
		{name: "made", created: 1},
		{name: "MetalLB's stays", objs: []runtime.Object{existing}, kept: true},
		{
			name: "another made it in the same moment",
			objs: []runtime.Object{existing},
			prepare: func(c *fake.Clientset) {
				failing(c, "get", 1, apierrors.NewNotFound(resource, secretName))
			},
			kept: true, created: 1,
		},
		{
			name:    "the API server can't be read at first",
			prepare: func(c *fake.Clientset) { failing(c, "get", 3, errors.New("connection refused")) },
			created: 1, takes: 3 * retry,
		},
		{
			name: "the API server can't be written to at first",
			prepare: func(c *fake.Clientset) {
				failing(c, "create", 2, apierrors.NewForbidden(resource, secretName, errors.New("not yet")))
			},
			created: 3, takes: 2 * retry,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset(tt.objs...)
				if tt.prepare != nil {
					tt.prepare(client)
				}
				start := time.Now()
				if err := ensure(t.Context(), client); err != nil {
					t.Fatalf("EnsureSecret: %v", err)
				}
				if diff := cmp.Diff(tt.takes, time.Since(start)); diff != "" {
					t.Errorf("time taken (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.created, attempts(client, "create")); diff != "" {
					t.Errorf("attempts to create (-want +got):\n%s", diff)
				}
				got, err := client.CoreV1().Secrets(secretNamespace).Get(t.Context(), secretName, metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if tt.kept {
					if diff := cmp.Diff(existing.Data, got.Data); diff != "" {
						t.Errorf("data (-want +got):\n%s", diff)
					}
					return
				}
				checkNew(t, got)
			})
		})
	}
}

func ensure(ctx context.Context, client *fake.Clientset) error {
	return EnsureSecret(ctx, apitest.Client{Fake: client}, secretNamespace, secretName, retry, slog.New(slog.DiscardHandler))
}

func attempts(client *fake.Clientset, verb string) int {
	n := 0
	for _, a := range client.Actions() {
		if a.Matches(verb, "secrets") {
			n++
		}
	}
	return n
}

// checkNew checks a Secret that Invar made.
func checkNew(t *testing.T, s *corev1.Secret) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(string(s.Data[SecretKey]))
	if err != nil || len(raw) != 32 {
		t.Errorf("key %q is not 32 bytes in base64: %v", s.Data[SecretKey], err)
	}
	if diff := cmp.Diff(map[string]string{"app": "metallb"}, s.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestSecretsDiffer(t *testing.T) {
	if a, b := newSecret(), newSecret(); cmp.Equal(a, b) {
		t.Errorf("the same Secret twice: %s", a)
	}
}

func TestEnsureSecretStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		failing(client, "get", -1, errors.New("connection refused"))
		ended := make(chan error)

		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			ended <- ensure(ctx, client)
		}()
		time.Sleep(10*retry + retry/2)
		if diff := cmp.Diff(11, attempts(client, "get")); diff != "" {
			t.Errorf("attempts in ten and a half intervals (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("EnsureSecret returned %v after it was told to stop", err)
		}
	})
}
