package kube

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/kube/api"
)

// SecretKey is the key of the Secret's data that holds the text from which the speakers' shared key is derived.
const SecretKey = "secretkey"

// SecretText returns the text of the Secret of that name in the informer's store, empty if there is none.
func SecretText(inf cache.SharedIndexInformer, name cache.ObjectName) []byte {
	secret := Get[corev1.Secret](inf, name)
	if secret == nil {
		return nil
	}
	return secret.Data[SecretKey]
}

// WaitForSecret returns the text of the Secret of that name as soon as it has one. changed tells when to look again.
func WaitForSecret(ctx context.Context, inf cache.SharedIndexInformer, name cache.ObjectName, changed <-chan struct{},
	logger *slog.Logger,
) ([]byte, error) {
	for logged := false; ; logged = true {
		if text := SecretText(inf, name); len(text) > 0 {
			return text, nil
		}
		if !logged {
			logger.Info("waiting for the Secret that the controller makes", "secret", name.String())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// EnsureSecret makes sure that the Secret with the speakers' shared key exists. One that is there is left as it is, also
// if MetalLB made it. It tries again every retry until it succeeds or ctx is done.
func EnsureSecret(ctx context.Context, client api.Client, namespace, name string, retry time.Duration,
	logger *slog.Logger,
) error {
	for {
		err := ensureSecret(ctx, client, namespace, name)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		logger.Warn("Secret for the speakers is not there yet; will try again", "secret", name, "err", err)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return nil
		}
	}
}

func ensureSecret(ctx context.Context, client api.Client, namespace, name string) error {
	secrets := client.Secrets(namespace)
	_, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "metallb"}},
		Data:       map[string][]byte{SecretKey: newSecret()},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create Secret %s: %w", name, err)
	}
	return nil
}

// newSecret returns 32 random bytes as text.
func newSecret() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return base64.StdEncoding.AppendEncode(nil, b)
}
