package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/portforward"

	"github.com/invar-lb/invar/pkg/explain"
)

// findAgainEvery is the time between two looks for a controller that leads, after a connection was lost.
const findAgainEvery = time.Second

func newUICommand(t *tool) *cobra.Command {
	var port int
	var noBrowser bool
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Show the controller's status page in a browser, until interrupted",
		Long: "Show the controller's status page in a browser, until interrupted: pools, addresses by node, the last moves, conflicts.\n\n" +
			"It forwards a port of this machine's loopback interface to the controller that leads, for which you need the right to " +
			"create pods/portforward in Invar's namespace. When another controller comes to lead, it goes on with that.",
		PreRunE: t.output.refuse,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := t.client()
			if err != nil {
				return err
			}
			u := ui{tool: t, client: client, port: port}
			if !noBrowser {
				u.open = openBrowser
			}
			return u.run(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&port, "port", 0, "port of this machine to serve the page on (0: a free one)")
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "print where the page is, and open no browser")
	return cmd
}

// ui forwards a local port to the controller that leads.
type ui struct {
	*tool
	client kubernetes.Interface
	port   int                // on this machine; 0 until one is chosen
	open   func(string) error // opens a URL; nil: nobody wants that
}

// run forwards until ctx is done. What prevents it at first is an error; a connection that is lost later is made again.
func (u *ui) run(ctx context.Context) error {
	for first := true; ; first = false {
		err := u.forward(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if first && !errors.Is(err, portforward.ErrLostConnectionToPod) {
			return err
		}
		fmt.Fprintf(u.ErrOut, "%v; looking for the controller that leads\n", err)
		select {
		case <-time.After(findAgainEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// forward finds the controller that leads and forwards to it until ctx is done or the connection is lost.
func (u *ui) forward(ctx context.Context) error {
	pods, err := u.pods(ctx, u.client)
	if err != nil {
		return err
	}
	c := &explain.Cluster{}
	for i := range pods {
		c.Pods = append(c.Pods, podOf(&pods[i]))
	}
	u.askControllers(ctx, u.client, c, "")
	if c.Controller == nil {
		return fmt.Errorf("no controller leads: %s", c.NoController)
	}
	pod := c.Controller.Identity
	dialer, err := u.dialer(u.client, pod)
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	ports := []string{fmt.Sprintf("%d:%d", u.port, u.statePort)}
	local := []string{"127.0.0.1"}
	forwarder, err := portforward.NewOnAddressesForStreamingWithContext(ctx, dialer, local, ports, ready, io.Discard, u.ErrOut)
	if err != nil {
		return fmt.Errorf("set up port-forward: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case err := <-ended:
		return err
	case <-ready:
	}
	if err := u.announce(forwarder, pod); err != nil {
		forwarder.Close()
		<-ended
		return err
	}
	return <-ended
}

// announce says where the page is, the first time, and opens it. Its place stays the same.
func (u *ui) announce(forwarder *portforward.PortForwarder, pod string) error {
	ports, err := forwarder.GetPorts()
	if err != nil {
		return fmt.Errorf("port-forward: %w", err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local)
	fmt.Fprintf(u.Out, "%s shows %s; Ctrl-C ends it\n", url, pod)
	if u.open != nil {
		if err := u.open(url); err != nil {
			fmt.Fprintln(u.ErrOut, "no browser was opened:", err)
		}
	}
	u.port, u.open = int(ports[0].Local), nil
	return nil
}

// openBrowser opens a URL in the user's browser.
func openBrowser(url string) error {
	var cmd *exec.Cmd
	switch {
	case runtime.GOOS == "darwin":
		cmd = exec.Command("open", url)
	case runtime.GOOS == "windows":
		cmd = exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
	case os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "":
		return errors.New("there is no screen")
	default:
		cmd = exec.Command("xdg-open", url)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // some stay as long as the browser's window
	return nil
}
