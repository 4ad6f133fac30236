package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
)

// planAnswer is the answer of invar plan.
type planAnswer struct {
	File     string        `json:"file"`
	Note     string        `json:"note,omitempty"` // why the prediction may be off
	Warnings config.Errors `json:"warnings"`
	*explain.Plan
}

func newPlanCommand(t *tool) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Tell what a configuration would do to the cluster's Services",
		Long: `Tell what a configuration would do to the cluster's Services: which keep their addresses, get one, wait, or would be left
with an address that lies in no pool. FILE is as for validate. The controller's own code decides; nothing is changed.

The exit code is 3 if an address would be stranded that lies in a pool today.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, next, err := t.readConfig(args[0], name)
			if errors.As(err, &config.Errors{}) {
				return t.printValidation(validationOf(file, nil, err))
			}
			if err != nil {
				return err
			}
			client, err := t.client()
			if err != nil {
				return err
			}
			a, err := t.plan(cmd.Context(), client, next, name)
			if err != nil {
				return err
			}
			a.File, a.Warnings = file, append(config.Errors{}, next.Warnings...)
			if err := t.print(a, a.write); err != nil {
				return err
			}
			if len(a.Strands()) > 0 {
				return errNo
			}
			return nil
		},
	}
	addConfigFlag(cmd, &name)
	return cmd
}

// plan predicts what next would do in the place of the ConfigMap of that name.
func (t *tool) plan(ctx context.Context, client kubernetes.Interface, next *config.Config, configMap string) (*planAnswer, error) {
	a := &planAnswer{}
	now, err := t.configInForce(ctx, client, configMap)
	if errors.As(err, &config.Errors{}) {
		a.Note = "the ConfigMap in the cluster has mistakes; the controller works by the last good one, which is not known here"
	} else if err != nil {
		return nil, err
	}
	services, err := t.applicants(ctx, client)
	if err != nil {
		return nil, err
	}
	a.Plan, err = explain.Predict(now, next, services)
	return a, err
}

// configInForce returns the configuration in the cluster, nil if there is none.
func (t *tool) configInForce(ctx context.Context, client kubernetes.Interface, name string) (*config.Config, error) {
	cm, err := client.CoreV1().ConfigMaps(t.home).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get ConfigMap %s/%s: %w", t.home, name, err)
	}
	return config.Parse(cm.Data[kube.ConfigKey])
}

// applicants returns the Services that the controller serves.
func (t *tool) applicants(ctx context.Context, client kubernetes.Interface) ([]explain.Applicant, error) {
	class, err := t.lbClass(ctx, client)
	if err != nil {
		return nil, err
	}
	services, err := loadBalancers(ctx, client, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	labels := map[string]map[string]string{}
	for i := range namespaces.Items {
		labels[namespaces.Items[i].Name] = namespaces.Items[i].Labels
	}
	var out []explain.Applicant
	for i := range services {
		obj := &services[i]
		s := kube.ServiceOf(obj)
		if obj.Spec.Type != corev1.ServiceTypeLoadBalancer || s.Class != class || !s.IPv4 && !s.IPv6 {
			continue
		}
		out = append(out, explain.Applicant{
			Request: s.Request(labels[obj.Namespace]), Invalid: s.AddrsErr, Shown: s.Ingress, Created: obj.CreationTimestamp.Time,
		})
	}
	return out, nil
}

// lbClass returns the class of Services that the controller serves, which its command line has; empty if there is no controller.
func (t *tool) lbClass(ctx context.Context, client kubernetes.Interface) (string, error) {
	d, err := client.AppsV1().Deployments(t.home).Get(ctx, controllerName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("get Deployment %s/%s: %w", t.home, controllerName, err)
	}
	return argument(&d.Spec.Template.Spec, "lb-class"), nil
}

// controllerName is the name of the controller's Deployment, and speakerName that of the speakers' DaemonSet.
const (
	controllerName = "controller"
	speakerName    = "speaker"
)

// argument returns the value of a flag on the command line of a pod's first container, as --name=value or --name value.
func argument(spec *corev1.PodSpec, name string) string {
	if len(spec.Containers) == 0 {
		return ""
	}
	args := slices.Concat(spec.Containers[0].Command, spec.Containers[0].Args)
	for i, arg := range args {
		flag, value, assigned := strings.Cut(arg, "=")
		if flag != "--"+name && flag != "-"+name {
			continue
		}
		if !assigned && i+1 < len(args) {
			return args[i+1]
		}
		return value
	}
	return ""
}

func (a *planAnswer) write(p *page) {
	for _, e := range a.Warnings {
		p.line("%s %s %s", p.bold(validation{File: a.File}.place(e)+":"), p.class(e.Class)+":", e.Text())
	}
	if a.Note != "" {
		p.line("%s %s", p.warn("note:"), a.Note)
	}
	a.writePools(p)
	a.writeServices(p)
}

func (a *planAnswer) writePools(p *page) {
	rows := [][]string{{"POOL", "CHANGE", "IN USE"}}
	for _, c := range a.Pools {
		change := string(c.Change)
		switch c.Change {
		case explain.Removed:
			change = p.bad(change)
		case explain.Added:
			change = p.good(change)
		case explain.Changed, explain.Moved:
			change = p.warn(change)
		case explain.Same:
		}
		rows = append(rows, []string{c.Name, change, useText(c.Before) + " -> " + useText(c.After)})
	}
	p.table(rows)
	for _, c := range a.Pools {
		for _, d := range c.Details {
			p.line("  %s: %s", c.Name, d)
		}
	}
	p.line("")
}

// useText returns "3 of 10"; "-" for a pool that is not there.
func useText(u explain.Use) string {
	switch u.Total {
	case 0:
		return "-"
	case math.MaxInt64:
		return fmt.Sprintf("%d of many", u.InUse)
	}
	return fmt.Sprintf("%d of %d", u.InUse, u.Total)
}

// writeServices lists the Services of which there is something to say, or all if the user wants that, and counts all.
func (a *planAnswer) writeServices(p *page) {
	rows := [][]string{{"SERVICE", "WILL", "NOW", "THEN", "WHY"}}
	count := map[explain.Fate]int{}
	for _, o := range a.Services {
		count[o.Fate]++
		quiet := o.Fate == explain.Keeps && o.Reason == explain.ReasonAllocated
		if quiet && !p.wide {
			continue
		}
		rows = append(rows, []string{o.Service, p.fate(&o), addrsText(o.Before), addrsText(o.After), o.Message})
	}
	if len(rows) > 1 {
		p.table(rows)
		p.line("")
	}
	p.line("of %s: %d keep, %d get, %d move, %d wait, %s", counted(len(a.Services), "Service"),
		count[explain.Keeps], count[explain.Gets], count[explain.Moves], count[explain.Waits], a.strandedText(p, count[explain.Stranded]))
}

func (a *planAnswer) strandedText(p *page, all int) string {
	text := fmt.Sprintf("%d left with an address that lies in no pool", all)
	anew := len(a.Strands())
	switch {
	case all == 0:
		return text
	case anew < all:
		text += fmt.Sprintf(" (%d of them already)", all-anew)
	}
	return p.bad(text)
}

func (p *page) fate(o *explain.Outcome) string {
	text := map[explain.Fate]string{
		explain.Keeps: "keep", explain.Gets: "get", explain.Moves: "move", explain.Waits: "wait", explain.Stranded: "be stranded",
	}[o.Fate]
	switch {
	case o.Already:
		return p.warn("stay stranded")
	case o.Fate == explain.Stranded:
		return p.bad(text)
	case o.Fate == explain.Gets:
		return p.good(text)
	case o.Fate == explain.Keeps:
		return text
	}
	return p.warn(text)
}

func addrsText(addrs []netip.Addr) string { return cmp.Or(explain.Join(addrs), "none") }
