// Package pki is a lab's certificate authority. It signs what kubeadm would sign: one server certificate each for
// kube-apiserver and the kubelets, and client certificates whose subjects are the users and groups that Kubernetes'
// own RBAC rules name. Keys are ECDSA P-256 and live as long as the lab.
package pki
