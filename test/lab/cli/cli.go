package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/invar-lb/invar/test/lab/cluster"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/wire"
)

const usage = `lab runs a real Kubernetes cluster on this machine, every host of it in a network namespace.

  lab up [--nodes 3] [--proxy-mode nftables] [--pod-network bridge] [--image IMAGE.tar ...] [--repo DIR] [--audit NAMESPACE]
         [--feature-gates GATES]
                               start, or repair, a cluster; returns when all nodes are Ready
  lab down                     remove everything, also after a crash
  lab status [--json]          hosts, addresses, processes
  lab kubeconfig               print the path of the administrator's kubeconfig
  lab kubectl ARGS...          kubectl, built in
  lab exec HOST -- CMD...      run a command in the network namespace of a host
  lab cut HOST                 take the host's cable out of the switch
  lab heal HOST                put it back
  lab freeze HOST              stop all processes and pods of the host, and cut its cable
  lab thaw HOST                let it go on
  lab partition HOST...        split the LAN: these hosts on one side, all others on the other
  lab unite                    make it whole again
  lab kill HOST COMPONENT      end a component with SIGKILL: etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
                               or of a node kubelet, kube-proxy
  lab start HOST COMPONENT     start it again
  lab load IMAGE.tar...        import images into the containerd of every node

Every command takes --name NAME (default "lab", or $LAB_NAME); kubectl takes it before its own arguments.
Hosts are control-plane, node1, node2, ... and three that are not in the cluster: client, which is on the LAN, router, the
LAN's gateway, and outside, a client on the network behind it.
`

// errUsage says that the command line was wrong; what was wrong with it has been printed.
var errUsage = errors.New("wrong usage, see lab help")

// exitError is the exit code of a program that has said itself what was wrong.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Kubectl runs kubectl on the lab of a plan and returns its exit code. It is passed in, because it links Kubernetes.
type Kubectl func(lab plan.Lab, args []string) int

// Run executes one command and returns the exit code.
func Run(args []string, kubectl Kubectl) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, args[0], args[1:], kubectl)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	fmt.Fprintln(os.Stderr, "lab:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

func dispatch(ctx context.Context, name string, args []string, kubectl Kubectl) error {
	commands := map[string]func(ctx context.Context, args []string) error{
		"up": up, "down": down, "status": status, "kubeconfig": kubeconfig, "kubectl": kubectl.run, "exec": execute,
		"cut": fault("cut", wire.Cut), "heal": fault("heal", wire.Heal),
		"freeze": fault("freeze", cluster.Freeze), "thaw": fault("thaw", cluster.Thaw), "load": load,
		"partition": partition, "unite": unite,
		"kill": componentCommand("kill", cluster.Kill), "start": componentCommand("start", cluster.Start),
		cluster.HoldCommand: hold, cluster.ForwardCommand: forward,
	}
	if name == "help" || name == "-h" || name == "--help" {
		fmt.Print(usage)
		return nil
	}
	command, ok := commands[name]
	if !ok {
		return fmt.Errorf("run command %q: %w", name, errUsage)
	}
	return command(ctx, args)
}

// newFlags makes a flag set with the flag that all commands have.
func newFlags(command string) (*flag.FlagSet, *string) {
	fs := flag.NewFlagSet("lab "+command, flag.ContinueOnError)
	name := "lab"
	if env := os.Getenv("LAB_NAME"); env != "" {
		name = env
	}
	return fs, fs.String("name", name, "the lab's `NAME`; also $LAB_NAME")
}

// parse parses flags before, between and after the positional arguments, up to "--". What follows that is rest.
func parse(fs *flag.FlagSet, args []string) (positional, rest []string, err error) {
	for i, arg := range args {
		if arg == "--" {
			args, rest = args[:i], args[i+1:]
			break
		}
	}
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, nil, err
			}
			return nil, nil, errUsage // the flag package has printed the reason
		}
		if fs.NArg() == 0 {
			return positional, rest, nil
		}
		positional, args = append(positional, fs.Arg(0)), fs.Args()[1:]
	}
}

// parseNone parses the command line of a command without positional arguments.
func parseNone(fs *flag.FlagSet, args []string) error {
	positional, rest, err := parse(fs, args)
	if err == nil && len(positional)+len(rest) > 0 {
		err = fmt.Errorf("unexpected argument %q: %w", append(positional, rest...)[0], errUsage)
	}
	return err
}

// parseHost parses the command line of a command about one host of a lab that is up.
func parseHost(command string, args []string) (lab plan.Lab, h plan.Host, rest []string, err error) {
	lab, positional, rest, err := parseUp(command, args)
	if err != nil {
		return lab, h, nil, err
	}
	if len(positional) != 1 {
		return lab, h, nil, fmt.Errorf("name one host: %w", errUsage)
	}
	h, err = lab.Host(positional[0])
	return lab, h, rest, err
}

// parseUp parses the command line of a command about a lab that is up, with at least one positional argument.
func parseUp(command string, args []string) (lab plan.Lab, positional, rest []string, err error) {
	fs, name := newFlags(command)
	positional, rest, err = parse(fs, args)
	if err != nil {
		return lab, nil, nil, err
	}
	if len(positional) == 0 {
		return lab, nil, nil, fmt.Errorf("name a host: %w", errUsage)
	}
	lab, err = cluster.Load(*name)
	return lab, positional, rest, err
}

func newProgress() *cluster.Progress { return cluster.NewProgress(os.Stderr) }
