package membership

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// The speakers learn of a new key at different times, within seconds of each other. So each one understands both keys for a
// while, and encrypts with the new one only when all can be expected to understand it.
const (
	rotateUse    = 10 * time.Second
	rotateForget = time.Minute
)

// keys holds the keys in use.
type keys struct {
	ring *memberlist.Keyring

	mu     sync.Mutex
	newest []byte
	timers []*time.Timer
}

func newKeys(key []byte) (*keys, error) {
	if len(key) == 0 { // memberlist would then encrypt nothing
		return nil, errors.New("no key: speakers don't talk unencrypted")
	}
	ring, err := memberlist.NewKeyring(nil, key)
	return &keys{ring: ring, newest: key}, err
}

// Rotate goes over to another key, from [DeriveKey]. From now on this speaker understands both. It encrypts with the new key
// after ten seconds and forgets the old one after a minute: members that have not learned the new key by then are lost.
// Rotating to the newest key does nothing.
func (m *Members) Rotate(key []byte) error {
	k := m.keys
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes.Equal(key, k.newest) {
		return nil
	}
	if err := k.ring.AddKey(key); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	k.newest = key
	for _, t := range k.timers {
		t.Stop() // what they would use is out of date
	}
	k.timers = []*time.Timer{
		time.AfterFunc(rotateUse, func() { k.use(key) }),
		time.AfterFunc(rotateForget, func() { k.forgetAllBut(key) }),
	}
	return nil
}

// Follow rotates to the key that the Secret's text stands for. Without a text, as when the Secret is deleted, the key stays.
func (m *Members) Follow(secret []byte) error {
	if len(secret) == 0 {
		return nil
	}
	key, err := DeriveKey(secret)
	if err != nil {
		return err
	}
	return m.Rotate(key)
}

// use encrypts with key, unless there is a newer one.
func (k *keys) use(key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes.Equal(key, k.newest) {
		_ = k.ring.UseKey(key) // it has been added
	}
}

// forgetAllBut removes all other keys than key, unless there is a newer one.
func (k *keys) forgetAllBut(key []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !bytes.Equal(key, k.newest) {
		return
	}
	// The last one first: memberlist would move those behind it while others read them.
	for _, old := range slices.Backward(k.ring.GetKeys()) {
		if !bytes.Equal(old, key) {
			_ = k.ring.RemoveKey(old) // it is not the primary one any more
		}
	}
}

func (k *keys) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.timers {
		t.Stop()
	}
}
