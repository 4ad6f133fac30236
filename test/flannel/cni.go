package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// writeCNI writes a CNI configuration that follows from the file that flannel has written about its subnet. The container runtime
// takes it up as soon as it is there.
func writeCNI(path, subnetFile string) error {
	env, err := os.ReadFile(subnetFile)
	if err != nil {
		return fmt.Errorf("read subnet: %w", err)
	}
	conf, err := cniConf(string(env))
	if err != nil {
		return fmt.Errorf("read subnet from %s: %w", subnetFile, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	half := path + ".tmp" // a name that the runtime ignores
	if err := os.WriteFile(half, conf, 0o644); err != nil {
		return fmt.Errorf("write CNI configuration: %w", err)
	}
	if err := os.Rename(half, path); err != nil {
		return fmt.Errorf("write CNI configuration: %w", err)
	}
	return nil
}

// object is one of JSON.
type object = map[string]any

// cniConf returns what flannel's plugin hands to the bridge plugin, given the lines of /run/flannel/subnet.env.
func cniConf(env string) ([]byte, error) {
	mtu := 0
	var ranges [][]object
	var routes []object
	for line := range strings.Lines(env) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		var err error
		switch name {
		case "FLANNEL_MTU":
			mtu, err = strconv.Atoi(value)
		case "FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET":
			var p netip.Prefix
			p, err = netip.ParsePrefix(value)
			ranges = append(ranges, []object{{"subnet": p.Masked().String()}})
		case "FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK":
			_, err = netip.ParsePrefix(value)
			routes = append(routes, object{"dst": value})
		}
		if err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
	}
	if mtu == 0 || len(ranges) == 0 {
		return nil, fmt.Errorf("find MTU and subnet: not in %q", env)
	}
	conf := object{
		"cniVersion": "1.0.0",
		"name":       "cbr0",
		"plugins": []object{{
			"type": "bridge", "bridge": "cni0", "mtu": mtu, "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
			"ipam": object{"type": "host-local", "ranges": ranges, "routes": routes},
		}},
	}
	return json.MarshalIndent(conf, "", "  ")
}
