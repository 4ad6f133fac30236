package speaker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// stateEvery is how often the file is written at most.
	stateEvery = 2 * time.Second
	// apiWait is how long a speaker that finds a file waits for the API server before it uses it.
	apiWait = 2 * time.Second
)

// state is what is saved.
type state struct {
	Claims  []election.Claim `json:"claims"`
	Objects json.RawMessage  `json:"objects"`
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
	text, err := os.ReadFile(filepath.Join(s.cfg.StateDir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	var st state
	if err == nil {
		err = json.Unmarshal(text, &st)
	}
	if err == nil {
		err = s.stores().Load(st.Objects)
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
	var last []byte
	failed := false
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.unsaved.Swap(false) {
			continue
		}
		text, err := s.encodeState()
		if err == nil && !bytes.Equal(text, last) {
			err = s.writeState(text)
		}
		if err == nil {
			last = text
		} else if !failed {
			s.cfg.Logger.Warn("state is not saved", "err", err)
		}
		failed = err != nil
	}
}

// encodeState returns what is worth saving: of all endpoints in the cluster only those of Services that are announced.
func (s *Speaker) encodeState() ([]byte, error) {
	objects, err := s.stores().Save(func(obj any) bool {
		name, ok := kube.ServiceName(obj)
		if !ok || name == cache.NewObjectName(s.cfg.Namespace, kube.SpeakerService) {
			return true
		}
		_, wanted, _ := s.services.GetStore().GetByKey(name.String())
		return wanted
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(state{Claims: s.members.AllClaims(), Objects: objects})
}

// writeState replaces the file in one step: a crash leaves the old one or the new one.
func (s *Speaker) writeState(text []byte) error {
	path := filepath.Join(s.cfg.StateDir, stateFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}
