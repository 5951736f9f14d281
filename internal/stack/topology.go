package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

const (
	clusterMasters = 3
	clusterSlots   = 16384
	sentinels      = 3

	// MasterName is what a Sentinels' master is called.
	MasterName = "onsale"
)

// Cluster is a running Redis Cluster of three masters without replicas, which
// keeps nothing.
type Cluster struct{ Masters []*Redis }

// StartCluster starts a cluster and returns when every master knows that all
// slots are served. ctx bounds the start. Nothing is left running when it fails.
//
// Errors: ErrNoRedis, and everything the servers say when they refuse to start.
func StartCluster(ctx context.Context, log *slog.Logger) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := &Cluster{Masters: make([]*Redis, clusterMasters)}
	password := rand.Text()
	var starting errgroup.Group
	for i := range c.Masters {
		starting.Go(func() (err error) {
			c.Masters[i], err = StartRedis(ctx, RedisOptions{
				RealOnly: true, Logger: log, password: password,
				extra: []string{"cluster-enabled yes", "cluster-node-timeout 2000", "masterauth " + password},
			})
			return err
		})
	}
	err := starting.Wait()
	if err == nil {
		err = c.join(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start Redis Cluster: %w", err), stopSoon(ctx, c.Stop))
	}
	return c, nil
}

// join gives the slots to the masters and introduces them to each other.
func (c *Cluster) join(ctx context.Context) error {
	clients := make([]*redis.Client, len(c.Masters))
	for i, r := range c.Masters {
		clients[i] = r.client()
		defer clients[i].Close()
	}
	for i, client := range clients {
		from, to := i*clusterSlots/len(clients), (i+1)*clusterSlots/len(clients)-1
		if err := client.ClusterAddSlotsRange(ctx, from, to).Err(); err != nil {
			return fmt.Errorf("assign slots: %w", err)
		}
		if i > 0 {
			if err := clients[0].ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(c.Masters[i].port)).Err(); err != nil {
				return fmt.Errorf("meet: %w", err)
			}
		}
	}
	return wait(ctx, func() error {
		for _, client := range clients {
			info, err := client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			for _, want := range []string{"cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d", len(clients)), fmt.Sprintf("cluster_size:%d", len(clients))} {
				if !strings.Contains(info, want+"\r\n") {
					return fmt.Errorf("not %s yet", want)
				}
			}
		}
		return nil
	})
}

// URL returns the address of the cluster for the setting redis_url, password
// included.
func (c *Cluster) URL() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("", c.Masters[0].password), Host: c.Masters[0].address()}
	others := url.Values{}
	for _, r := range c.Masters[1:] {
		others.Add("addr", r.address())
	}
	u.RawQuery = others.Encode()
	return u.String()
}

// Stop ends all masters.
func (c *Cluster) Stop(ctx context.Context) error { return stopAll(ctx, c.Masters) }

// Sentinels is a running master with a replica, watched by three sentinels. It
// keeps nothing.
type Sentinels struct {
	Servers []*Redis // the first was started as the master

	dir    string
	ports  []int
	childs []*child
}

// StartSentinels starts the servers and returns when the sentinels agree on the
// master and know its replica. ctx bounds the start. Nothing is left running when
// it fails.
//
// Errors: ErrNoRedis, and everything the servers say when they refuse to start.
func StartSentinels(ctx context.Context, log *slog.Logger) (*Sentinels, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := &Sentinels{}
	if err := s.start(ctx, log); err != nil {
		return nil, errors.Join(fmt.Errorf("start Redis Sentinel: %w", err), stopSoon(ctx, s.Stop))
	}
	return s, nil
}

func (s *Sentinels) start(ctx context.Context, log *slog.Logger) error {
	binary, err := FindRedis()
	if err != nil {
		return err
	}
	password := rand.Text()
	master, err := StartRedis(ctx, RedisOptions{
		RealOnly: true, Logger: log, password: password, extra: []string{"masterauth " + password},
	})
	if err != nil {
		return err
	}
	s.Servers = append(s.Servers, master)
	replica, err := StartReplica(ctx, master, master.address(), log)
	if err != nil {
		return err
	}
	s.Servers = append(s.Servers, replica)
	if s.dir, err = os.MkdirTemp("", "onsale-sentinel-"); err != nil {
		return err
	}
	for i := range sentinels {
		if err := s.startSentinel(ctx, binary, i, master); err != nil {
			return err
		}
	}
	return wait(ctx, func() error { return s.agree(ctx) })
}

// StartReplica starts a server that copies master, which was started here, by way
// of address (host:port): its own, or that of something in between. The replica has
// the same password and keeps nothing. StartReplica returns when the replica has
// caught up; ctx bounds this.
//
// Errors: ErrUnsupported for a master without a process, and everything the
// servers say when they refuse.
func StartReplica(ctx context.Context, master *Redis, address string, log *slog.Logger) (*Redis, error) {
	if master.PID() == 0 {
		return nil, ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	client := master.client()
	defer client.Close()
	// No other replica is to be waited for with the first copy.
	const delay = "repl-diskless-sync-delay"
	if err := client.ConfigSet(ctx, delay, "0").Err(); err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	replica, err := StartRedis(ctx, RedisOptions{
		RealOnly: true, Logger: log, password: master.password,
		extra: []string{"masterauth " + master.password, delay + " 0", "replicaof " + host + " " + port},
	})
	if err != nil {
		return nil, err
	}
	err = wait(ctx, func() error {
		info, err := client.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "state=online") {
			err = errors.New("the replica has not caught up")
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a replica: %w", err), stopSoon(ctx, replica.Stop))
	}
	return replica, nil
}

// Promote makes a replica a master, as Sentinel or an operator would, with the
// data it has.
func (r *Redis) Promote(ctx context.Context) error {
	if r.PID() == 0 {
		return ErrUnsupported
	}
	client := r.client()
	defer client.Close()
	if err := client.ReplicaOf(ctx, "NO", "ONE").Err(); err != nil {
		return fmt.Errorf("promote the replica: %w", err)
	}
	return nil
}

// startSentinel starts one sentinel; another process may snatch its port away.
func (s *Sentinels) startSentinel(ctx context.Context, binary string, i int, master *Redis) error {
	for attempt := 1; ; attempt++ {
		port, err := FreePort(ctx)
		if err != nil {
			return err
		}
		dir := filepath.Join(s.dir, strconv.Itoa(i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		// It rewrites its configuration, so that this has to be a file.
		file := filepath.Join(dir, "sentinel.conf")
		lines := []string{
			"bind 127.0.0.1", "port " + strconv.Itoa(port), "dir " + strconv.Quote(dir), "daemonize no",
			"requirepass " + master.password, "sentinel sentinel-pass " + master.password,
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", MasterName, master.port),
			fmt.Sprintf("sentinel auth-pass %s %s", MasterName, master.password),
			fmt.Sprintf("sentinel down-after-milliseconds %s 2000", MasterName),
			fmt.Sprintf("sentinel failover-timeout %s 2000", MasterName),
		}
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return err
		}
		started, err := startChild(childSpec{
			path: binary, args: []string{file, "--sentinel"}, logFile: filepath.Join(dir, "log"), death: syscall.SIGKILL,
		})
		if err != nil {
			return err
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		err = started.ready(ctx, func(ctx context.Context) error { return dial(ctx, address) })
		if err == nil {
			s.childs, s.ports = append(s.childs, started), append(s.ports, port)
			return nil
		}
		_ = stopSoon(ctx, func(ctx context.Context) error { return started.stop(ctx, syscall.SIGTERM) })
		if attempt == 20 || !says(err, "Address already in use") {
			return err
		}
	}
}

// agree reports whether each sentinel knows the others and the replica.
func (s *Sentinels) agree(ctx context.Context) error {
	for _, port := range s.ports {
		client := redis.NewSentinelClient(&redis.Options{
			Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Password: s.Servers[0].password, MaxRetries: -1,
			DisableIdentity: true, Protocol: 2,
		})
		defer client.Close()
		master, err := client.Master(ctx, MasterName).Result()
		if err != nil {
			return err
		}
		if master["num-other-sentinels"] != strconv.Itoa(sentinels-1) || master["num-slaves"] != "1" {
			return errors.New("the sentinels do not know each other yet")
		}
		replicas, err := client.Replicas(ctx, MasterName).Result()
		if err != nil {
			return err
		}
		if len(replicas) != 1 || replicas[0]["master-link-status"] != "ok" {
			return errors.New("the replica is not known yet")
		}
	}
	return nil
}

// URL returns the address of the sentinels for the setting redis_url, passwords
// included.
func (s *Sentinels) URL() string {
	address := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	u := url.URL{Scheme: "redis", User: url.UserPassword("", s.Servers[0].password), Host: address(s.ports[0]), Path: "/0"}
	q := url.Values{"master_name": {MasterName}, "password": {s.Servers[0].password}}
	for _, port := range s.ports[1:] {
		q.Add("addr", address(port))
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Stop ends the sentinels and the servers and removes what they kept.
func (s *Sentinels) Stop(ctx context.Context) error {
	var stopping errgroup.Group
	for _, c := range s.childs {
		stopping.Go(func() error { return c.stop(ctx, syscall.SIGTERM) })
	}
	err := errors.Join(stopping.Wait(), stopAll(ctx, s.Servers))
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

func stopAll(ctx context.Context, servers []*Redis) error {
	var stopping errgroup.Group
	for _, r := range servers {
		if r != nil {
			stopping.Go(func() error { return r.Stop(ctx) })
		}
	}
	return stopping.Wait()
}

// stopSoon stops what has just failed to start, though the start's time may be over.
func stopSoon(ctx context.Context, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return stop(ctx)
}

// client connects to the server itself, wherever it belongs to.
func (r *Redis) client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: r.address(), Password: r.password, ContextTimeoutEnabled: true, DisableIdentity: true, Protocol: 2,
	})
}

// wait polls until check has nothing to object.
func wait(ctx context.Context, check func() error) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (%w)", ctx.Err(), err)
		case <-poll.C:
		}
	}
}
