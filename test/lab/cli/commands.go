package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/invar-lb/invar/test/lab/cluster"
	"github.com/invar-lb/invar/test/lab/image"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/wire"
)

func up(ctx context.Context, args []string) error {
	fs, name := newFlags("up")
	nodes := fs.Int("nodes", 3, "how many nodes")
	mode := fs.String("proxy-mode", "nftables", "kube-proxy's `MODE`: "+strings.Join(plan.ProxyModes(), ", "))
	repo := fs.String("repo", "", "root of the repository (default: found from the working directory or this program)")
	var opts plan.Options
	fs.StringVar(&opts.PodNetwork, "pod-network", plan.PodNetworks()[0], "pod `NETWORK`: "+strings.Join(plan.PodNetworks(), ", "))
	fs.StringVar(&opts.Audit, "audit", "", "keep an audit log of the service accounts of this `NAMESPACE`, as audit.log beside the other logs")
	fs.StringVar(&opts.FeatureGates, "feature-gates", "", "kube-apiserver's feature `GATES`, for example WatchList=false")
	var tars []string
	fs.Func("image", "docker-archive `TAR` to load into every node; may be repeated", func(s string) error {
		tars = append(tars, s)
		return nil
	})
	if err := parseNone(fs, args); err != nil {
		return err
	}
	lab, err := plan.New(*name, *nodes, *mode)
	if err != nil {
		return err
	}
	if lab, err = lab.With(opts); err != nil {
		return err
	}
	if *repo == "" {
		*repo, err = image.FindRepo()
	} else {
		*repo, err = filepath.Abs(*repo)
	}
	if err != nil {
		return err
	}
	return cluster.Up(ctx, lab, cluster.Options{Repo: *repo, Images: tars}, newProgress())
}

func down(ctx context.Context, args []string) error {
	fs, name := newFlags("down")
	if err := parseNone(fs, args); err != nil {
		return err
	}
	return cluster.Down(ctx, *name, newProgress())
}

func kubeconfig(_ context.Context, args []string) error {
	fs, name := newFlags("kubeconfig")
	if err := parseNone(fs, args); err != nil {
		return err
	}
	lab, err := cluster.Load(*name)
	if err != nil {
		return err
	}
	fmt.Println(lab.Kubeconfig())
	return nil
}

// run leaves all flags but a leading --name to kubectl.
func (k Kubectl) run(_ context.Context, args []string) error {
	fs, name := newFlags("kubectl")
	own, args := splitName(args)
	if err := parseNone(fs, own); err != nil {
		return err
	}
	lab, err := cluster.Load(*name)
	if err != nil {
		return err
	}
	if code := k(lab, args); code != 0 {
		return exitError(code)
	}
	return nil
}

// splitName splits a leading --name NAME or --name=NAME off a command line.
func splitName(args []string) (own, rest []string) {
	n := 0
	switch {
	case len(args) > 1 && (args[0] == "--name" || args[0] == "-name"):
		n = 2
	case len(args) > 0 && (strings.HasPrefix(args[0], "--name=") || strings.HasPrefix(args[0], "-name=")):
		n = 1
	}
	return args[:n], args[n:]
}

// execute becomes the command, so that its input, output, signals and exit code are the caller's.
func execute(_ context.Context, args []string) error {
	_, h, command, err := parseHost("exec", args)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		return fmt.Errorf("name a command after --: %w", errUsage)
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("find nsenter: %w", err)
	}
	argv := append([]string{nsenter, "--net=" + plan.NetnsPath(h.Netns), "--"}, command...)
	return fmt.Errorf("run nsenter: %w", syscall.Exec(nsenter, argv, os.Environ()))
}

// fault makes a command that does something to one host.
func fault(name string, do func(context.Context, plan.Lab, plan.Host) error) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		lab, h, _, err := parseHost(name, args)
		if err != nil {
			return err
		}
		return do(ctx, lab, h)
	}
}

// componentCommand makes a command that does something to one component of a host.
func componentCommand(
	name string, do func(context.Context, plan.Lab, plan.Host, string, *cluster.Progress) error,
) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		lab, positional, _, err := parseUp(name, args)
		if err != nil {
			return err
		}
		if len(positional) != 2 {
			return fmt.Errorf("name one host and one component: %w", errUsage)
		}
		h, err := lab.Host(positional[0])
		if err != nil {
			return err
		}
		return do(ctx, lab, h, positional[1], newProgress())
	}
}

func partition(ctx context.Context, args []string) error {
	lab, names, _, err := parseUp("partition", args)
	if err != nil {
		return err
	}
	var hosts []plan.Host
	for _, name := range names {
		h, err := lab.Host(name)
		if err != nil {
			return err
		}
		hosts = append(hosts, h)
	}
	return wire.Partition(ctx, lab, hosts)
}

func unite(ctx context.Context, args []string) error {
	fs, name := newFlags("unite")
	if err := parseNone(fs, args); err != nil {
		return err
	}
	lab, err := cluster.Load(*name)
	if err != nil {
		return err
	}
	return wire.Unite(ctx, lab)
}

func load(ctx context.Context, args []string) error {
	fs, name := newFlags("load")
	tars, _, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(tars) == 0 {
		return fmt.Errorf("name an image's tar: %w", errUsage)
	}
	lab, err := cluster.Load(*name)
	if err != nil {
		return err
	}
	return cluster.LoadImages(ctx, lab, tars, newProgress())
}

func status(ctx context.Context, args []string) error {
	fs, name := newFlags("status")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := parseNone(fs, args); err != nil {
		return err
	}
	st, err := cluster.GetStatus(ctx, *name)
	if err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(st)
	}
	return printStatus(st)
}

func printStatus(st cluster.Status) error {
	fmt.Printf("lab %s, kubeconfig %s, kube-proxy mode %s\n\n", st.Name, st.Kubeconfig, st.ProxyMode)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tROLE\tREADY\tCABLE\tIPV4\tIPV6\tMAC\tNETNS")
	for _, h := range st.Hosts {
		cable := "in"
		if h.Cut {
			cable = "cut"
		}
		if h.Apart {
			cable += ", apart"
		}
		if h.Frozen {
			cable += ", frozen"
		}
		fmt.Fprintf(w, "%s\t%s\t%t\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.Role, h.Ready, cable, h.IPv4, h.IPv6, h.MAC, h.Netns)
	}
	fmt.Fprintln(w, "\nPROCESS\tHOST\tPID\tALIVE")
	for _, p := range st.Processes {
		fmt.Fprintf(w, "%s\t%s\t%d\t%t\n", p.Name, p.Host, p.PID, p.Alive)
	}
	return w.Flush()
}

func hold(_ context.Context, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	return cluster.Hold(args[0], args[1])
}

func forward(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	return cluster.Forward(ctx, args[0])
}
