package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/lua"
	"onsale/waitroom"
)

// quietNews is after how long without news the subscription is checked.
const quietNews = 15 * time.Second

// News implements waitroom.Store. It subscribes anew for as long as it takes.
func (s *Store) News(ctx context.Context, f func(waitroom.News)) error {
	sub := s.rdb.PSubscribe(ctx, lua.RoomChannels)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { sub.Close() })() // ends a Receive that waits
	for ctx.Err() == nil {
		message, err := sub.ReceiveTimeout(ctx, quietNews)
		if err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && sub.Ping(ctx) == nil {
				continue
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		switch m := message.(type) {
		case *redis.Subscription:
			f(waitroom.News{}) // what was said before is lost
		case *redis.Message:
			if n, ok := news(m.Channel, m.Payload); ok {
				f(n)
			}
		}
	}
	return ctx.Err()
}

// news reads a message of lua.RoomChannel.
func news(channel, payload string) (waitroom.News, bool) {
	_, event, ok := strings.Cut(channel, "{")
	event, _, closed := strings.Cut(event, "}")
	kind, names, _ := strings.Cut(payload, " ")
	if !ok || !closed || event == "" {
		return waitroom.News{}, false
	}
	switch kind {
	case "r":
		return waitroom.News{Event: event}, true
	case "a", "v":
		return waitroom.News{Event: event, Visitors: strings.Fields(names), Admitted: kind == "a"}, true
	}
	return waitroom.News{}, false
}
