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

// With three in ten not coming, the shop stays full: the number of shoppers is
// within five percent of the cap while people wait, and never above it. Hours of
// a sale in virtual time: shoppers stay for five minutes, those who come claim
// within ten seconds, the claim window is a minute.
func TestNoShowsLeaveNoSlotIdle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most   int
		noShow float64
	}{{100, 0.3}, {200, 0.3}, {100, 0}} {
		t.Run(fmt.Sprintf("cap %d, %.0f %% no-shows", c.most, c.noShow*100), func(t *testing.T) {
			t.Parallel()
			const (
				warmUp = 8 * 60 // seconds
				lasts  = 12 * 60
			)
			server := miniredis.RunT(t)
			now := time.UnixMilli(1_800_000_000_000)
			server.SetTime(now)
			s := wide()
			s.Throttle = waitroom.Throttle{RatePerMinute: 600, Burst: 20, MaxShoppers: c.most, Lease: time.Hour, ClaimWindow: time.Minute}
			r := newRoom(t, client(t, "redis://"+server.Addr()), s, redisstore.Options{})
			random := rand.New(rand.NewPCG(1, uint64(c.most)))
			type plan struct {
				id string
				at int // second
			}
			var claims, ends []plan
			seen, joined := 0, 0
			turn := func(second int) {
				id := fmt.Sprintf("v%06d", seen)
				seen++
				if random.Float64() >= c.noShow {
					claims = append(claims, plan{id, second + 1 + random.IntN(9)})
				}
			}
			sum, samples, full, worst := 0, 0, 0, 0
			for second := range warmUp + lasts {
				now = now.Add(time.Second)
				server.SetTime(now)
				r.shopOK()
				for joined < seen+50 { // there are always people waiting
					if v := r.join(fmt.Sprintf("v%06d", joined)); v.State == waitroom.Ready {
						turn(second)
					}
					joined++
				}
				for range r.tick().Admitted {
					turn(second)
				}
				rest := claims[:0]
				for _, p := range claims {
					if p.at > second {
						rest = append(rest, p)
						continue
					}
					switch _, err := r.Claim(t.Context(), r.event, p.id); {
					case fault.Is(err, fault.ShopFull):
						full++
						rest = append(rest, plan{p.id, second + 1}) // the page tries again
					case err != nil:
						t.Fatalf("claim of %s: %v", p.id, err)
					default:
						ends = append(ends, plan{p.id, second + 60 + random.IntN(480)})
					}
				}
				claims = rest
				stay := ends[:0]
				for _, p := range ends {
					if p.at > second {
						stay = append(stay, p)
					} else if _, err := r.Finish(t.Context(), r.event, p.id); err != nil {
						t.Fatal(err)
					}
				}
				ends = stay
				n := r.now()
				if n.Shopping > c.most {
					t.Fatalf("%d shop, the cap is %d", n.Shopping, c.most)
				}
				if second >= warmUp {
					sum += n.Shopping
					samples++
					worst = max(worst, c.most-n.Shopping)
				}
			}
			mean := float64(sum) / float64(samples)
			t.Logf("on average %.1f of %d shop, at least %d; %d turns found the shop full for a moment, of %d", mean, c.most, c.most-worst, full, seen)
			if mean < 0.95*float64(c.most) {
				t.Errorf("on average %.1f shop, less than 95 %% of %d", mean, c.most)
			}
			if share := r.now().NoShow; share < c.noShow-0.1 || share > c.noShow+0.1 {
				t.Errorf("the room counts %.2f no-shows, there are %.2f", share, c.noShow)
			}
		})
	}
}

// Where nobody claims, something else is wrong: nobody is let in beyond the cap.
func TestNoClaimsAtAllLetInNobodyMore(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	now := time.UnixMilli(1_800_000_000_000)
	server.SetTime(now)
	s := wide()
	s.Throttle.MaxShoppers, s.Throttle.ClaimWindow = 10, 5*time.Second
	r := newRoom(t, client(t, "redis://"+server.Addr()), s, redisstore.Options{}).shopOK()
	for i := range 400 {
		r.join(fmt.Sprintf("v%04d", i))
	}
	for range 200 {
		now = now.Add(time.Second)
		server.SetTime(now)
		r.tick()
		if n := r.now(); n.Ready+n.Shopping > 10 {
			t.Fatalf("%d have a turn, the cap is 10", n.Ready+n.Shopping)
		}
	}
}
