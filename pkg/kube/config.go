package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/explain"
)

// ConfigKey is the key of the ConfigMap's data that holds the configuration.
const ConfigKey = "config"

// ConfigSource reads the configuration out of its ConfigMap and remembers the last good one. It is not safe for
// concurrent use.
type ConfigSource struct {
	informer cache.SharedIndexInformer
	name     cache.ObjectName
	metrics  *Metrics

	good    *config.Config
	version string // resourceVersion last looked at; "" if the ConfigMap was missing
	err     error
	looked  bool
}

// NewConfigSource reads ConfigMap name from an informer made by ConfigMap.
func NewConfigSource(inf cache.SharedIndexInformer, name cache.ObjectName, metrics *Metrics) *ConfigSource {
	return &ConfigSource{informer: inf, name: name, metrics: metrics}
}

// Load looks at the ConfigMap as it is now. It returns the last good configuration, nil if there never was one; whether
// something changed since the last call; and what is wrong with the newest, nil if nothing is.
func (s *ConfigSource) Load() (cfg *config.Config, changed bool, err error) {
	cm := Get[corev1.ConfigMap](s.informer, s.name)
	version := ""
	if cm != nil {
		version = cm.ResourceVersion
	}
	if s.looked && version == s.version {
		return s.good, false, s.err
	}
	s.looked, s.version = true, version
	s.err = s.parse(cm)
	if s.err != nil {
		s.metrics.ConfigStale()
	} else {
		s.metrics.ConfigLoaded()
	}
	return s.good, true, s.err
}

// State returns what the last Load found, for people to read.
func (s *ConfigSource) State() (c explain.Config) {
	if s.err != nil {
		c.Error = s.err.Error()
	}
	if s.good != nil {
		c.Pools = len(s.good.Pools)
		for _, w := range s.good.Warnings {
			c.Warnings = append(c.Warnings, w.Error())
		}
	}
	return c
}

func (s *ConfigSource) parse(cm *corev1.ConfigMap) error {
	if cm == nil {
		return fmt.Errorf("ConfigMap %s does not exist", s.name)
	}
	cfg, err := config.Parse(cm.Data[ConfigKey])
	if err != nil {
		return err
	}
	s.good = cfg
	return nil
}

// Object returns the ConfigMap, to attach Events to, or nil if it does not exist.
func (s *ConfigSource) Object() *corev1.ConfigMap { return Get[corev1.ConfigMap](s.informer, s.name) }
