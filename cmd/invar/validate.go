package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/invar-lb/invar/pkg/config"
)

// validation is the answer of invar validate.
type validation struct {
	File     string        `json:"file"`
	Valid    bool          `json:"valid"`
	Findings config.Errors `json:"findings"`
	Pools    []string      `json:"pools,omitempty"` // that would serve
}

func newValidateCommand(t *tool) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration, without a cluster",
		Long: `Check a configuration, without a cluster: the manifest of the ConfigMap, alone or among other objects, or the text of its
key config by itself. FILE - is standard input. All mistakes are listed, each with its line and column in FILE.`,
		Example: "  invar validate config.yaml\n  kubectl -n metallb-system get configmap config -o yaml | invar validate -",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file, cfg, err := t.readConfig(args[0], name)
			if err != nil && !errors.As(err, &config.Errors{}) {
				return err
			}
			return t.printValidation(validationOf(file, cfg, err))
		},
	}
	addConfigFlag(cmd, &name)
	return cmd
}

// addConfigFlag adds the flag for the name of the ConfigMap.
func addConfigFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "config", "config", "name of the ConfigMap")
}

// readConfig reads the configuration in a file, and returns it with what to call the file. An error of type config.Errors is
// about the configuration.
func (t *tool) readConfig(path, configMap string) (string, *config.Config, error) {
	text, name := []byte(nil), path
	var err error
	if path == "-" {
		name = "<stdin>"
		text, err = io.ReadAll(t.In)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return name, nil, fmt.Errorf("read the configuration: %w", err)
	}
	cfg, err := config.ParseFile(string(text), t.home, configMap)
	return name, cfg, err
}

// validationOf says what is to be said of a file; err is nil or of type config.Errors.
func validationOf(file string, cfg *config.Config, err error) validation {
	v := validation{File: file, Valid: err == nil, Findings: config.Errors{}}
	if !errors.As(err, &v.Findings) && len(cfg.Warnings) > 0 {
		v.Findings = cfg.Warnings
	}
	if cfg != nil {
		for i := range cfg.Pools {
			v.Pools = append(v.Pools, cfg.Pools[i].Name)
		}
	}
	return v
}

// printValidation prints v and returns errNo if there is a mistake.
func (t *tool) printValidation(v validation) error {
	if err := t.print(v, v.write); err != nil {
		return err
	}
	if !v.Valid {
		return errNo
	}
	return nil
}

func (v validation) write(p *page) {
	var count [config.Notice + 1]int
	for _, e := range v.Findings {
		count[e.Class]++
		p.line("%s %s %s", p.bold(v.place(e)+":"), p.class(e.Class)+":", e.Text())
	}
	left := cmp.Or(count[config.Layer2Only], count[config.Notice]) > 0
	switch {
	case !v.Valid:
		p.line("%s: %s, %s", v.File, p.bad(counted(count[config.Invalid], "mistake")),
			counted(count[config.Layer2Only]+count[config.Notice], "warning"))
	case left:
		p.line("%s: %s, %s", v.File, p.good("valid with "+counted(len(v.Pools), "pool")),
			p.warn(counted(count[config.Layer2Only]+count[config.Notice], "warning")))
	default:
		p.line("%s: %s", v.File, p.good("valid with "+counted(len(v.Pools), "pool")))
	}
}

// place returns where a finding is as compilers write it, for editors to go there.
func (v validation) place(e *config.Error) string {
	switch {
	case e.Line == 0:
		return v.File
	case e.Column == 0:
		return fmt.Sprintf("%s:%d", v.File, e.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", v.File, e.Line, e.Column)
	}
}

func (p *page) class(c config.Class) string {
	if c == config.Invalid {
		return p.bad(c.String())
	}
	return p.warn(c.String())
}

// counted returns "1 pool", "2 pools".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
