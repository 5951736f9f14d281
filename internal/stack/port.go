package stack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// FreePort returns a TCP port of 127.0.0.1 on which nobody listens now.
//
// It picks below the range from which the kernel takes ports of outgoing
// connections (32768 up on Linux, 49152 up on macOS): a server restarted on its
// port must not find it taken by some client's connection. Another process can
// still be quicker, so callers try again with another port.
func FreePort(ctx context.Context) (int, error) {
	var config net.ListenConfig
	const low, high = 20000, 32000
	for range 100 {
		port := low + rand.IntN(high-low)
		listener, err := config.Listen(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	listener, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}
