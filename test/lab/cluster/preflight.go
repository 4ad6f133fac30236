package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/invar-lb/invar/test/lab/plan"
)

// preflight finds out, before anything is made, what would keep a lab from coming up, and installs missing packages.
func preflight(ctx context.Context, lab plan.Lab, repo string, p *Progress) error {
	if os.Getuid() != 0 {
		return errors.New("check user: only root can make network namespaces and cgroups")
	}
	modprobe(ctx, lab.ProxyMode)
	if lack := lacking(lab.ProxyMode, exists, found); len(lack) > 0 {
		return fmt.Errorf("check proxy mode %s: this machine lacks %s", lab.ProxyMode, strings.Join(lack, " and "))
	}
	// The repository has one list of packages, for its Makefile and for the lab. The script is quick when all are there.
	install := exec.CommandContext(ctx, filepath.Join(repo, "hack/deps.sh"), "lab")
	install.Stdout, install.Stderr = p, p
	if err := install.Run(); err != nil {
		return fmt.Errorf("install packages: %w", err)
	}
	return nil
}

// modprobe loads what the lab needs of a modular kernel. A kernel that has it built in knows no such module, and one
// that lacks it makes later steps fail with better words, so errors do not matter here.
func modprobe(ctx context.Context, proxyMode string) {
	modules := []string{"overlay", "br_netfilter", "nf_tables", "nf_conntrack"}
	if proxyMode == "ipvs" {
		modules = append(modules, "ip_vs", "ip_vs_rr", "ip_set")
	}
	for _, module := range modules {
		_ = exec.CommandContext(ctx, "modprobe", "--quiet", module).Run()
	}
}

// lacking names what a proxy mode needs and the machine does not have. Only ipvs needs what is not installed or
// compiled in everywhere.
func lacking(proxyMode string, exists, found func(name string) bool) []string {
	if proxyMode != "ipvs" {
		return nil
	}
	var lack []string
	if !exists("/proc/net/ip_vs") {
		lack = append(lack, "IPVS in its kernel (CONFIG_IP_VS, module ip_vs)")
	}
	if !found("ipset") {
		lack = append(lack, "the command ipset (Debian package ipset)")
	}
	return lack
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func found(command string) bool {
	_, err := exec.LookPath(command)
	return err == nil
}
