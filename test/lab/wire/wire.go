package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/lab/command"
	"github.com/invar-lb/invar/test/lab/plan"
)

// Lay makes all namespaces, cables, addresses and routes of a lab.
func Lay(ctx context.Context, lab plan.Lab) error {
	if err := batch(ctx, "", addNamespaces(lab)); err != nil {
		return err
	}
	if err := setSysctls(lab.SwitchNetns(), slices.Concat(quiet, switching)); err != nil {
		return err
	}
	for _, h := range lab.Hosts() {
		if err := setSysctls(h.Netns, sysctlsOf(h)); err != nil {
			return err
		}
	}
	if err := batch(ctx, lab.SwitchNetns(), switchScript(lab)); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, h := range lab.Hosts() {
		g.Go(func() error { return connect(ctx, lab, h) })
	}
	return g.Wait()
}

func connect(ctx context.Context, lab plan.Lab, h plan.Host) error {
	if err := batch(ctx, h.Netns, hostScript(lab, h)); err != nil || h.Role != plan.Node || lab.Flannel() {
		return err
	}
	return command.Run(ctx, masquerade(), "nsenter", "--net="+plan.NetnsPath(h.Netns), "nft", "-f", "-")
}

// Laid reports whether all namespaces of the lab are there.
func Laid(lab plan.Lab) bool {
	names := []string{lab.SwitchNetns()}
	for _, h := range lab.Hosts() {
		names = append(names, h.Netns)
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !isNamespace(plan.NetnsPath(name)) })
}

// isNamespace tells a namespace from the empty file that `ip netns add` mounts it on.
func isNamespace(path string) bool {
	var s unix.Statfs_t
	return unix.Statfs(path, &s) == nil && s.Type == unix.NSFS_MAGIC
}

// Remove removes all namespaces of the lab, also half-made ones, and with them the cables that end there.
func Remove(lab plan.Lab) error {
	entries, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list namespaces: %w", err)
	}
	for _, e := range entries {
		if !lab.OwnsNetns(e.Name()) {
			continue
		}
		path := filepath.Join("/run/netns", e.Name())
		for isNamespace(path) { // it may have been mounted twice
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount namespace %s: %w", e.Name(), err)
			}
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove namespace: %w", err)
		}
	}
	return nil
}

// Cut takes a host's cable out of the switch: the host's interface loses its carrier.
func Cut(ctx context.Context, lab plan.Lab, h plan.Host) error {
	return batch(ctx, lab.SwitchNetns(), "link set "+h.Port+" down\n")
}

// Heal puts the cable back.
func Heal(ctx context.Context, lab plan.Lab, h plan.Host) error {
	return batch(ctx, lab.SwitchNetns(), "link set "+h.Port+" up\n")
}

// Partition splits the switch in two: the given hosts reach each other, and the others each other. Interfaces keep their
// carrier, as when a cable between two switches breaks. An earlier partition is undone first.
func Partition(ctx context.Context, lab plan.Lab, hosts []plan.Host) error {
	if err := Unite(ctx, lab); err != nil {
		return err
	}
	return batch(ctx, lab.SwitchNetns(), partitionScript(hosts))
}

// Unite undoes Partition. A switch that is whole stays so.
func Unite(ctx context.Context, lab plan.Lab) error {
	out, err := command.Output(ctx, "ip", "-n", lab.SwitchNetns(), "-json", "link", "show", "type", "bridge")
	if err != nil {
		return fmt.Errorf("show switch: %w", err)
	}
	bridges, err := parseLinks(out)
	if err != nil || !slices.ContainsFunc(bridges, func(l link) bool { return l.Name == plan.OtherBridge }) {
		return err
	}
	return batch(ctx, lab.SwitchNetns(), uniteScript(lab))
}

// Port is the state of a host's port on the switch.
type Port struct {
	Cut   bool // the cable is out
	Apart bool // on the part of the switch that Partition has split off
}

// PortOf looks at a host's port.
func PortOf(ctx context.Context, lab plan.Lab, h plan.Host) (Port, error) {
	out, err := command.Output(ctx, "ip", "-n", lab.SwitchNetns(), "-json", "link", "show", "dev", h.Port)
	if err != nil {
		return Port{}, fmt.Errorf("show switch port %s: %w", h.Port, err)
	}
	links, err := parseLinks(out)
	if err != nil {
		return Port{}, err
	}
	return portOf(links), nil
}

// portOf returns the state of the one port that there should be.
func portOf(links []link) Port {
	if len(links) != 1 {
		return Port{Cut: true}
	}
	return Port{Cut: !slices.Contains(links[0].Flags, "UP"), Apart: links[0].Master == plan.OtherBridge}
}

// link is an interface in the answer of `ip -json link show`.
type link struct {
	Name   string   `json:"ifname"`
	Flags  []string `json:"flags"`
	Master string   `json:"master"`
}

func parseLinks(answer []byte) ([]link, error) {
	var links []link
	if err := json.Unmarshal(answer, &links); err != nil {
		return nil, fmt.Errorf("parse interfaces: %w", err)
	}
	return links, nil
}

func setSysctls(netns string, settings sysctls) error {
	return Do(plan.NetnsPath(netns), func() error {
		for _, s := range settings {
			if err := os.WriteFile(filepath.Join("/proc/sys", s.name), []byte(s.value), 0); err != nil {
				return fmt.Errorf("set sysctl in %s: %w", netns, err)
			}
		}
		return nil
	})
}

// batch feeds text to `ip`, inside of a namespace unless netns is empty.
func batch(ctx context.Context, netns, text string) error {
	args := []string{"-batch", "-"}
	if netns != "" {
		args = append([]string{"-n", netns}, args...)
	}
	return command.Run(ctx, text, "ip", args...)
}
