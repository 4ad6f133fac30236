package node

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/invar-lb/invar/test/lab/control"
	"github.com/invar-lb/invar/test/lab/image"
	"github.com/invar-lb/invar/test/lab/pki"
	"github.com/invar-lb/invar/test/lab/plan"
)

// socket is where containerd listens, as the node sees it.
const socket = "/run/containerd/containerd.sock"

// cniDir is where Debian's containernetworking-plugins puts the plugins.
const cniDir = "/usr/lib/cni"

// FlannelCNIDir is where flannel writes the pods' network, as the node sees it.
const FlannelCNIDir = "/run/cni/net.d"

// Files renders all files of a node, keyed by path below the node's directory.
func Files(lab plan.Lab, h plan.Host, ca *pki.Authority) (map[string][]byte, error) {
	own, err := ca.Pair()
	if err != nil {
		return nil, err
	}
	server, err := ca.Sign(pki.Subject{User: h.Name, Names: []string{h.Name}, Addrs: []netip.Addr{h.IPv4, h.IPv6, netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		return nil, err
	}
	kubelet, err := ca.Sign(pki.Subject{User: "system:node:" + h.Name, Groups: []string{"system:nodes"}})
	if err != nil {
		return nil, err
	}
	proxy, err := ca.Sign(pki.Subject{User: "system:kube-proxy"})
	if err != nil {
		return nil, err
	}
	api := fmt.Sprintf("https://%s:%d", lab.ControlPlane().IPv4, plan.APIPort)
	files := map[string][]byte{
		"ca.crt":                own.Cert,
		"kubelet.crt":           server.Cert,
		"kubelet.key":           server.Key,
		"kubelet.kubeconfig":    pki.Kubeconfig(api, own.Cert, kubelet),
		"kubelet.yaml":          []byte(kubeletConfig(lab, h)),
		"kube-proxy.kubeconfig": pki.Kubeconfig(api, own.Cert, proxy),
		"kube-proxy.yaml":       []byte(proxyConfig(lab, h)),
		"resolv.conf":           []byte("# The lab has no resolver outside of the cluster.\n"),
		"containerd.toml":       []byte(containerdConfig(lab, h)),
	}
	if !lab.Flannel() {
		files["cni/10-lab.conflist"] = []byte(cniConfig(h))
	}
	return files, nil
}

// Containerd is the node's container runtime.
func Containerd(lab plan.Lab, h plan.Host) control.Process {
	return control.Process{Name: "containerd", Args: []string{"--config=" + filepath.Join(lab.HostDir(h), "containerd.toml")}}
}

// Kubelet is the node's kubelet.
func Kubelet(lab plan.Lab, h plan.Host) control.Process {
	return control.Process{Name: "kubelet", Args: []string{
		"--config=" + filepath.Join(lab.HostDir(h), "kubelet.yaml"),
		"--kubeconfig=" + filepath.Join(lab.HostDir(h), "kubelet.kubeconfig"),
		"--hostname-override=" + h.Name,
		"--node-ip=" + h.IPv4.String() + "," + h.IPv6.String(),
	}}
}

// Proxy is the node's kube-proxy.
func Proxy(lab plan.Lab, h plan.Host) control.Process {
	return control.Process{Name: "kube-proxy", Args: []string{
		"--config=" + filepath.Join(lab.HostDir(h), "kube-proxy.yaml"),
	}}
}

// containerdConfig: the sandbox image is our own because there is no registry; scores and AppArmor profiles are left
// alone, and nothing is put into /opt, because a lab has no business with the machine's.
func containerdConfig(lab plan.Lab, h plan.Host) string {
	cni := filepath.Join(lab.HostDir(h), "cni")
	if lab.Flannel() {
		cni = FlannelCNIDir
	}
	return expand(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[grpc]
  address = "$SOCKET"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/$PAUSE"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI"
    conf_dir = "$CONF"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`, "$SOCKET", socket, "$PAUSE", image.Tag(image.Pause), "$CNI", cniDir, "$CONF", cni)
}

// cniConfig gives pods one address of each family from the node's ranges, on a bridge.
func cniConfig(h plan.Host) string {
	return expand(`{
  "cniVersion": "1.0.0",
  "name": "lab",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isDefaultGateway": true,
      "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "$PODS4"}], [{"subnet": "$PODS6"}]]
      }
    }
  ]
}
`, "$PODS4", h.PodsV4.String(), "$PODS6", h.PodsV6.String())
}

// kubeletConfig: nothing is evicted or collected for want of disk, because the disk is shared with the machine and
// with the other nodes; everything else is kubelet's default.
func kubeletConfig(lab plan.Lab, h plan.Host) string {
	return expand(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: $DIR/ca.crt
authorization:
  mode: Webhook
tlsCertFile: $DIR/kubelet.crt
tlsPrivateKeyFile: $DIR/kubelet.key
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: ["$DNS"]
resolvConf: $DIR/resolv.conf
containerRuntimeEndpoint: unix://$SOCKET
volumePluginDir: /var/lib/kubelet/volume-plugins
imageGCHighThresholdPercent: 100
evictionHard:
  imagefs.available: 0%
  imagefs.inodesFree: 0%
  memory.available: 0%
  nodefs.available: 0%
  nodefs.inodesFree: 0%
`, "$DIR", lab.HostDir(h), "$CGROUP", h.Cgroup, "$DNS", plan.DNSService, "$SOCKET", socket)
}

// proxyConfig: the conntrack settings are those that cannot be changed from inside of a network namespace.
func proxyConfig(lab plan.Lab, h plan.Host) string {
	return expand(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $MODE
hostnameOverride: $NODE
clientConnection:
  kubeconfig: $DIR/kube-proxy.kubeconfig
clusterCIDR: $PODS
conntrack:
  maxPerCore: 0
  min: 0
  tcpCloseWaitTimeout: 0s
  tcpEstablishedTimeout: 0s
ipvs:
  strictARP: true
`, "$MODE", lab.ProxyMode, "$NODE", h.Name, "$DIR", lab.HostDir(h), "$PODS", plan.PodsV4+","+plan.PodsV6)
}

// expand replaces the names in a template by their values.
func expand(template string, oldnew ...string) string {
	return strings.NewReplacer(oldnew...).Replace(template)
}
