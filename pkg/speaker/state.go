package speaker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
)

// What a speaker knows is saved on its node, so that one that crashed while the API server is away comes back and answers.
// The file lies in a volume that lives as long as the pod; there the API server would be needed for a new one anyway.
const (
	stateFile = "state.json"
	// stateEvery is how often the file is written at most, or if that takes long, once in stateFactor times as long as it took.
	stateEvery  = 2 * time.Second
	stateFactor = 50
	// apiWait is how long a speaker that finds a file waits for the API server before it uses it.
	apiWait = 2 * time.Second
)

// state is the first line of the file; what [kube.Stores.Save] writes follows.
type state struct {
	Claims []election.Claim `json:"claims"`
}

// stores are the caches that are saved.
func (s *Speaker) stores() kube.Stores {
	return kube.Stores{
		"services": s.services, "endpoints": s.slices, "nodes": s.nodes, "config": s.configMap, "secret": s.secret,
		"speakers": s.peerSlices,
	}
}

// restore fills the caches from the file, if there is one, and returns the claims that were known.
func (s *Speaker) restore() (claims []election.Claim, found bool) {
	if s.cfg.StateDir == "" {
		return nil, false
	}
	file, err := os.Open(filepath.Join(s.cfg.StateDir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	var st state
	if err == nil {
		defer file.Close()
		in := json.NewDecoder(bufio.NewReader(file))
		if err = in.Decode(&st); err == nil {
			err = s.stores().Load(in)
		}
	}
	if err != nil {
		s.cfg.Logger.Warn("saved state is not used", "err", err)
		return nil, false
	}
	return st.Claims, true
}

// keepState saves what has changed, until ctx is done.
func (s *Speaker) keepState(ctx context.Context) {
	if s.cfg.StateDir == "" {
		return
	}
	var last []byte // the hash of what was saved
	failed := false
	keepSaving(ctx, s.unsaved, func() {
		sum, err := s.saveState(last)
		if err == nil {
			last = sum
		} else if !failed {
			s.cfg.Logger.Warn("state is not saved", "err", err)
		}
		failed = err != nil
	})
}

// keepSaving calls save after changes, until ctx is done. These come in bursts, at times when there is more to do, and so save is called
// some time after the first of them, and the more rarely, the longer it takes.
func keepSaving(ctx context.Context, changed <-chan struct{}, save func()) {
	wait := stateEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		if pause(ctx, wait); ctx.Err() != nil {
			return
		}
		select {
		case <-changed: // is saved as well
		default:
		}
		begin := time.Now()
		save()
		wait = max(stateEvery, stateFactor*time.Since(begin))
	}
}

// saveState replaces the file in one step, so that a crash leaves the old one or the new one, and returns the hash of the new one.
// If that is last, the old one stays.
func (s *Speaker) saveState(last []byte) ([]byte, error) {
	path := filepath.Join(s.cfg.StateDir, stateFile)
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("save state: %w", err)
	}
	hash, buffer := sha256.New(), bufio.NewWriter(file)
	err = errors.Join(s.writeState(io.MultiWriter(buffer, hash)), buffer.Flush(), file.Close())
	sum := hash.Sum(nil)
	switch {
	case err != nil:
	case bytes.Equal(sum, last):
		err = os.Remove(path + ".new")
	default:
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return nil, fmt.Errorf("save state: %w", err)
	}
	return sum, nil
}

// writeState writes what is worth saving: of all endpoints in the cluster only those of Services that are announced.
func (s *Speaker) writeState(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(state{Claims: s.members.AllClaims()}); err != nil {
		return err
	}
	return s.stores().Save(w, func(obj any) bool {
		name, ok := kube.ServiceName(obj)
		if !ok || name == cache.NewObjectName(s.cfg.Namespace, kube.SpeakerService) {
			return true
		}
		return s.ours(obj)
	})
}
