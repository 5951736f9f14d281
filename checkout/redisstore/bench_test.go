package redisstore_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"onsale/checkout"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
)

// BenchmarkBest asks for two seats of a house of 80,000 in rows of forty, sold out but
// for single seats and a pair in the last row, or with two tiers that take turns.
// The time of the script itself, from Redis' own statistics, is reported beside.
func BenchmarkBest(b *testing.B) {
	const rows, width = 2000, 40
	plain := strings.TrimSpace(strings.Repeat(strings.Repeat("0", width)+" ", rows))
	for _, bm := range []struct {
		name   string
		states func(o int) byte
		want   func(h *hall) checkout.Wanted
	}{
		{"empty", func(int) byte { return 'A' }, func(h *hall) checkout.Wanted { return checkout.Wanted{Best: h.search(2, -1, 0)} }},
		{"few singles", func(o int) byte { return free(o%400 == 0 || o >= rows*width-2) }, func(h *hall) checkout.Wanted { return checkout.Wanted{Best: h.search(2, -1, 0)} }},
		{"every tenth", func(o int) byte { return free(o%10 == 0 || o >= rows*width-2) }, func(h *hall) checkout.Wanted { return checkout.Wanted{Best: h.search(2, -1, 0)} }},
		{"some pairs across rows", func(o int) byte { return free(o%1600 == 0 || o%1600 == 1599 || o >= rows*width-2) }, func(h *hall) checkout.Wanted {
			return checkout.Wanted{Best: h.search(2, -1, 0)}
		}},
		{"pairs across rows", func(o int) byte { return free(o%width == 0 || o%width == width-1 || o >= rows*width-2) }, func(h *hall) checkout.Wanted {
			return checkout.Wanted{Best: h.search(2, -1, 0)}
		}},
		{"picked", func(int) byte { return 'A' }, func(*hall) checkout.Wanted { return checkout.Wanted{Ordinals: []int{17, 18}} }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			o, err := redis.ParseURL(stacktest.Redis(b).URL())
			if err != nil {
				b.Fatal(err)
			}
			rdb := redis.NewClient(o)
			b.Cleanup(func() { _ = rdb.Close() })
			states := make([]byte, rows*width)
			for i := range states {
				states[i] = bm.states(i)
			}
			h := in(b, rdb, plain, string(states))
			visitor := h.visitor(time.Hour)
			w := bm.want(h)
			ctx := context.Background()
			var took float64
			for i := range b.N {
				before := scriptMicros(b, rdb)
				held, err := h.want(visitor, w, time.Minute)
				if err != nil {
					b.Fatal(err)
				}
				if i > 0 { // the first loads the script
					took += scriptMicros(b, rdb) - before
				}
				b.StopTimer()
				if err := h.Release(ctx, h.event, visitor, held.ID); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			if b.N > 1 {
				b.ReportMetric(took/float64(b.N-1), "script-µs/op")
			}
		})
	}
}

func free(yes bool) byte {
	if yes {
		return 'A'
	}
	return 'S'
}

var evalshaTime = regexp.MustCompile(`cmdstat_evalsha:calls=\d+,usec=(\d+)`)

// scriptMicros is how long scripts have run in all.
func scriptMicros(b *testing.B, rdb *redis.Client) float64 {
	b.Helper()
	info, err := rdb.Info(context.Background(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	m := evalshaTime.FindStringSubmatch(info)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		b.Fatal(fmt.Errorf("%s: %w", m[0], err))
	}
	return n
}

// BenchmarkHold holds single seats for as many buyers at once, as a script does for
// requests that come together.
func BenchmarkHold(b *testing.B) {
	for _, together := range []int{1, 8, 32} {
		b.Run(strconv.Itoa(together)+" together", func(b *testing.B) {
			o, err := redis.ParseURL(stacktest.Redis(b).URL())
			if err != nil {
				b.Fatal(err)
			}
			rdb := redis.NewClient(o)
			b.Cleanup(func() { _ = rdb.Close() })
			const rows, width, each = 2000, 40, 10
			h := in(b, rdb, strings.TrimSpace(strings.Repeat(strings.Repeat("0", width)+" ", rows)), strings.Repeat("A", rows*width))
			visitors := make([]string, together)
			holds := 0
			before := scriptMicros(b, rdb)
			for b.Loop() {
				if holds%(together*each) == 0 { // ten holds each, then others come
					if holds+together*each > rows*width {
						b.Fatal("the house is too small for so many")
					}
					b.StopTimer()
					for i := range visitors {
						visitors[i] = h.visitor(time.Hour)
					}
					b.StartTimer()
				}
				requests := make([]lua.HoldInput, together)
				for i := range requests {
					requests[i] = lua.HoldInput{
						Visitor: visitors[i], ID: uuid.NewString(), TTL: time.Hour, Limit: each, Singles: "avoid", Ordinals: []int{holds},
					}
					holds++
				}
				replies, err := lua.Hold(context.Background(), rdb, h.event, requests)
				if err != nil || replies[0].Code != lua.HoldOK {
					b.Fatal(replies, err)
				}
			}
			b.ReportMetric((scriptMicros(b, rdb)-before)/float64(holds), "script-µs/hold")
		})
	}
}
