package checkout

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"onsale/internal/fault"
)

// How fresh the stock shown to people is, and how often it is mended.
const (
	stockAge     = 300 * time.Millisecond
	sweepEvery   = 400 * time.Millisecond
	auditEvery   = 15 * time.Second
	inventoryRPC = 2 * time.Second
)

// Stock counts an event's tickets by state.
type Stock struct {
	Total     int   `json:"total"`
	Available int   `json:"available"`
	Held      int   `json:"held"`
	Sold      int   `json:"sold"`
	Blocked   int   `json:"-"`
	Tiers     []int `json:"-"` // available, by tier index
}

// Left is how many tickets may still be had: available now or when holds lapse.
func (s Stock) Left() int { return s.Available + s.Held }

// View is the state of all tickets of an event at one moment. It is shared:
// do not change Status.
type View struct {
	Status []byte // TicketState by ordinal
	Seq    int64
	Stock  Stock
	at     time.Time
}

// Inventory watches over the live inventory: it serves a view of it, frees
// lapsed holds, and mends it from Postgres when it is missing or wrong.
type Inventory struct {
	holds   HoldStore
	orders  OrderStore
	catalog Catalog
	now     func() time.Time
	log     *slog.Logger

	flight   singleflight.Group
	mu       sync.Mutex
	views    map[string]*View
	suspects map[string]map[int]TicketState // differences seen by the last audit

	freed      prometheus.Counter
	difference *prometheus.GaugeVec
}

// NewInventory returns an Inventory. It does no I/O.
func NewInventory(holds HoldStore, orders OrderStore, catalog Catalog, now func() time.Time, log *slog.Logger, reg prometheus.Registerer) (*Inventory, error) {
	i := &Inventory{
		holds: holds, orders: orders, catalog: catalog, now: now, log: log,
		views: make(map[string]*View), suspects: make(map[string]map[int]TicketState),
		freed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_holds_lapsed_tickets_total", Help: "Tickets freed because their hold lapsed.",
		}),
		difference: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onsale_inventory_difference", Help: "Tickets whose live state differed from Postgres in two audits in a row.",
		}, []string{"event"}),
	}
	if reg != nil {
		if err := errors.Join(reg.Register(i.freed), reg.Register(i.difference)); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// View returns the event's tickets, at most a few hundred milliseconds old.
func (i *Inventory) View(ctx context.Context, event string) (*View, error) {
	i.mu.Lock()
	v := i.views[event]
	i.mu.Unlock()
	if v != nil && i.now().Sub(v.at) < stockAge {
		return v, nil
	}
	return i.Refresh(ctx, event)
}

// Refresh reads the event's tickets now. Concurrent calls share one read.
func (i *Inventory) Refresh(ctx context.Context, event string) (*View, error) {
	got, err, _ := i.flight.Do(event, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inventoryRPC)
		defer cancel()
		return i.read(ctx, event)
	})
	if err != nil {
		return nil, err
	}
	v, _ := got.(*View)
	return v, nil
}

func (i *Inventory) read(ctx context.Context, event string) (*View, error) {
	layout, err := i.catalog.Layout(ctx, event)
	if err != nil {
		return nil, err
	}
	at := i.now()
	status, seq, err := i.holds.Snapshot(ctx, event)
	if fault.Is(err, codeNoInventory) {
		if err = i.Rebuild(ctx, event); err != nil {
			return nil, err
		}
		status, seq, err = i.holds.Snapshot(ctx, event)
	}
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	last := i.views[event]
	i.mu.Unlock()
	if last != nil && last.Seq == seq && len(last.Status) == len(status) {
		v := &View{Status: last.Status, Seq: seq, Stock: last.Stock, at: at}
		i.remember(event, v)
		return v, nil
	}
	v := &View{Status: status, Seq: seq, at: at, Stock: Stock{Total: len(status), Tiers: make([]int, len(layout.Tiers))}}
	for o, b := range status {
		switch TicketState(b) {
		case Available:
			v.Stock.Available++
			if o < len(layout.Seats) {
				v.Stock.Tiers[layout.Seats[o].Tier]++
			}
		case Held:
			v.Stock.Held++
		case Sold:
			v.Stock.Sold++
		case Blocked:
			v.Stock.Blocked++
		}
	}
	i.remember(event, v)
	return v, nil
}

func (i *Inventory) remember(event string, v *View) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.views) > 1000 {
		clear(i.views) // far more events than are ever on sale at once
	}
	i.views[event] = v
}

// Changes signals when the event's inventory changed; see HoldStore.Changes.
func (i *Inventory) Changes(ctx context.Context, event string) (<-chan struct{}, error) {
	return i.holds.Changes(ctx, event)
}

// Rebuild loads an inventory that is missing from Postgres.
func (i *Inventory) Rebuild(ctx context.Context, event string) error {
	_, err, _ := i.flight.Do("rebuild "+event, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		layout, err := i.catalog.Layout(ctx, event)
		if err != nil {
			return nil, err
		}
		states, orders, err := i.orders.Inventory(ctx, event)
		if err != nil {
			return nil, err
		}
		status := make([]byte, len(states))
		for o, state := range states {
			status[o] = byte(state)
		}
		loaded, err := i.holds.Load(ctx, event, 0, status, runsOf(layout), orders)
		if loaded {
			i.log.InfoContext(ctx, "live inventory loaded from Postgres", slog.String("event", event), slog.Int("tickets", len(status)))
		}
		return nil, err
	})
	return err
}

// Repair carries what Postgres says about some tickets into the live inventory.
func (i *Inventory) Repair(ctx context.Context, event string, ordinals []int) error {
	got, err, _ := i.flight.Do("truth "+event, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inventoryRPC)
		defer cancel()
		states, orders, err := i.orders.Inventory(ctx, event)
		return truth{states, orders}, err
	})
	if err != nil {
		return err
	}
	t, _ := got.(truth)
	var errs []error
	for _, o := range ordinals {
		if o < 0 || o >= len(t.states) {
			continue
		}
		errs = append(errs, i.holds.Settle(ctx, Settlement{
			Event: event, Ordinals: []int{o}, To: t.states[o], For: t.orders[o],
		}))
	}
	return errors.Join(errs...)
}

type truth struct {
	states []TicketState
	orders map[int]time.Duration
}

// Sweep frees lapsed holds.
func (i *Inventory) Sweep(ctx context.Context, event string) error {
	freed, _, err := i.holds.Sweep(ctx, event)
	i.freed.Add(float64(freed))
	return err
}

// Audit compares the live inventory with Postgres and mends what differed in
// two audits in a row: a purchase under way differs only for a moment. It
// returns how many tickets it mended.
func (i *Inventory) Audit(ctx context.Context, event string) (mended int, err error) {
	states, orders, err := i.orders.Inventory(ctx, event)
	if err != nil {
		return 0, err
	}
	status, _, err := i.holds.Snapshot(ctx, event)
	if fault.Is(err, codeNoInventory) {
		return 0, i.Rebuild(ctx, event)
	}
	if err != nil {
		return 0, err
	}
	differ, err := i.differences(ctx, event, status, states)
	if err != nil {
		return 0, err
	}
	i.mu.Lock()
	before := i.suspects[event]
	i.suspects[event] = differ
	i.mu.Unlock()
	var errs []error
	for o, should := range differ {
		if was, ok := before[o]; !ok || was != should {
			continue
		}
		mended++
		errs = append(errs, i.holds.Settle(ctx, Settlement{Event: event, Ordinals: []int{o}, To: should, For: orders[o]}))
	}
	i.difference.WithLabelValues(event).Set(float64(mended))
	if mended > 0 {
		i.log.WarnContext(ctx, "live inventory mended", slog.String("event", event), slog.Int("tickets", mended))
	}
	return mended, errors.Join(errs...)
}

// differences lists tickets whose live state contradicts Postgres, with the
// state they should have. A ticket that is available in Postgres may be held
// in Redis, but only under a lock.
func (i *Inventory) differences(ctx context.Context, event string, status []byte, states []TicketState) (map[int]TicketState, error) {
	differ := make(map[int]TicketState)
	var held []int
	for o, should := range states {
		if o >= len(status) {
			break
		}
		is := TicketState(status[o])
		switch {
		case is == should || is == Blocked:
		case should == Available && is == Held:
			held = append(held, o)
		default:
			differ[o] = should
		}
	}
	locked, err := i.holds.Locked(ctx, event, held)
	if err != nil {
		return nil, err
	}
	for n, o := range held {
		if !locked[n] {
			differ[o] = Available
		}
	}
	return differ, nil
}

// Run frees lapsed holds and audits, for every event that events lists, until
// ctx ends. Any number of nodes may run it.
func (i *Inventory) Run(ctx context.Context, events func(context.Context) ([]string, error)) error {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var audited time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
		}
		list, err := events(ctx)
		if err != nil {
			continue // the events' owner has logged it; Redis will be back
		}
		audit := i.now().Sub(audited) >= auditEvery
		if audit {
			audited = i.now()
		}
		for _, event := range list {
			if err := i.Sweep(ctx, event); err != nil && ctx.Err() == nil {
				i.log.WarnContext(ctx, "sweeping lapsed holds failed", slog.String("event", event), slog.Any("error", err))
				break
			}
			if !audit {
				continue
			}
			if _, err := i.Audit(ctx, event); err != nil && ctx.Err() == nil {
				i.log.WarnContext(ctx, "auditing the live inventory failed", slog.String("event", event), slog.Any("error", err))
			}
		}
	}
}
