package redisstore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/redisstore"
)

// The page tells the truth about the wait (G6): a sale in virtual time, with the
// real throttle and the real estimate. Of the ranges told to those in line, the
// true wait lies in at least half, and within twice the range in 95 of 100.
func TestTheWaitToldIsTrue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		throttle waitroom.Throttle
		noShow   float64
		stay     int // seconds, on average
	}{
		{"the rate limits", waitroom.Throttle{RatePerMinute: 90, Burst: 5, MaxShoppers: 100_000}, 0.2, 120},
		{"the shop is full", waitroom.Throttle{RatePerMinute: 6000, Burst: 50, MaxShoppers: 60}, 0, 60},
		{"the shop is full, with no-shows", waitroom.Throttle{RatePerMinute: 6000, Burst: 50, MaxShoppers: 60}, 0.3, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const (
				line   = 250
				warmUp = 5 * 60 // seconds, after which the pace is known
				asked  = 9 * 60
				lasts  = 18 * 60
			)
			server := miniredis.RunT(t)
			start := time.UnixMilli(1_800_000_000_000)
			server.SetTime(start)
			s := wide()
			s.Throttle = c.throttle
			s.Throttle.Lease, s.Throttle.ClaimWindow = time.Hour, 30*time.Second
			r := newRoom(t, client(t, "redis://"+server.Addr()), s, redisstore.Options{})
			random := rand.New(rand.NewPCG(7, 11))
			type told struct {
				at   int
				wait waitroom.Wait
			}
			var (
				open   = make(map[string][]told)
				claims = make(map[int][]string) // by second
				ends   = make(map[int][]string)
				first  = 1 // the next to be admitted; nobody leaves, so they go in order
				joined = 0
			)
			in, near, all := 0, 0, 0
			for second := range lasts {
				server.SetTime(start.Add(time.Duration(second) * time.Second))
				r.shopOK()
				for range min(line-(joined-first), 20) {
					if joined++; r.join(fmt.Sprintf("v%06d", joined)).State == waitroom.Ready {
						first++ // only at the very beginning
					}
				}
				for range r.tick().Admitted {
					id := fmt.Sprintf("v%06d", first)
					first++
					for _, w := range open[id] {
						all++
						took := float64(second - w.at)
						low, high := float64(w.wait.Low), float64(w.wait.High)
						if took >= low && took <= high {
							in++
						}
						if half := (high - low) / 2; took >= low-half && took <= high+half {
							near++
						}
					}
					delete(open, id)
					if random.Float64() >= c.noShow {
						at := second + 1 + random.IntN(8)
						claims[at] = append(claims[at], id)
					}
				}
				for _, id := range claims[second] {
					switch _, err := r.Claim(t.Context(), r.event, id); {
					case fault.Is(err, fault.ShopFull):
						claims[second+1] = append(claims[second+1], id)
					case err != nil:
						t.Fatal(err)
					default:
						end := second + 1 + random.IntN(2*c.stay)
						ends[end] = append(ends[end], id)
					}
				}
				for _, id := range ends[second] {
					if _, err := r.Finish(t.Context(), r.event, id); err != nil {
						t.Fatal(err)
					}
				}
				if second < warmUp || second > asked {
					continue
				}
				room := r.now()
				for range 3 { // somebody in line looks at the page
					ahead := random.IntN(joined - first)
					if w := room.Wait(ahead); w != nil {
						id := fmt.Sprintf("v%06d", first+ahead)
						open[id] = append(open[id], told{second, *w})
					}
				}
			}
			t.Logf("of %d waits %.0f %% were in the range and %.0f %% within twice the range", all, 100*float64(in)/float64(all), 100*float64(near)/float64(all))
			if all < 500 || in*2 < all || near*100 < all*95 {
				t.Errorf("of %d waits %d were in the range and %d within twice the range", all, in, near)
			}
		})
	}
}
