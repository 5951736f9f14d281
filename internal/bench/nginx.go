package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// nginx serves one file.
type nginx struct {
	process *process
	address string
	path    string
}

func findNginx() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	for _, path := range []string{"/usr/sbin/nginx", "/usr/local/sbin/nginx", "/opt/homebrew/bin/nginx"} {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
	}
	return "", errors.New("nginx is missing: apt-get install nginx-light")
}

// startNginx serves content from a file in folder, set up as one would to serve
// files fast: as many workers as processors, sendfile, the file kept open, no
// log, connections kept.
func startNginx(ctx context.Context, program, folder string, content []byte) (_ *nginx, err error) {
	for name, data := range map[string][]byte{"event.json": content, "nginx.conf": nil, "error.log": nil} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			return nil, err
		}
	}
	const attempts = 5 // another program may be quicker at the port
	for range attempts {
		var n *nginx
		if n, err = tryNginx(ctx, program, folder); err == nil || ctx.Err() != nil {
			return n, err
		}
	}
	return nil, err
}

func tryNginx(ctx context.Context, program, folder string) (_ *nginx, err error) {
	address, err := unusedAddress(ctx)
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // its own user need not be able to reach the folder
	}
	configuration := fmt.Sprintf(`%s
daemon off;
worker_processes %d;
pid %[3]s/nginx.pid;
error_log %[3]s/error.log crit;
events { worker_connections 4096; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	tcp_nodelay on;
	keepalive_requests 1000000000;
	open_file_cache max=16 inactive=1h;
	types { application/json json; }
	client_body_temp_path %[3]s;
	proxy_temp_path %[3]s;
	fastcgi_temp_path %[3]s;
	uwsgi_temp_path %[3]s;
	scgi_temp_path %[3]s;
	server { listen %[4]s; root %[3]s; }
}
`, user, runtime.GOMAXPROCS(0), folder, address)
	file := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return nil, err
	}
	n := &nginx{address: address, path: "/event.json"}
	n.process, err = startProcess([]string{program, "-c", file, "-p", folder, "-e", filepath.Join(folder, "error.log")}, os.Environ(), nil)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = poll(wait, 20*time.Millisecond, func() bool {
		select {
		case <-n.process.done:
			cancel()
			return false
		default:
		}
		conn, err := dial(wait, address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	}, func() error { return errors.New("nginx does not answer") })
	if err != nil {
		err = errors.Join(err, n.close())
		return nil, fmt.Errorf("%w: %w", err, n.process.ended())
	}
	return n, nil
}

// unusedAddress finds an address of this machine that nobody listens on now.
func unusedAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (n *nginx) close() error { return n.process.stop() }
