package redisstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/lua"
)

// Guess implements checkout.HoldStore. Its commands are one transaction.
func (s *Store) Guess(ctx context.Context, event, visitor string, add int, age time.Duration) (n int, left time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := lua.GuessesKey(event, visitor)
	var count *redis.IntCmd
	var ttl *redis.DurationCmd
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SetArgs(ctx, key, 0, redis.SetArgs{Mode: "NX", TTL: age})
		count, ttl = p.IncrBy(ctx, key, int64(add)), p.PTTL(ctx, key)
		return nil
	})
	// SET NX of a key that is there answers nil, which is no failure.
	if err != nil && (count == nil || count.Err() != nil || ttl.Err() != nil) {
		return 0, 0, down(err)
	}
	return int(count.Val()), ttl.Val(), nil
}
