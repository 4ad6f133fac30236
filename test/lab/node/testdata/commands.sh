containerd \
  --config=/run/invar-lab/lab/node2/containerd.toml
kubelet \
  --config=/run/invar-lab/lab/node2/kubelet.yaml \
  --kubeconfig=/run/invar-lab/lab/node2/kubelet.kubeconfig \
  --hostname-override=node2 \
  --node-ip=192.168.1.12,fd00:1::12
kube-proxy \
  --config=/run/invar-lab/lab/node2/kube-proxy.yaml
