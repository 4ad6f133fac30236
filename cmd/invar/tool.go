package main

import (
	"cmp"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/invar-lb/invar/pkg/daemon"
	"github.com/invar-lb/invar/pkg/explain"
)

// tool is what the commands share: where to read and write, and the flags that all of them take.
type tool struct {
	genericiooptions.IOStreams
	flags  *genericclioptions.ConfigFlags // kubectl's: --kubeconfig, --context, --namespace and so on
	home   string                         // namespace that Invar is installed in
	output format
	style  style

	statePort int  // of the daemons
	terminal  bool // output goes to one
}

func newTool(streams genericiooptions.IOStreams) *tool {
	t := &tool{
		IOStreams: streams,
		flags:     genericclioptions.NewConfigFlags(true),
		style:     styleOf(streams.Out, os.Getenv),
		terminal:  isTerminal(streams.Out),
	}
	t.flags.WithWrapConfigFn(func(c *rest.Config) *rest.Config {
		c.UserAgent = "invar/" + daemon.Version
		c.QPS = -1 // the API server's priority and fairness does the limiting
		return c
	})
	return t
}

// addFlags adds the flags that all commands take.
func (t *tool) addFlags(root *cobra.Command) {
	fs := root.PersistentFlags()
	t.flags.AddFlags(fs)
	fs.StringVar(&t.home, "invar-namespace", cmp.Or(os.Getenv("METALLB_NAMESPACE"), "metallb-system"),
		"namespace that Invar is installed in")
	fs.IntVar(&t.statePort, "state-port", explain.StatePort, "port on which speakers and controller serve their state, see their flag")
	fs.VarP(&t.output, "output", "o", "json, yaml, wide, or nothing for a text to read")
	complete(root, "namespace", t.completeNamespaces)
	complete(root, "invar-namespace", t.completeNamespaces)
	complete(root, "output", cobra.FixedCompletions([]cobra.Completion{"json", "yaml", "wide"}, cobra.ShellCompDirectiveNoFileComp))
}

// client connects to the cluster that the flags and the user's kubeconfig say.
func (t *tool) client() (kubernetes.Interface, error) {
	cfg, err := t.flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("create Kubernetes client: %w", err)
	}
	return client, nil
}

// namespace returns the namespace of --namespace or of the kubeconfig's context.
func (t *tool) namespace() (string, error) {
	ns, _, err := t.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("find the namespace: %w", err)
	}
	return ns, nil
}
