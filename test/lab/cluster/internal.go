package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/invar-lb/invar/test/lab/node"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
	"github.com/invar-lb/invar/test/lab/wire"
)

// Hold is the body of HoldCommand.
func Hold(name, host string) error {
	lab, err := Load(name)
	if err != nil {
		return err
	}
	h, err := lab.Host(host)
	if err != nil {
		return err
	}
	return node.Hold(lab, h)
}

// Forward is the body of ForwardCommand: the machine reaches kube-apiserver through it on the loopback interface.
func Forward(ctx context.Context, name string) error {
	lab, err := Load(name)
	if err != nil {
		return err
	}
	inherited := os.NewFile(proc.InheritedFD, "listener")
	l, err := net.FileListener(inherited)
	if err := errors.Join(err, inherited.Close()); err != nil {
		return fmt.Errorf("inherit listener: %w", err)
	}
	return wire.Forward(ctx, l, plan.NetnsPath(lab.ControlPlane().Netns), fmt.Sprintf("127.0.0.1:%d", plan.APIPort))
}
