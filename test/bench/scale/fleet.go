package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api"
	"github.com/invar-lb/invar/pkg/membership"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// logFolder is where the simulated nodes' processes write to, below the top of the repository.
const logFolder = "bin/scale-logs"

// speakerLabels select the speakers' pods.
const speakerLabels = "app=metallb,component=speaker"

// fleet is the cluster with its simulated nodes.
type fleet struct {
	*cluster.Cluster
	options
	kubelets []*kubelet
	speakers []*speaker
	spawner  *spawner
	dir      string // for the speakers' files
	living   sync.WaitGroup
	end      context.CancelFunc
}

// speaker is one that runs.
type speaker struct {
	node, pod string
	pid       int
	counted   bool // the node is simulated, and its traffic counted
}

// newFleet adds the simulated nodes to the cluster and starts what runs on them. The caller has to stop it.
func newFleet(ctx context.Context, c *cluster.Cluster, o options) (*fleet, error) {
	f := &fleet{Cluster: c, options: o}
	logs := filepath.Join(c.Root, logFolder)
	if err := errors.Join(os.RemoveAll(logs), os.MkdirAll(logs, 0o755)); err != nil {
		return nil, err
	}
	f.spawner = newSpawner(logs)
	living, end := context.WithCancel(ctx)
	f.end = end
	err := f.assemble(ctx, living)
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

func (f *fleet) assemble(ctx, living context.Context) (err error) {
	if f.dir, err = os.MkdirTemp("", "invar-scale-"); err != nil {
		return err
	}
	if err := f.addNodes(ctx, living); err != nil {
		return err
	}
	pods, err := f.pods(ctx)
	if err != nil {
		return err
	}
	if err := f.findSpeakers(pods); err != nil {
		return err
	}
	// The speakers come to a cluster that is there, as in a rollout.
	standIns := len(f.kubelets) - (f.options.speakers - labNodes)
	if err := f.startStandIns(ctx, pods); err != nil {
		return err
	}
	if err := f.meet(ctx, labNodes+standIns); err != nil {
		return err
	}
	if err := f.startSpeakers(ctx, pods); err != nil {
		return err
	}
	return f.meet(ctx, f.options.nodes)
}

// stop ends what runs on the simulated nodes.
func (f *fleet) stop() error {
	f.end()
	f.living.Wait()
	return errors.Join(f.spawner.stop(), os.RemoveAll(f.dir))
}

// addNodes makes the simulated nodes.
func (f *fleet) addNodes(ctx, living context.Context) error {
	model, err := f.Kube.CoreV1().Nodes().Get(ctx, f.Nodes()[0].Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get Node to copy: %w", err)
	}
	n := f.nodes - labNodes
	for i := range n {
		f.kubelets = append(f.kubelets, &kubelet{
			client: f.Kube, name: fmt.Sprintf("node%d", labNodes+1+i), addr: addrOf(i), phase: float64(i) / float64(n),
		})
	}
	progress("add %d nodes", n)
	err = rig.Each(ctx, n, func(ctx context.Context, i int) error { return f.kubelets[i].register(ctx, model) })
	if err != nil {
		return err
	}
	for _, k := range f.kubelets {
		f.living.Go(func() { k.live(living) })
	}
	return nil
}

// pods waits until each node has the pod of a speaker, and returns the pods by node.
func (f *fleet) pods(ctx context.Context) (map[string]*corev1.Pod, error) {
	byNode := map[string]*corev1.Pod{}
	err := cluster.EventuallyEvery(ctx, time.Second, func() error {
		list, err := f.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{LabelSelector: speakerLabels})
		if err != nil {
			return fmt.Errorf("list speakers: %w", err)
		}
		clear(byNode)
		for i := range list.Items {
			if node := list.Items[i].Spec.NodeName; node != "" {
				byNode[node] = &list.Items[i]
			}
		}
		if len(byNode) != f.nodes {
			return fmt.Errorf("%d of %d nodes have a speaker's pod", len(byNode), f.nodes)
		}
		return nil
	})
	return byNode, err
}

// findSpeakers finds those on the lab's nodes.
func (f *fleet) findSpeakers(pods map[string]*corev1.Pod) error {
	for _, h := range f.Nodes() {
		pod := pods[h.Name]
		if pod == nil {
			return fmt.Errorf("%s has no speaker", h.Name)
		}
		pid, err := cluster.ProcessOf(string(pod.UID), "speaker")
		if err != nil {
			return err
		}
		f.speakers = append(f.speakers, &speaker{node: h.Name, pod: pod.Name, pid: pid})
	}
	return nil
}

// startSpeakers runs speakers on the first of the simulated nodes.
func (f *fleet) startSpeakers(ctx context.Context, pods map[string]*corev1.Pod) error {
	kubeconfig, err := f.kubeconfig(ctx)
	if err != nil {
		return err
	}
	progress("start %d speakers", f.options.speakers-labNodes)
	for _, k := range f.kubelets[:f.options.speakers-labNodes] {
		s, err := f.startSpeaker(ctx, k, pods[k.name], kubeconfig)
		if err != nil {
			return fmt.Errorf("start speaker of %s: %w", k.name, err)
		}
		f.speakers = append(f.speakers, s)
	}
	return nil
}

func (f *fleet) startSpeaker(ctx context.Context, k *kubelet, pod *corev1.Pod, kubeconfig string) (*speaker, error) {
	host, err := cable(ctx, f.Cluster, []*kubelet{k})
	if err != nil {
		return nil, err
	}
	rules := filepath.Join(f.dir, "counters.nft")
	if err := os.WriteFile(rules, []byte(counters), 0o600); err != nil {
		return nil, err
	}
	if _, err := f.Run(ctx, host, "nft", "-f", rules); err != nil {
		return nil, err
	}
	env, err := k.environment(pod)
	if err != nil {
		return nil, err
	}
	state := filepath.Join(f.dir, k.name)
	if err := os.Mkdir(state, 0o700); err != nil {
		return nil, err
	}
	command := append([]string{filepath.Join(f.Root, "bin", "speaker")}, pod.Spec.Containers[0].Args...)
	command = append(command, "--kubeconfig="+kubeconfig, "--state-dir="+state) // the last of two counts
	pid, err := f.spawner.start(f.Cluster, host, k.name, nil, env, command...)
	if err != nil {
		return nil, err
	}
	return &speaker{node: k.name, pod: pod.Name, pid: pid, counted: true}, k.started(ctx, pod)
}

// tokenSeconds is how long the speakers' token is good for.
const tokenSeconds = 2 * 60 * 60

// kubeconfig writes a file with which a speaker on the LAN reaches kube-apiserver as its service account.
func (f *fleet) kubeconfig(ctx context.Context) (string, error) {
	admin, err := api.RESTConfig(f.Kubeconfig, "")
	if err != nil {
		return "", err
	}
	seconds := int64(tokenSeconds)
	token, err := f.Kube.CoreV1().ServiceAccounts(cluster.Namespace).CreateToken(ctx, "speaker",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("create token of service account speaker: %w", err)
	}
	plane, err := f.Host("control-plane")
	if err != nil {
		return "", err
	}
	const name = "lab"
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   "https://" + netip.AddrPortFrom(plane.IPv4, apiPort).String(),
		CertificateAuthorityData: admin.CAData,
	}
	cfg.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	cfg.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	cfg.CurrentContext = name
	path := filepath.Join(f.dir, "kubeconfig")
	return path, clientcmd.WriteToFile(*cfg, path)
}

// preferred runs a command before others: each node of a cluster has processors of its own to answer with, while one process here
// would get no more of the machine for nearly all nodes than each of the speakers does, and be taken for dead.
var preferred = []string{"nice", "-n", "-15"}

// startStandIns makes the nodes that are left members of the gossip.
func (f *fleet) startStandIns(ctx context.Context, pods map[string]*corev1.Pod) error {
	rest := f.kubelets[f.options.speakers-labNodes:]
	if len(rest) == 0 {
		return nil
	}
	secret, err := f.Kube.CoreV1().Secrets(cluster.Namespace).Get(ctx, "memberlist", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get the speakers' key: %w", err)
	}
	in := standIns{}
	if in.Key, err = membership.DeriveKey(secret.Data[kube.SecretKey]); err != nil {
		return err
	}
	for _, h := range f.Nodes() {
		in.Seeds = append(in.Seeds, netip.AddrPortFrom(h.IPv4, membership.DefaultPort))
	}
	for _, k := range rest {
		in.Nodes = append(in.Nodes, member{k.name, k.addr})
	}
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	host, err := cable(ctx, f.Cluster, rest)
	if err != nil {
		return err
	}
	progress("stand in for %d more", len(rest))
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := append(slices.Clone(preferred), self, "-stand-in")
	if _, err := f.spawner.start(f.Cluster, host, "stand-in", bytes.NewReader(text), nil, command...); err != nil {
		return err
	}
	return rig.Each(ctx, len(rest), func(ctx context.Context, i int) error { return rest[i].started(ctx, pods[rest[i].name]) })
}

// Metrics of the speakers.
const (
	membersMetric   = "invar_speaker_members"
	announcedMetric = "metallb_speaker_announced"
	syncsMetric     = "metallb_k8s_client_updates_total"
)

// meetWait is how long members may take until all know of all.
const meetWait = 4 * time.Minute

// meet waits until every speaker sees n.
func (f *fleet) meet(ctx context.Context, n int) error {
	progress("wait until all %d have met", n)
	ctx, cancel := context.WithTimeoutCause(ctx, meetWait, fmt.Errorf("not within %s", meetWait))
	defer cancel()
	return cluster.EventuallyEvery(ctx, time.Second, func() error {
		for _, s := range f.speakers {
			lines, err := f.Metrics(ctx, s.pod, membersMetric)
			if err != nil {
				return err
			}
			if seen, err := cluster.Sum(lines); err != nil || int(seen) != n {
				return errors.Join(err, fmt.Errorf("%s sees %v speakers, want %d", s.node, seen, n))
			}
		}
		return nil
	})
}

// announced returns how many addresses are announced, by all speakers together, and how many by the one that has the most.
func (f *fleet) announced(ctx context.Context) (total int, most int, err error) {
	counts := make([]int, len(f.speakers))
	err = rig.Each(ctx, len(f.speakers), func(ctx context.Context, i int) error {
		lines, err := f.Metrics(ctx, f.speakers[i].pod, announcedMetric)
		counts[i] = len(lines)
		return err
	})
	for _, n := range counts {
		total += n
	}
	return total, slices.Max(counts), err
}
