package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "mkimage:", err)
		}
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	dir    string // what relative host paths are relative to
	out    string
	maxTar int64  // bytes, 0 for no limit
	sbom   string // the bill of materials to write, empty for none
	table  string // the licences for it, empty for none
	spec   imageSpec
}

// run makes the image that args describe and prints its size on stdout.
func run(args []string, stdout, stderr io.Writer) error {
	opts, err := parseArgs(args, stderr)
	if err != nil {
		return err
	}
	sizes, err := write(opts.out, opts.spec)
	if err != nil {
		return err
	}
	if opts.sbom != "" {
		licences, err := readLicences(opts.table)
		if err != nil {
			return err
		}
		if err := writeSBOM(opts.sbom, opts.out, opts.spec, licences); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "%s: tar %s, content %s in %d files (%s)\n",
		opts.out, megabytes(sizes.tar), megabytes(sizes.content), len(opts.spec.files), strings.Join(opts.spec.tags, ", "))
	if opts.maxTar > 0 && sizes.tar > opts.maxTar {
		return fmt.Errorf("tar of %s is above the limit of %s", megabytes(sizes.tar), megabytes(opts.maxTar))
	}
	return nil
}

// parseArgs turns the command line into options with absolute host paths.
func parseArgs(args []string, stderr io.Writer) (options, error) {
	opts := options{spec: imageSpec{labels: map[string]string{}}}
	fs := flag.NewFlagSet("mkimage", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { usage(fs) }
	fs.StringVar(&opts.dir, "dir", "", "what relative host paths, -o included, are relative to (default $PWD)")
	fs.StringVar(&opts.out, "o", "", "the docker-archive `OUT.tar` to write (required)")
	fs.StringVar(&opts.spec.arch, "arch", "amd64", "the image's architecture, in Go's spelling")
	fs.StringVar(&opts.spec.variant, "variant", "", "the `variant` of the architecture, such as v7 for arm")
	fs.StringVar(&opts.sbom, "sbom", "", "the bill of materials to write, an SPDX 2.3 `FILE` in JSON (default none)")
	fs.StringVar(&opts.table, "licences", "", "the Markdown `FILE` with the licences of Go modules for it")
	fs.StringVar(&opts.spec.user, "user", "", "the `UID[:GID]` that containers run as (default root)")
	fs.Func("tag", "the image's `NAME:TAG`; may be repeated (required)", func(s string) error {
		opts.spec.tags = append(opts.spec.tags, s)
		return nil
	})
	fs.Func("entrypoint", "the `/path` in the image to run, or one argument of it; may be repeated", func(s string) error {
		opts.spec.entrypoint = append(opts.spec.entrypoint, s)
		return nil
	})
	fs.Func("label", "a `KEY=VALUE` label; may be repeated", func(s string) error {
		return addLabel(opts.spec.labels, s)
	})
	maxMB := fs.Int64("max-mb", 0, "fail when the tar has more than this many megabytes (10^6 bytes); 0 for no limit")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	opts.maxTar = *maxMB * 1e6
	return opts, opts.complete(fs.Args())
}

func usage(fs *flag.FlagSet) {
	fmt.Fprint(fs.Output(), `Usage: mkimage -tag NAME:TAG [-tag ...] -o OUT.tar [flags] HOSTFILE:/path/in/image ...

Writes a reproducible docker-archive tar without a Docker engine. Relative host paths
are relative to the caller's directory ($PWD), also under "go run -C", or to -dir.
A file is executable in the image if its owner may execute it on the host.

`)
	fs.PrintDefaults()
}

// addLabel adds "key=value" to labels.
func addLabel(labels map[string]string, s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q is not KEY=VALUE", s)
	}
	labels[key] = value
	return nil
}

// complete checks the flags, takes the file arguments and makes the host paths absolute.
func (o *options) complete(args []string) error {
	switch {
	case len(o.spec.tags) == 0:
		return errors.New("-tag is required")
	case o.out == "":
		return errors.New("-o is required")
	case len(args) == 0:
		return errors.New("no HOSTFILE:/path/in/image given")
	}
	dir, err := callerDir(o.dir)
	if err != nil {
		return err
	}
	o.out = absolute(dir, o.out)
	for _, path := range []*string{&o.sbom, &o.table} {
		if *path != "" {
			*path = absolute(dir, *path)
		}
	}
	for _, arg := range args {
		// The image's path is absolute, so the last ":/" is the border even if the host's path has a colon.
		i := strings.LastIndex(arg, ":/")
		if i <= 0 {
			return fmt.Errorf("%q is not HOSTFILE:/path/in/image", arg)
		}
		o.spec.files = append(o.spec.files, file{host: absolute(dir, arg[:i]), path: arg[i+1:]})
	}
	return nil
}

// callerDir is the directory that relative host paths are relative to: the -dir flag, else $PWD, which `go run -C`
// leaves as its caller had it, else the working directory.
func callerDir(flagDir string) (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find working directory: %w", err)
	}
	if pwd := os.Getenv("PWD"); filepath.IsAbs(pwd) {
		wd = pwd
	}
	return absolute(wd, flagDir), nil
}

// absolute is path, put below dir unless it is absolute already.
func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// megabytes prints a size the way registries and the project's limit count it: 10^6 bytes.
func megabytes(n int64) string {
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
