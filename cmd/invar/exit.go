package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// The exit codes. README has the same table.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitNo      = 3
	exitTimeout = 4
)

// exitCodes is the table of the exit codes in the tool's help.
const exitCodes = `Exit codes:
  0  done; whatever was asked is as it should be
  1  failed: no answer from the API server, a right is missing, no such object
  2  the command line is wrong
  3  done, and the answer is bad: the Service is not served (why), the text has a mistake (validate, plan), an address would be
     stranded (plan), something can't be carried over (migrate), something is wrong (doctor)
  4  gave up waiting (move, drain)`

// usageError is a mistake in the command line.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e usageError) Error() string {
	return fmt.Sprintf("%s\nSee '%s --help'.", e.err, e.cmd.CommandPath())
}

func (e usageError) Unwrap() error { return e.err }

// errNo says that the answer, which has been printed, is bad.
var errNo = errors.New("the answer is no")

// errTimeout says that what was waited for has not come.
var errTimeout = errors.New("gave up waiting")

// exitCode prints err, unless the answer has said it all, and returns the exit code for it.
func (t *tool) exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errNo) {
		return exitNo
	}
	fmt.Fprintln(t.ErrOut, "error:", err)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errTimeout):
		return exitTimeout
	}
	return exitFailed
}
