// Package redisconn connects to Redis as the program's setting redis_url says:
// to a single server, a cluster, or what Sentinel calls the master. Tests connect
// by the same code.
package redisconn

import (
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	dial   = 2 * time.Second
	answer = 2 * time.Second
	pool   = 64 // least connections to one server
)

// Open opens a pool for the address:
//
//	redis://:password@host:6379/0                                          a single server
//	redis://:password@host:6379?addr=host2:6379&addr=host3:6379            a cluster
//	redis://:password-of-sentinel@host:26379?master_name=name&password=…   Sentinel
//
// rediss connects by TLS; further settings of go-redis' ParseURL,
// ParseClusterURL and ParseFailoverURL may follow. Open does not wait for the
// server. Its error names what is wrong with the address, never the password.
func Open(address string) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("redis_url is not a URL") // the cause would print the password
	}
	switch q := u.Query(); {
	case q.Get("master_name") != "":
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, fmt.Errorf("redis_url: %w", err)
		}
		o.ContextTimeoutEnabled, o.DialTimeout, o.ReadTimeout, o.WriteTimeout = true, dial, answer, answer
		o.PoolSize = max(o.PoolSize, pool)
		return redis.NewFailoverClient(o), nil
	case q.Has("addr"):
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, fmt.Errorf("redis_url: %w", err)
		}
		o.ContextTimeoutEnabled, o.DialTimeout, o.ReadTimeout, o.WriteTimeout = true, dial, answer, answer
		o.PoolSize = max(o.PoolSize, pool)
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("redis_url: %w", err)
	}
	o.ContextTimeoutEnabled, o.DialTimeout, o.ReadTimeout, o.WriteTimeout = true, dial, answer, answer
	o.PoolSize = max(o.PoolSize, pool)
	return redis.NewClient(o), nil
}
