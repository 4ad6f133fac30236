// Command lab runs a real multi-node Kubernetes cluster in network namespaces of one machine, for trying and testing
// Invar. `lab help` says how. The programs of the cluster are linked in: the lab starts itself under their names.
package main

import (
	"os"

	"github.com/invar-lb/invar/test/lab/cli"
	"github.com/invar-lb/invar/test/lab/component"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 && component.Known(args[0]) {
		return component.Run(args[0], args[1:])
	}
	return cli.Run(args, component.Kubectl)
}
