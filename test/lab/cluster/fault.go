package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/invar-lb/invar/test/lab/cgroup"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/wire"
)

// Freeze stops all processes of a host, pods included, and cuts its cable: to the LAN it is gone, and it finds out
// only when it is thawed, with a jump of its clocks. Like a virtual machine that is moved.
func Freeze(ctx context.Context, lab plan.Lab, h plan.Host) error {
	ctx, cancel := context.WithTimeout(ctx, grave)
	defer cancel()
	// The cable first: a kernel whose processes are frozen would go on answering ARP for its own addresses.
	if err := wire.Cut(ctx, lab, h); err != nil {
		return err
	}
	if err := cgroup.Freeze(ctx, h.Cgroup); err != nil {
		return fmt.Errorf("freeze %s: %w", h.Name, errors.Join(err, cgroup.Thaw(ctx, h.Cgroup), wire.Heal(ctx, lab, h)))
	}
	return nil
}

// Thaw undoes Freeze and Cut.
func Thaw(ctx context.Context, lab plan.Lab, h plan.Host) error {
	ctx, cancel := context.WithTimeout(ctx, grave)
	defer cancel()
	// The cable first: a machine that wakes up finds its network there.
	if err := wire.Heal(ctx, lab, h); err != nil {
		return err
	}
	if err := cgroup.Thaw(ctx, h.Cgroup); err != nil {
		return fmt.Errorf("thaw %s: %w", h.Name, err)
	}
	return nil
}
