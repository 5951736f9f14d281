package simulate

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// Options say what is for sale, who comes for it and how the room lets them in.
// There are no defaults: see Default.
type Options struct {
	Visitors int           // how many come, 1 … 10,000,000
	Early    float64       // share of them who come before the opening, 0 … 1
	Lobby    time.Duration // for how long before the opening they can, 0 … 24 h
	Arrive   time.Duration // within what time after the opening the others come, most of them at first, 0 … 24 h

	Order    waitroom.Order // FIFO or DrawOrder
	Throttle waitroom.Throttle

	NoShow   float64       // share of turns that nobody claims, 0 … 1
	ShopTime time.Duration // how long shoppers take on average (exponentially distributed), 1 s … 24 h
	Buy      float64       // share of shoppers who buy if there are tickets, 0 … 1
	Tickets  int           // for sale, 1 … 10,000,000
	PerOrder int           // tickets one buyer takes, 1 … 100
	PerBuyer int           // tickets one buyer may have, PerOrder … 100; who may have more keeps their slot for two minutes

	Seed uint64 // of everything that is by chance
}

// Default is a sale of a hall.
func Default() Options {
	return Options{
		Visitors: 100_000, Early: 0.8, Lobby: 30 * time.Minute, Arrive: 30 * time.Minute,
		Order: waitroom.DrawOrder,
		Throttle: waitroom.Throttle{
			RatePerMinute: 600, Burst: 50, MaxShoppers: 2000, Lease: 10 * time.Minute, ClaimWindow: time.Minute, Grace: waitroom.DefaultGrace,
		},
		NoShow: 0.1, ShopTime: 3 * time.Minute, Buy: 0.8, Tickets: 20_000, PerOrder: 2, PerBuyer: 4, Seed: 1,
	}
}

// Validate names every value that is out of bounds, as a fault.Invalid.
func (o Options) Validate() error {
	var wrong []string
	count := func(name string, v, low, high int) {
		if v < low || v > high {
			wrong = append(wrong, fmt.Sprintf("%s must be from %d to %d, not %d", name, low, high, v))
		}
	}
	share := func(name string, v float64) {
		if !(v >= 0 && v <= 1) {
			wrong = append(wrong, fmt.Sprintf("%s must be from 0 to 1, not %v", name, v))
		}
	}
	span := func(name string, v, low time.Duration) {
		if v < low || v > 24*time.Hour {
			wrong = append(wrong, fmt.Sprintf("%s must be from %v to %v, not %v", name, low, 24*time.Hour, v))
		}
	}
	count("visitors", o.Visitors, 1, 10_000_000)
	share("early", o.Early)
	span("lobby", o.Lobby, 0)
	span("arrive", o.Arrive, 0)
	if o.Order != waitroom.FIFO && o.Order != waitroom.DrawOrder {
		wrong = append(wrong, fmt.Sprintf("order must be fifo or draw, not %q", o.Order))
	}
	share("no-show", o.NoShow)
	span("shop-time", o.ShopTime, time.Second)
	share("buy", o.Buy)
	count("tickets", o.Tickets, 1, 10_000_000)
	count("per-order", o.PerOrder, 1, 100)
	count("per-buyer", o.PerBuyer, min(max(1, o.PerOrder), 100), 100)
	if o.Throttle.RatePerMinute == 0 || o.Throttle.MaxShoppers == 0 {
		wrong = append(wrong, "rate and shoppers must be at least 1: nobody would ever be let in")
	}
	if err := o.Throttle.Validate(); err != nil {
		if f, ok := fault.Of(err); ok {
			wrong = append(wrong, f.Detail)
		}
	}
	if len(wrong) > 0 {
		return fault.New(fault.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

// MarshalJSON writes the options by the names of the command's flags, times in
// seconds.
func (o Options) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{
		"visitors": o.Visitors, "early": o.Early, "lobby_s": o.Lobby.Seconds(), "arrive_s": o.Arrive.Seconds(), "order": o.Order,
		"rate": o.Throttle.RatePerMinute, "burst": o.Throttle.Burst, "shoppers": o.Throttle.MaxShoppers,
		"lease_s": o.Throttle.Lease.Seconds(), "claim_window_s": o.Throttle.ClaimWindow.Seconds(),
		"no_show": o.NoShow, "shop_time_s": o.ShopTime.Seconds(), "buy": o.Buy,
		"tickets": o.Tickets, "per_order": o.PerOrder, "per_buyer": o.PerBuyer, "seed": o.Seed,
	})
}
