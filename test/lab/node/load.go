package node

import (
	"context"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/invar-lb/invar/test/lab/command"
	"github.com/invar-lb/invar/test/lab/plan"
)

// Load imports docker-archive tars into the node's containerd. A name that is known there already gets the new image;
// containers that run the old one go on with it.
func Load(ctx context.Context, lab plan.Lab, h plan.Host, tars ...string) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, tar := range tars {
		g.Go(func() error {
			return command.Run(ctx, "", "ctr", "--address="+Socket(lab, h), "--namespace=k8s.io", "images", "import", tar)
		})
	}
	return g.Wait()
}

// Socket is where the node's containerd listens, as the machine sees it.
func Socket(lab plan.Lab, h plan.Host) string { return filepath.Join(lab.HostDir(h), socket) }
