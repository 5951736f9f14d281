package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
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
