package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Forward accepts connections on a listener of the machine and continues each one to target inside of the network
// namespace at path. It ends when the listener does.
func Forward(ctx context.Context, l net.Listener, path, target string) error {
	return forward(l, func() (conn net.Conn, err error) {
		err = Do(path, func() (err error) {
			// A numeric address is dialled on the calling goroutine, hence in the namespace.
			conn, err = new(net.Dialer).DialContext(ctx, "tcp", target)
			return err
		})
		return conn, err
	})
}

func forward(l net.Listener, dial func() (net.Conn, error)) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept connection: %w", err)
		}
		go join(conn, dial)
	}
}

// join gives up silently on a target that is not there: the client sees its connection closed, as it would without a
// forwarder.
func join(conn net.Conn, dial func() (net.Conn, error)) {
	defer conn.Close()
	peer, err := dial()
	if err != nil {
		return
	}
	defer peer.Close()
	var directions sync.WaitGroup
	directions.Go(func() { copyHalf(peer, conn) })
	directions.Go(func() { copyHalf(conn, peer) })
	directions.Wait()
}

// copyHalf copies one direction and then closes it, so that half-closed connections work.
func copyHalf(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if tcp, ok := to.(*net.TCPConn); ok && err == nil {
		err = tcp.CloseWrite()
	}
	if err != nil {
		to.Close()
		from.Close()
	}
}
