package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PID finds the process with the given command name of the one pod that has the labels, on the given node or, if that is
// empty, on any.
func (c *Cluster) PID(ctx context.Context, namespace, labels, node, command string) (int, error) {
	uid, err := c.PodUID(ctx, namespace, labels, node)
	if err != nil {
		return 0, err
	}
	return ProcessOf(uid, command)
}

// process is one of the processes that the lab itself has started.
type process struct {
	Name string `json:"name"`
	Host string `json:"host"`
	PID  int    `json:"pid"`
}

// ServerPID returns the process of a server of the control plane, for example kube-apiserver.
func (c *Cluster) ServerPID(name string) (int, error) {
	for _, p := range c.processes {
		if p.Name == name {
			return p.PID, nil
		}
	}
	return 0, fmt.Errorf("the lab has no process %s", name)
}

// PodUID returns the UID of the one pod that has the labels, on the given node or, if that is empty, on any.
func (c *Cluster) PodUID(ctx context.Context, namespace, labels, node string) (string, error) {
	opts := metav1.ListOptions{LabelSelector: labels}
	if node != "" {
		opts.FieldSelector = "spec.nodeName=" + node
	}
	pods, err := c.Kube.CoreV1().Pods(namespace).List(ctx, opts)
	if err != nil {
		return "", fmt.Errorf("list pods: %w", err)
	}
	if len(pods.Items) != 1 {
		return "", fmt.Errorf("there are %d pods with %s, want 1", len(pods.Items), labels)
	}
	return string(pods.Items[0].UID), nil
}

// ProcessOf finds the process of a pod that has the given command name; it asks nobody but this machine. Its cgroup tells whose it is: the pod's UID is in the
// path, and no other lab has that.
func ProcessOf(podUID, command string) (int, error) {
	pid, err := processIn(podUID, command)
	if err == nil && pid == 0 {
		err = fmt.Errorf("pod %s has no process named %s", podUID, command)
	}
	return pid, err
}

// ProcessOn finds a process on a host by its command name, of a pod or not; it asks nobody but this machine. It is an error if
// there is none.
func (c *Cluster) ProcessOn(host, command string) (int, error) {
	pid, err := processIn("/lab-"+c.Name+"-"+host+"/", command)
	if err == nil && pid == 0 {
		err = fmt.Errorf("%s has no process named %s", host, command)
	}
	return pid, err
}

// processIn finds the process with a command name that is in a cgroup with the given part in its path; 0 if there is none.
func processIn(cgroup, command string) (int, error) {
	commands, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, file := range commands {
		name, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(name)) != command {
			continue // it is another one, or has just ended
		}
		dir := filepath.Dir(file)
		cgroups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err == nil && strings.Contains(strings.ReplaceAll(string(cgroups), "_", "-"), cgroup) {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, nil
}
