package redisstore_test

import (
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"onsale/internal/stack/stacktest"
	"onsale/lua"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

// BenchmarkJoin joins new visitors from 64 goroutines; BenchmarkZAdd is what the
// same Redis does with nothing but the sorted set.
func BenchmarkJoin(b *testing.B) {
	r := newRoom(b, client(b, stacktest.Redis(b).URL()), wide(), redisstore.Options{})
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := r.Join(b.Context(), r.event, waitroom.Join{Visitor: pass.NewVisitor(), Fresh: true}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkZAdd(b *testing.B) {
	rdb := client(b, stacktest.Redis(b).URL())
	key := lua.QueueKey("bench-" + pass.NewVisitor())
	b.Cleanup(func() { rdb.Del(b.Context(), key) })
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := rdb.ZAdd(b.Context(), key, redis.Z{Score: float64(n.Add(1)), Member: pass.NewVisitor()}).Err(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkAdmit is one tick that admits 500 from a long line.
func BenchmarkAdmit(b *testing.B) {
	for _, waiting := range []int{1_000, 200_000} {
		b.Run(map[int]string{1_000: "1000 waiting", 200_000: "200000 waiting"}[waiting], func(b *testing.B) {
			s := wide()
			s.Throttle.MaxShoppers = 1_000_000
			r := newRoom(b, client(b, stacktest.Redis(b).URL()), s, redisstore.Options{Batch: 100}).shopOK()
			fill := func(from, n int) {
				pipe := r.rdb.Pipeline()
				for i := range n {
					pipe.ZAdd(b.Context(), lua.QueueKey(r.event), redis.Z{Score: float64(lua.Score(int(waitroom.General), int64(from+i))), Member: pass.NewVisitor()})
					if i%1000 == 999 || i == n-1 {
						if _, err := pipe.Exec(b.Context()); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			fill(1, waiting)
			next := waiting + 1
			for b.Loop() {
				if tick := r.tick(); tick.Admitted > 0 {
					b.StopTimer()
					fill(next, tick.Admitted)
					next += tick.Admitted
					b.StartTimer()
				}
			}
		})
	}
}
