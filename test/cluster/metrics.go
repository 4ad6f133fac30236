package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Metrics returns the lines of one metric of a pod of Invar, sorted, each with its labels and value.
func (c *Cluster) Metrics(ctx context.Context, pod, name string) ([]string, error) {
	all, err := c.Kube.CoreV1().Pods(Namespace).ProxyGet("http", pod, "7472", "metrics", nil).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("get metrics of %s: %w", pod, err)
	}
	return linesOf(string(all), name), nil
}

// APIServerMetrics returns the lines of one metric of kube-apiserver, sorted, each with its labels and value.
func (c *Cluster) APIServerMetrics(ctx context.Context, name string) ([]string, error) {
	all, err := c.Kube.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("get metrics of kube-apiserver: %w", err)
	}
	return linesOf(string(all), name), nil
}

// linesOf picks the lines of one metric out of all.
func linesOf(all, name string) []string {
	lines := []string{}
	for line := range strings.Lines(all) {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

// Sum adds up the values in lines of a metric.
func Sum(lines []string) (float64, error) {
	total := 0.0
	for _, line := range lines {
		v, err := Value(line)
		if err != nil {
			return 0, err
		}
		total += v
	}
	return total, nil
}

// Value returns the value in a line of a metric.
func Value(line string) (float64, error) {
	v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
	if err != nil {
		return 0, fmt.Errorf("read metric %q: %w", line, err)
	}
	return v, nil
}
