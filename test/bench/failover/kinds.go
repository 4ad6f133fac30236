package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// controlPlane is the lab's host of that role.
const controlPlane = "control-plane"

// excludeLabel keeps Services of type LoadBalancer away from a node, see k8s.io/api/core/v1, LabelNodeExcludeBalancers.
const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers"

// kind is one way to lose a node or a speaker. Each step is given the node that answers for the address before the fault;
// steps that are nil do nothing.
type kind struct {
	name string
	// before comes ahead of the fault, with the round at rest once more after it.
	before func(context.Context, *bench) error
	inject func(ctx context.Context, b *bench, node string) error
	undo   func(ctx context.Context, b *bench, node string) error
	// after comes when all is measured, and readies the lab for the next round.
	after func(ctx context.Context, b *bench, node string) error
	// moves is set if another node must answer after the fault.
	moves bool
	// answers is set if what counts is for how long nobody answered ARP. A dead speaker's node still serves clients that know
	// its MAC.
	answers bool
	// mass is the kind that has rounds of its own.
	mass bool
}

// kinds are all kinds, in the order in which they are measured. The last one leaves a thousand Services behind.
var kinds = []kind{
	{name: "cable-cut", moves: true, inject: lab("cut"), undo: lab("heal")},
	{name: "node-freeze", moves: true, inject: lab("freeze"), undo: lab("thaw")},
	{name: "speaker-kill", answers: true, inject: killSpeaker, after: deleteSpeaker},
	{name: "speaker-delete", moves: true, inject: deleteSpeaker},
	{name: "rollout", inject: restartSpeakers},
	{name: "drain-label", moves: true, inject: label("="), undo: label("-")},
	{
		name: "api-down-then-cable-cut", moves: true, before: freezeControlPlane, inject: lab("cut"),
		undo: func(ctx context.Context, b *bench, node string) error {
			return errors.Join(b.Lab(ctx, "heal", node), b.Lab(ctx, "thaw", controlPlane))
		},
	},
	{name: "partition-heal", moves: true, inject: unbridge, undo: rebridge},
	{name: "two-nodes-lost", moves: true, inject: onTwo(unbridge), undo: onTwo(rebridge)},
	{name: "mass-1000", mass: true},
}

// choose returns the kinds of the given names, which are separated by commas; all if there are none.
func choose(names string) ([]kind, error) {
	if names == "" {
		return kinds, nil
	}
	want := strings.Split(names, ",")
	chosen := slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !slices.Contains(want, k.name) })
	for _, name := range want {
		if !slices.ContainsFunc(chosen, func(k kind) bool { return k.name == name }) {
			return nil, fmt.Errorf("there is no kind %q", name)
		}
	}
	return chosen, nil
}

// lab runs a command of bin/lab on the node.
func lab(command string) func(context.Context, *bench, string) error {
	return func(ctx context.Context, b *bench, node string) error { return b.Lab(ctx, command, node) }
}

func freezeControlPlane(ctx context.Context, b *bench) error {
	return b.Lab(ctx, "freeze", controlPlane)
}

func killSpeaker(ctx context.Context, b *bench, node string) error {
	pid, err := b.PID(ctx, cluster.Namespace, rig.SpeakerLabels, node, "speaker")
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// deleteSpeaker deletes the speaker's pod and waits until it is gone. After a kill it makes the next one find a container
// that kubelet will restart at once again, for kubelet waits ever longer before it restarts one that fails again.
func deleteSpeaker(ctx context.Context, b *bench, node string) error {
	_, err := b.Kubectl(ctx, "-n", cluster.Namespace, "delete", "pod", "-l", rig.SpeakerLabels,
		"--field-selector", "spec.nodeName="+node, "--wait=true")
	return err
}

func restartSpeakers(ctx context.Context, b *bench, _ string) error {
	if _, err := b.Kubectl(ctx, "-n", cluster.Namespace, "rollout", "restart", "daemonset/speaker"); err != nil {
		return err
	}
	return b.ready(ctx)
}

// label sets the label with "=" and removes it with "-".
func label(change string) func(context.Context, *bench, string) error {
	return func(ctx context.Context, b *bench, node string) error {
		_, err := b.Kubectl(ctx, "label", "node", node, excludeLabel+change)
		return err
	}
}

// unbridge takes the node's port out of the switch's bridge, and rebridge puts it back. Nothing passes meanwhile, yet the
// node's interface keeps its carrier, as with a fault on the other side of a switch.
func unbridge(ctx context.Context, b *bench, node string) error { return b.port(ctx, node, "nomaster") }

func rebridge(ctx context.Context, b *bench, node string) error {
	return b.port(ctx, node, "master", "lan")
}

// onTwo does something to the node and to another one of three, so that one is left.
func onTwo(do func(context.Context, *bench, string) error) func(context.Context, *bench, string) error {
	return func(ctx context.Context, b *bench, node string) error {
		nodes := b.Nodes()
		if nodes[0].Name == node {
			nodes = nodes[1:]
		}
		return errors.Join(do(ctx, b, node), do(ctx, b, nodes[0].Name))
	}
}

// port changes the node's port on the switch by ip-link(8), in a few milliseconds.
func (b *bench) port(ctx context.Context, node string, change ...string) error {
	args := append([]string{"-n", b.Name + "-switch", "link", "set", "dev", "p-" + node}, change...)
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
