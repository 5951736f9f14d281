package simulate_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"onsale/internal/fault"
	"onsale/internal/redisconn"
	"onsale/internal/simulate"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/waitroom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, stacktest.IgnoreServers()...) }

func open(t *testing.T, server *stack.Redis) redis.UniversalClient {
	t.Helper()
	rdb, err := redisconn.Open(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// hall is a small sale that has everything: a lobby, people who come later, missed
// turns, a full shop, and too few tickets.
func hall() simulate.Options {
	o := simulate.Default()
	o.Visitors, o.Tickets = 3000, 1500
	o.Lobby, o.Arrive = 5*time.Minute, 5*time.Minute
	o.Throttle.RatePerMinute, o.Throttle.Burst, o.Throttle.MaxShoppers = 240, 20, 200
	o.ShopTime = time.Minute
	return o
}

func run(t *testing.T, rdb redis.UniversalClient, o simulate.Options) *simulate.Report {
	t.Helper()
	r, err := simulate.Run(t.Context(), rdb, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	return r
}

func text(t *testing.T, r *simulate.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whoever runs the same sale twice is told the same, and so is who has no real Redis.
func TestTheSameSaleAgain(t *testing.T) {
	t.Parallel()
	o := hall()
	o.Visitors, o.Tickets, o.Throttle.MaxShoppers = 600, 300, 50
	want := text(t, run(t, open(t, stacktest.OwnRedis(t, stack.RedisOptions{})), o))
	if got := text(t, run(t, open(t, stacktest.OwnRedis(t, stack.RedisOptions{})), o)); got != want {
		t.Errorf("the second time it was\n%s\nthe first time\n%s", got, want)
	}
	if got := text(t, run(t, open(t, stacktest.Miniredis(t)), o)); got != want {
		t.Errorf("in miniredis it was\n%s\nin Redis\n%s", got, want)
	}
	o.Seed++
	if got := text(t, run(t, open(t, stacktest.OwnRedis(t, stack.RedisOptions{})), o)); got == want {
		t.Error("another seed gave the same sale")
	}
}

func TestSalesAddUp(t *testing.T) {
	t.Parallel()
	few, many, fifo, calm := hall(), hall(), hall(), hall()
	many.Tickets = 20_000
	fifo.Order = waitroom.FIFO
	calm.NoShow, calm.Buy, calm.PerBuyer, calm.Early = 0, 1, calm.PerOrder, 0
	for name, o := range map[string]simulate.Options{"too few tickets": few, "enough tickets": many, "fifo": fifo, "everybody buys": calm} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, open(t, stacktest.OwnRedis(t, stack.RedisOptions{})), o)
			if got := r.Admitted + r.InVain + r.TurnedAway; got != o.Visitors {
				t.Errorf("%d had a turn, %d waited in vain and %d were turned away: %d of %d", r.Admitted, r.InVain, r.TurnedAway, got, o.Visitors)
			}
			if r.Claimed+r.Missed != r.Admitted {
				t.Errorf("%d turns were claimed and %d missed, of %d", r.Claimed, r.Missed, r.Admitted)
			}
			if r.Buyers+r.LeftWithout+r.Lapsed != r.Claimed {
				t.Errorf("%d bought, %d left and %d ran out of time, of %d shoppers", r.Buyers, r.LeftWithout, r.Lapsed, r.Claimed)
			}
			// Every shopper takes as many as one order has, but for the last tickets.
			if most := r.Buyers * o.PerOrder; r.Sold > most || r.Sold < most-o.PerOrder*20 {
				t.Errorf("%d tickets to %d buyers", r.Sold, r.Buyers)
			}
			if soldOut := r.Sold == o.Tickets; soldOut != (r.SoldOut != nil) || soldOut == (name == "enough tickets") {
				t.Errorf("%d of %d tickets were sold, and the room says %v", r.Sold, o.Tickets, r.SoldOut)
			}
			// The rate is what limits a calm shop: nobody can wait less than it takes.
			if least := max(0, r.Admitted-o.Throttle.Burst) * 60 / o.Throttle.RatePerMinute; r.Lasted < least {
				t.Errorf("%d turns within %d s, at the earliest %d s", r.Admitted, r.Lasted, least)
			}
			w := r.Waits
			if !slices.IsSorted([]int{0, w.Quarter, w.Half, w.ThreeQuarters, w.Nine, w.All, r.Lasted}) {
				t.Errorf("waits %+v within %d s", w, r.Lasted)
			}
			if e := r.Estimate; e.Asked < 500 || e.Earlier+e.Within+e.Later < 0.999 {
				t.Errorf("estimates %+v", e)
			}
			if first, last := r.Minutes[0], r.Minutes[len(r.Minutes)-1]; first.At != -int(o.Lobby.Seconds()) || last.At != r.Lasted ||
				last.Admitted != r.Admitted || last.Sold != r.Sold || last.Shopping != 0 {
				t.Errorf("from %+v to %+v", first, last)
			}
		})
	}
}

// The page tells the truth (G6) while the shop fills, is full, or never will be.
func TestTheWaitToldIsTrue(t *testing.T) {
	t.Parallel()
	small, large, lazy := hall(), hall(), hall()
	for _, o := range []*simulate.Options{&small, &large, &lazy} {
		o.Visitors, o.Tickets, o.ShopTime = 4000, 4000, 2*time.Minute
	}
	small.Throttle.MaxShoppers, large.Throttle.MaxShoppers = 300, 5000
	lazy.Throttle.MaxShoppers, lazy.NoShow = 600, 0.4
	for name, o := range map[string]simulate.Options{"soon full": small, "never full": large, "full later, with no-shows": lazy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := run(t, open(t, stacktest.OwnRedis(t, stack.RedisOptions{})), o).Estimate
			if e.Within < 0.6 || e.Later > 0.3 || e.Unknown*2 > e.Asked {
				t.Errorf("%+v", e)
			}
			t.Logf("%+v", e)
		})
	}
}

func TestReportIsReadable(t *testing.T) {
	t.Parallel()
	o := hall()
	o.Visitors = 500
	minutes := 0
	r, err := simulate.Run(t.Context(), open(t, stacktest.OwnRedis(t, stack.RedisOptions{})), o, func(simulate.Minute) { minutes++ })
	if err != nil {
		t.Fatal(err)
	}
	if minutes != len(r.Minutes) {
		t.Errorf("%d minutes were told while it ran, %d at the end", minutes, len(r.Minutes))
	}
	r.Checks[0].Holds = false
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"500 people for 1500 tickets", "-0:05:00", "DOES NOT HOLD", "Waits until a turn", "of the sale took"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), r.Checks[0].Name) {
		t.Errorf("what does not hold is named %v", err)
	}
	var read struct {
		Options map[string]any `json:"options"`
		Minutes []struct {
			At int `json:"at_s"`
		} `json:"minutes"`
	}
	if err := json.Unmarshal([]byte(text(t, r)), &read); err != nil || read.Options["rate"] != 240.0 || len(read.Minutes) != minutes {
		t.Errorf("read back as %+v, %v", read, err)
	}
}

func TestOptionsAreBounded(t *testing.T) {
	t.Parallel()
	bad := simulate.Options{Early: 2, Lobby: -1, Arrive: 25 * time.Hour, Order: "random", NoShow: -0.1, Buy: 1.1}
	_, err := simulate.Run(t.Context(), nil, bad, nil)
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("error %v", err)
	}
	for _, name := range []string{
		"visitors", "early", "lobby", "arrive", "order", "rate and shoppers", "burst", "lease", "claim_window", "no-show", "shop-time", "buy", "tickets",
		"per-order", "per-buyer",
	} {
		if !strings.Contains(err.Error(), name+" must be") {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
	if err := simulate.Default().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}

// What is in Redis already is not played with.
func TestASecondSaleIsRefused(t *testing.T) {
	t.Parallel()
	rdb := open(t, stacktest.OwnRedis(t, stack.RedisOptions{}))
	o := hall()
	o.Visitors = 10
	run(t, rdb, o)
	if _, err := simulate.Run(t.Context(), rdb, o, nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("error %v", err)
	}
}
