package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/invar-lb/invar/test/lab/command"
)

// Names of the images. Every lab has the first two, each the program images/NAME of this module; those with flannel have the last,
// the program test/flannel.
const (
	Pause   = "pause"
	Echo    = "echo"
	Flannel = "flannel"
)

// Tag is the name of an image of the lab in a manifest.
func Tag(name string) string { return "invar-lab/" + name + ":v1" }

// FindRepo finds the root of the repository that this program comes from: the nearest parent of the working directory
// or of the program's own file that has the sources of the images.
func FindRepo() (string, error) {
	starts := make([]string, 0, 2)
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if isRepo(dir) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("find repository: none at or above %s; name it with --repo", strings.Join(starts, " or "))
}

func isRepo(dir string) bool {
	for _, sub := range []string{"test/lab/images", "hack/tools/mkimage"} {
		if _, err := os.Stat(filepath.Join(dir, sub)); err != nil {
			return false
		}
	}
	return true
}

// Build makes the lab's images as docker-archive tars in dir. See Tar.
func Build(ctx context.Context, repo, dir string) error {
	if err := goBuild(ctx, filepath.Join(repo, "test/lab"), dir, "./images/"+Pause, "./images/"+Echo); err != nil {
		return err
	}
	// Built and not `go run`: that would leave a child of its own behind if the lab were killed.
	if err := goBuild(ctx, filepath.Join(repo, "hack/tools"), dir, "./mkimage"); err != nil {
		return err
	}
	for _, name := range []string{Pause, Echo} {
		if err := pack(ctx, dir, name, "65534"); err != nil {
			return err
		}
	}
	return nil
}

// BuildFlannel makes the image of flannel in dir, after Build.
func BuildFlannel(ctx context.Context, repo, dir string) error {
	if err := goBuild(ctx, filepath.Join(repo, "test/flannel"), dir, "."); err != nil {
		return err
	}
	return pack(ctx, dir, Flannel, "0")
}

// pack makes the image of a program in dir that containers run as user.
func pack(ctx context.Context, dir, name, user string) error {
	return command.Run(ctx, "", filepath.Join(dir, "mkimage"), "-tag", Tag(name), "-o", Tar(dir, name),
		"-entrypoint", "/"+name, "-user", user, filepath.Join(dir, name)+":/"+name)
}

// Tar is where Build puts an image.
func Tar(dir, name string) string { return filepath.Join(dir, name+".tar") }

// goBuild builds programs of one module into dir.
func goBuild(ctx context.Context, module, dir string, packages ...string) error {
	args := []string{"build", "-C", module, "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir + "/"}
	build := exec.CommandContext(ctx, "go", append(args, packages...)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	return command.Wait(build)
}
