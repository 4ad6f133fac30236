package controller

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/invar-lb/invar/pkg/config"
)

// Reasons of the Events on the ConfigMap.
const (
	reasonConfigLoaded  = "ConfigLoaded"
	reasonConfigInvalid = "ConfigInvalid"
	reasonConfigPartly  = "ConfigPartlyIgnored"
)

// loadConfig puts the newest configuration in force, or says what is wrong with it and keeps the last good one. It reports whether
// Services are to be served anew.
func (t *term) loadConfig() bool {
	cfg, changed, err := t.source.Load()
	if changed {
		t.reportConfig(cfg, err)
	}
	if !changed && t.pools {
		return false
	}
	t.frozen = nil
	if t.source.Object() == nil {
		t.frozen = err // no ConfigMap, no new addresses; those that are held stay
	}
	if cfg == nil {
		t.frozen = fmt.Errorf("no configuration is in force: %w", err)
		return true
	}
	if err := t.alloc.SetPools(cfg.AddressPools()); err != nil {
		t.cfg.Logger.Error("pools refused", "err", err) // config.Parse has checked more than SetPools does
		return false
	}
	t.pools = true
	t.cfg.Metrics.pools()
	return true
}

func (t *term) reportConfig(cfg *config.Config, err error) {
	obj := t.source.Object()
	switch {
	case err != nil:
		t.cfg.Logger.Error("configuration is invalid; the last good one stays in force", "err", err)
		t.event(obj, corev1.EventTypeWarning, reasonConfigInvalid, fmt.Sprintf("%s; %s", err, inForce(cfg)))
	case len(cfg.Warnings) > 0:
		t.event(obj, corev1.EventTypeWarning, reasonConfigPartly, cfg.Warnings.Error())
	default:
		t.event(obj, corev1.EventTypeNormal, reasonConfigLoaded, fmt.Sprintf("%d pools are in force", len(cfg.Pools)))
	}
}

func inForce(last *config.Config) string {
	if last == nil {
		return "no configuration is in force"
	}
	return "the last good configuration stays in force"
}

// event records an Event on obj, if there is an object to record it on.
func (t *term) event(obj *corev1.ConfigMap, eventType, reason, message string) {
	if obj != nil {
		t.cfg.Recorder.Event(obj, eventType, reason, message)
	}
}
