package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/invar-lb/invar/test/lab/cgroup"
	"github.com/invar-lb/invar/test/lab/control"
	"github.com/invar-lb/invar/test/lab/image"
	"github.com/invar-lb/invar/test/lab/node"
	"github.com/invar-lb/invar/test/lab/pki"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
	"github.com/invar-lb/invar/test/lab/state"
	"github.com/invar-lb/invar/test/lab/wire"
)

// Options are what `lab up` may be told.
type Options struct {
	Repo   string   // root of the repository, for the sources of the lab's images
	Images []string // docker-archive tars to load into every node besides the lab's own
}

// Up brings a lab up and returns when all its nodes are Ready. A healthy lab is left as it is, except that the LAN is made
// whole, frozen nodes are thawed, killed components started and images loaded; a lab that is half there is taken down first.
func Up(ctx context.Context, lab plan.Lab, opts Options, p *Progress) error {
	if err := preflight(ctx, lab, opts.Repo, p); err != nil {
		return err
	}
	unlock, err := lock(lab.LockFile(), p)
	if err != nil {
		return err
	}
	defer unlock()
	b := &builder{lab: lab, Progress: p, cgroups: make(map[string][]string)}
	defer b.close()
	reuse, err := b.adopt(ctx)
	if err != nil {
		return err
	}
	if !reuse {
		if err := remove(ctx, lab); err != nil {
			return err
		}
		if err := b.build(ctx, opts.Repo); err != nil {
			return err
		}
	}
	if err := b.finish(ctx, opts.Images); err != nil {
		return err
	}
	b.Say("lab %s is up: %d nodes Ready, kubeconfig %s", lab.Name, lab.Nodes, lab.Kubeconfig())
	return nil
}

// adopt reports whether the lab is there, whole and as wanted.
func (b *builder) adopt(ctx context.Context) (bool, error) {
	st, err := load(b.lab.Name)
	if errors.Is(err, ErrDown) {
		return false, nil
	}
	if err != nil {
		b.Say("taking down what is there and starting again: %v", err)
		return false, nil
	}
	if broken := check(st); broken != nil {
		b.Say("taking down what is there and starting again: %v", broken)
		return false, nil
	}
	if st.Lab() != b.lab {
		return false, fmt.Errorf("lab %s is up with %d nodes, proxy mode %s and options %+v: take it down first, or choose another name",
			st.Name, st.Nodes, st.ProxyMode, st.Options)
	}
	b.state = st
	return true, b.mend(ctx)
}

// check reports why a lab cannot be used as it is, nil if it can.
func check(st *state.State) error {
	boot, err := proc.BootID()
	if err != nil {
		return err
	}
	switch {
	case st.BootID != boot:
		return errors.New("the machine has been restarted")
	case !st.Complete:
		return errors.New("an earlier start did not finish")
	case !wire.Laid(st.Lab()):
		return errors.New("a network namespace is gone")
	}
	for _, p := range st.Processes {
		if !p.Alive() && !p.Killed {
			return fmt.Errorf("process %s has ended", p.Name)
		}
	}
	return nil
}

// mend undoes partitions, cuts, freezes and kills that somebody forgot.
func (b *builder) mend(ctx context.Context) error {
	if err := wire.Unite(ctx, b.lab); err != nil {
		return err
	}
	if err := b.thawAll(ctx); err != nil {
		return err
	}
	return b.startKilled()
}

func (b *builder) thawAll(ctx context.Context) error {
	for _, h := range b.lab.Hosts() {
		port, err := wire.PortOf(ctx, b.lab, h)
		if err != nil {
			return err
		}
		frozen, err := cgroup.Frozen(h.Cgroup)
		if err != nil {
			return err
		}
		if !port.Cut && !frozen {
			continue
		}
		b.Say("%s was cut off or frozen: putting it back", h.Name)
		if err := Thaw(ctx, b.lab, h); err != nil {
			return err
		}
	}
	return nil
}

// build makes everything that was not there.
func (b *builder) build(ctx context.Context, repo string) error {
	if err := b.prepare(); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.buildImages(gctx, repo) })
	g.Go(func() error {
		b.Say("laying cables for %d hosts", len(b.lab.Hosts()))
		if err := wire.Lay(gctx, b.lab); err != nil {
			return err
		}
		return b.writeFiles()
	})
	if err := g.Wait(); err != nil {
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	g.Go(func() error { return b.startControlPlane(gctx) })
	for _, h := range b.lab.NodeHosts() {
		g.Go(func() error { return b.startRuntime(gctx, h) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := b.startNodes(ctx); err != nil || !b.lab.Flannel() {
		return err
	}
	return b.installFlannel(ctx)
}

// prepare makes the lab's directories, state and cgroups.
func (b *builder) prepare() error {
	for _, dir := range []string{filepath.Join(b.lab.RunDir(), "logs"), b.imageDir()} {
		if err := makeDir(dir); err != nil {
			return err
		}
	}
	boot, err := proc.BootID()
	if err != nil {
		return err
	}
	if b.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for the machine: %w", err)
	}
	b.state = &state.State{
		Name: b.lab.Name, Nodes: b.lab.Nodes, ProxyMode: b.lab.ProxyMode, Options: b.lab.Options, BootID: boot,
		APIPort: b.listener.Addr().(*net.TCPAddr).Port,
	}
	if err := b.state.Save(b.lab.StateFile()); err != nil {
		return err
	}
	for _, h := range b.lab.Hosts() {
		if b.cgroups[h.Name], err = cgroup.Make(h.Cgroup); err != nil {
			return err
		}
	}
	return copyProgram(b.lab.Program())
}

// makeDir makes a directory below a base that another lab's Down may just be removing because it is empty.
func makeDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	for range 10 {
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

func (b *builder) imageDir() string { return filepath.Join(b.lab.DataDir(), "images") }

func copyProgram(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	_, err = io.Copy(f, from)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	return nil
}

// buildImages makes the lab's own images.
func (b *builder) buildImages(ctx context.Context, repo string) error {
	b.Say("making images %s and %s", image.Tag(image.Pause), image.Tag(image.Echo))
	if err := image.Build(ctx, repo, b.imageDir()); err != nil || !b.lab.Flannel() {
		return err
	}
	return image.BuildFlannel(ctx, repo, b.imageDir())
}

// writeFiles makes all certificates and configuration.
func (b *builder) writeFiles() error {
	b.Say("writing certificates and configuration")
	ca, err := pki.NewAuthority()
	if err != nil {
		return err
	}
	files, err := control.Credentials(b.lab, ca)
	if err != nil {
		return err
	}
	if err := writeAll(b.lab.HostDir(b.lab.ControlPlane()), files); err != nil {
		return err
	}
	for _, h := range b.lab.NodeHosts() {
		if files, err = node.Files(b.lab, h, ca); err != nil {
			return err
		}
		if err := writeAll(b.lab.HostDir(h), files); err != nil {
			return err
		}
	}
	return b.writeKubeconfig(ca)
}

func (b *builder) writeKubeconfig(ca *pki.Authority) error {
	own, err := ca.Pair()
	if err != nil {
		return err
	}
	admin, err := ca.Sign(pki.Subject{User: "lab-admin", Groups: []string{"system:masters"}})
	if err != nil {
		return err
	}
	server := fmt.Sprintf("https://127.0.0.1:%d", b.state.APIPort)
	return writeAll(b.lab.RunDir(), map[string][]byte{
		filepath.Base(b.lab.Kubeconfig()): pki.Kubeconfig(server, own.Cert, admin),
	})
}

// writeAll writes files, which may be secret, below dir.
func writeAll(dir string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := makeDir(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	return nil
}

// finish waits for the nodes and loads images: the echo image and those of the caller.
func (b *builder) finish(ctx context.Context, tars []string) error {
	if err := b.waitReady(ctx); err != nil {
		return err
	}
	tars = append([]string{image.Tar(b.imageDir(), image.Echo)}, tars...)
	if err := LoadImages(ctx, b.lab, tars, b.Progress); err != nil {
		return err
	}
	b.state.Complete = true
	return b.state.Save(b.lab.StateFile())
}

// LoadImages imports docker-archive tars into every node.
func LoadImages(ctx context.Context, lab plan.Lab, tars []string, p *Progress) error {
	for _, tar := range tars {
		if _, err := os.Stat(tar); err != nil {
			return fmt.Errorf("find image: %w", err)
		}
	}
	nodes := lab.NodeHosts()
	for _, h := range nodes {
		frozen, err := cgroup.Frozen(h.Cgroup)
		if err != nil {
			return err
		}
		if frozen {
			return fmt.Errorf("load images: %s is frozen, thaw it first", h.Name)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, h := range nodes {
		g.Go(func() error { return node.Load(ctx, lab, h, tars...) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	p.Say("loaded %d images into %d nodes", len(tars), len(nodes))
	return nil
}
