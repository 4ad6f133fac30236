package component

import (
	"context"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"github.com/invar-lb/invar/test/lab/plan"
)

// Known reports whether there is a program of that name.
func Known(name string) bool {
	switch name {
	case "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet":
		return true
	}
	return false
}

// Run runs a program until it ends and returns its exit code. The programs read their arguments from os.Args.
func Run(name string, args []string) int {
	os.Args = append([]string{name}, args...)
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
		return 0
	case "kube-apiserver":
		return cli.Run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		return cli.Run(controllermanager.NewControllerManagerCommand())
	case "kube-scheduler":
		return cli.Run(scheduler.NewSchedulerCommand())
	case "kube-proxy":
		return cli.Run(proxy.NewProxyCommand())
	default:
		return cli.Run(kubelet.NewKubeletCommand(context.Background()))
	}
}

// Kubectl runs kubectl against a lab's cluster and returns its exit code. What kubectl remembers of the cluster goes
// when the lab does: the next one may get the same port and be different.
func Kubectl(lab plan.Lab, args []string) int {
	os.Args = append([]string{"kubectl"}, args...)
	env := map[string]string{"KUBECONFIG": lab.Kubeconfig(), "KUBECACHEDIR": lab.KubectlCache()}
	for name, value := range env {
		if err := os.Setenv(name, value); err != nil {
			kubectlutil.CheckErr(err)
		}
	}
	if _, err := logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)); err != nil {
		kubectlutil.CheckErr(err)
	}
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints and exits with kubectl's own code
	}
	return 0
}
