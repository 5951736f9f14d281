package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

const (
	redisDial     = 2 * time.Second
	redisAnswer   = 2 * time.Second
	redisPool     = 64
	postgresPool  = 20
	postgresReuse = 30 * time.Minute
)

// redisLog takes what go-redis says about its pool; every failed call is an
// error of its caller besides.
type redisLog struct{ log *slog.Logger }

// Printf implements the logging interface of go-redis.
func (r redisLog) Printf(ctx context.Context, format string, args ...any) {
	r.log.DebugContext(ctx, fmt.Sprintf(format, args...), slog.String("part", "redis"))
}

// connectRedis opens a pool for a single server, a cluster (?addr=…) or
// Sentinel (?master_name=…). It does not wait for the server.
func connectRedis(address string) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("redis_url is not a URL") //nolint:err113 // the cause would print the password
	}
	switch q := u.Query(); {
	case q.Get("master_name") != "":
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, fmt.Errorf("redis_url: %w", err)
		}
		o.ContextTimeoutEnabled, o.DialTimeout, o.ReadTimeout, o.WriteTimeout = true, redisDial, redisAnswer, redisAnswer
		o.PoolSize = max(o.PoolSize, redisPool)
		return redis.NewFailoverClient(o), nil
	case q.Has("addr"):
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, fmt.Errorf("redis_url: %w", err)
		}
		o.ContextTimeoutEnabled, o.DialTimeout, o.ReadTimeout, o.WriteTimeout = true, redisDial, redisAnswer, redisAnswer
		o.PoolSize = max(o.PoolSize, redisPool)
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("redis_url: %w", err)
	}
	o.ContextTimeoutEnabled, o.DialTimeout, o.ReadTimeout, o.WriteTimeout = true, redisDial, redisAnswer, redisAnswer
	o.PoolSize = max(o.PoolSize, redisPool)
	return redis.NewClient(o), nil
}

// connectPostgres opens a pool. It does not wait for the server. Several hosts
// and target_session_attrs in the URL follow a failover.
func connectPostgres(ctx context.Context, address string) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err // pgx leaves the password out of it
	}
	if u, err := url.Parse(address); err != nil || !u.Query().Has("pool_max_conns") {
		c.MaxConns = postgresPool
	}
	c.MaxConnLifetime = postgresReuse
	c.HealthCheckPeriod = 10 * time.Second
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 3 * time.Second
	}
	return pgxpool.NewWithConfig(ctx, c)
}
