package control

import (
	"net/netip"
	"path/filepath"

	"github.com/invar-lb/invar/test/lab/pki"
	"github.com/invar-lb/invar/test/lab/plan"
)

// Names of the files in the control plane's directory.
const (
	caCert, caKey               = "ca.crt", "ca.key"
	serverCert, serverKey       = "apiserver.crt", "apiserver.key"
	auditPolicy                 = "audit-policy.yaml"
	kubeletCert, kubeletKey     = "kubelet-client.crt", "kubelet-client.key"
	tokenKey                    = "service-account.key"
	managerConfig, schedConfig  = "controller-manager.kubeconfig", "scheduler.kubeconfig"
	etcdURL                     = "http://127.0.0.1:2379"
	issuer                      = "https://kubernetes.default.svc.cluster.local"
	managerUser, schedulerUser  = "system:kube-controller-manager", "system:kube-scheduler"
	kubeletClientUser, topGroup = "kube-apiserver-kubelet-client", "system:masters"
)

// Process is one server: its name, which is also the lab's subcommand that runs it, and its flags.
type Process struct {
	Name string
	Args []string
}

// Etcd is the store. It does not wait for the disk: a lab does not outlive its machine.
func Etcd(lab plan.Lab) Process {
	return Process{"etcd", []string{
		"--name=lab",
		"--data-dir=" + filepath.Join(lab.HostData(lab.ControlPlane()), "etcd"),
		"--listen-client-urls=" + etcdURL,
		"--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=lab=http://127.0.0.1:2380",
		"--unsafe-no-fsync=true",
		"--log-level=warn",
	}}
}

// APIServer is kube-apiserver. Node and RBAC authorization, so that a manifest's rights are really needed; kubelets
// are reached by address, because no DNS knows their names; webhooks reach pods without a kube-proxy beside it.
func APIServer(lab plan.Lab) Process {
	file := files(lab)
	p := Process{"kube-apiserver", []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=::",
		"--advertise-address=" + lab.ControlPlane().IPv4.String(),
		"--service-cluster-ip-range=" + plan.ServicesV4 + "," + plan.ServicesV6,
		"--tls-cert-file=" + file(serverCert),
		"--tls-private-key-file=" + file(serverKey),
		"--client-ca-file=" + file(caCert),
		"--kubelet-client-certificate=" + file(kubeletCert),
		"--kubelet-client-key=" + file(kubeletKey),
		"--kubelet-certificate-authority=" + file(caCert),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + file(tokenKey),
		"--service-account-signing-key-file=" + file(tokenKey),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--enable-aggregator-routing=true",
	}}
	if lab.Audit != "" {
		p.Args = append(p.Args, "--audit-policy-file="+file(auditPolicy), "--audit-log-path="+lab.AuditLog())
	}
	if lab.FeatureGates != "" {
		p.Args = append(p.Args, "--feature-gates="+lab.FeatureGates)
	}
	return p
}

// auditOf is the policy that logs what the service accounts of a namespace ask for and how that ends: watches when they begin,
// since they may not end, all others when they are answered.
func auditOf(namespace string) []byte {
	return []byte(`apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:` + namespace + `"]
- level: None
`)
}

// ControllerManager is kube-controller-manager. The nodes' pod ranges are not its business: the lab gives them, so
// that node1 has 10.244.1.0/24 whichever node registers first.
func ControllerManager(lab plan.Lab) Process {
	file := files(lab)
	return Process{"kube-controller-manager", []string{
		"--kubeconfig=" + file(managerConfig),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + file(tokenKey),
		"--root-ca-file=" + file(caCert),
		"--cluster-signing-cert-file=" + file(caCert),
		"--cluster-signing-key-file=" + file(caKey),
		"--cluster-cidr=" + plan.PodsV4 + "," + plan.PodsV6,
		"--service-cluster-ip-range=" + plan.ServicesV4 + "," + plan.ServicesV6,
	}}
}

// Scheduler is kube-scheduler.
func Scheduler(lab plan.Lab) Process {
	file := files(lab)
	return Process{"kube-scheduler", []string{
		"--kubeconfig=" + file(schedConfig),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
	}}
}

func files(lab plan.Lab) func(name string) string {
	dir := lab.HostDir(lab.ControlPlane())
	return func(name string) string { return filepath.Join(dir, name) }
}

// Credentials makes the content of all files that the flags above name, keyed by file name.
func Credentials(lab plan.Lab, ca *pki.Authority) (map[string][]byte, error) {
	c := credentials{ca: ca, files: make(map[string][]byte)}
	own, err := ca.Pair()
	if err != nil {
		return nil, err
	}
	c.put(caCert, caKey, own)
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	if c.files[tokenKey], err = pki.EncodeKey(key); err != nil {
		return nil, err
	}
	if lab.Audit != "" {
		c.files[auditPolicy] = auditOf(lab.Audit)
	}
	c.sign(serverCert, serverKey, serverSubject(lab))
	c.sign(kubeletCert, kubeletKey, pki.Subject{User: kubeletClientUser, Groups: []string{topGroup}})
	c.kubeconfig(managerConfig, managerUser, own.Cert)
	c.kubeconfig(schedConfig, schedulerUser, own.Cert)
	return c.files, c.err
}

// serverSubject names every address under which kube-apiserver is reached: by nodes, by pods, and through the
// forwarder.
func serverSubject(lab plan.Lab) pki.Subject {
	cp := lab.ControlPlane()
	return pki.Subject{
		User: "kube-apiserver",
		Names: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local", cp.Name,
		},
		Addrs: []netip.Addr{
			cp.IPv4, cp.IPv6, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback(),
			netip.MustParseAddr(plan.APIServiceV4), netip.MustParseAddr(plan.APIServiceV6),
		},
	}
}

// credentials collects files until the first error.
type credentials struct {
	ca    *pki.Authority
	files map[string][]byte
	err   error
}

func (c *credentials) put(cert, key string, pair pki.Pair) {
	c.files[cert], c.files[key] = pair.Cert, pair.Key
}

func (c *credentials) sign(cert, key string, s pki.Subject) {
	if c.err != nil {
		return
	}
	var pair pki.Pair
	if pair, c.err = c.ca.Sign(s); c.err == nil {
		c.put(cert, key, pair)
	}
}

func (c *credentials) kubeconfig(name, user string, ca []byte) {
	if c.err != nil {
		return
	}
	var pair pki.Pair
	if pair, c.err = c.ca.Sign(pki.Subject{User: user}); c.err == nil {
		c.files[name] = pki.Kubeconfig("https://127.0.0.1:6443", ca, pair)
	}
}
