package cluster

import (
	"context"
	_ "embed" // for the manifest
	"strings"

	"github.com/invar-lb/invar/test/lab/command"
	"github.com/invar-lb/invar/test/lab/image"
	"github.com/invar-lb/invar/test/lab/node"
	"github.com/invar-lb/invar/test/lab/plan"
)

//go:embed flannel.yaml
var flannelYAML string

// flannelManifest is what a user of kubeadm applies to have flannel.
func flannelManifest() string {
	return strings.NewReplacer("$IMAGE", image.Tag(image.Flannel), "$CNI", node.FlannelCNIDir, "$PODS4", plan.PodsV4,
		"$PODS6", plan.PodsV6).Replace(flannelYAML)
}

// installFlannel applies the manifest with the kubectl that is linked into this program. The nodes become Ready when flannel has
// written their pods' network.
func (b *builder) installFlannel(ctx context.Context) error {
	b.Say("installing flannel as the pod network")
	return command.Run(ctx, flannelManifest(), b.lab.Program(), "kubectl", "--name", b.lab.Name, "apply", "-f", "-")
}
