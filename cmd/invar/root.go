package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// commands are the constructors of all commands, one for each file. They are given what the commands share.
var commands = []func(*tool) *cobra.Command{
	newStatusCommand,
	newWhyCommand,
	newMoveCommand,
	newDrainCommand,
	newUndrainCommand,
	newUICommand,
	newVersionCommand,
	newValidateCommand,
	newPlanCommand,
	newMigrateCommand,
	newDoctorCommand,
}

// run carries out a command line, whose first argument is the name that the tool was called by, and returns the exit code.
func run(ctx context.Context, streams genericiooptions.IOStreams, args []string) int {
	name, rest := calledAs(args)
	t := newTool(streams)
	root := newRoot(name, t)
	root.SetArgs(rest)
	return t.exitCode(root.ExecuteContext(ctx))
}

// calledAs returns how to name the tool in its own texts, and its arguments. kubectl runs kubectl-invar as "kubectl invar", and
// kubectl_complete-invar to complete such a command line.
func calledAs(args []string) (name string, rest []string) {
	switch filepath.Base(args[0]) {
	case "kubectl-invar":
		return "kubectl invar", args[1:]
	case "kubectl_complete-invar":
		return "kubectl invar", append([]string{cobra.ShellCompRequestCmd}, args[1:]...)
	}
	return "invar", args[1:]
}

func newRoot(name string, t *tool) *cobra.Command {
	root := &cobra.Command{
		Use:           "invar",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: name},
		Short:         "Tell why a Service has no address, who announces it, and what a change would do",
		Long:          "Tell why a Service has no address, who announces it, and what a change would do.\n\n" + exitCodes,
		SilenceUsage:  true,
		SilenceErrors: true,
		// Of no use: all flags can follow any command.
		DisableFlagsInUseLine: true,
		Args:                  usageArgs(cobra.NoArgs),
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(t.In)
	root.SetOut(t.Out)
	root.SetErr(t.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd, err} })
	t.addFlags(root)
	for _, construct := range commands {
		cmd := construct(t)
		cmd.Args = usageArgs(cmd.Args)
		root.AddCommand(cmd)
	}
	return root
}

// usageArgs makes what a command says of the number of its arguments a mistake of usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		check = cobra.NoArgs
	}
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{cmd, err}
		}
		return nil
	}
}
