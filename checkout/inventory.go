package checkout

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"onsale/catalog"
	"onsale/internal/fault"
)

// How fresh the stock shown to people is.
const (
	stockAge     = 300 * time.Millisecond
	inventoryRPC = 2 * time.Second
)

// mostKept bounds the events whose stock, tickets or layout this node remembers:
// far more than are ever on sale at once.
const mostKept = 1000

// View is the state of all tickets of an event at one moment. It is shared:
// do not change Status.
type View struct {
	Status []byte // TicketState by ordinal
	Stock  Stock  // counted by the store; Seq and Epoch are of Status
	Seq    int64
	Epoch  int64
	at     time.Time
}

type stockNow struct {
	stock *Stock
	at    time.Time
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
	stocks   map[string]stockNow
	shaped   map[*catalog.Seat][]SeatShape // by the first seat of a layout
	channels map[string]channelsNow
	audits   map[string]*audited

	freed      prometheus.Counter
	mended     prometheus.Counter
	rebuilt    prometheus.Counter
	difference *prometheus.GaugeVec
}

// NewInventory returns an Inventory. It does no I/O.
func NewInventory(holds HoldStore, orders OrderStore, catalog Catalog, now func() time.Time, log *slog.Logger, reg prometheus.Registerer) (*Inventory, error) {
	i := &Inventory{
		holds: holds, orders: orders, catalog: catalog, now: now, log: log,
		freed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_holds_lapsed_tickets_total", Help: "Tickets freed because their hold lapsed.",
		}),
		mended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_inventory_mended_tickets_total", Help: "Tickets whose live state was put right from Postgres.",
		}),
		rebuilt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_inventory_rebuilds_total", Help: "Live inventories loaded from Postgres.",
		}),
		difference: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onsale_inventory_difference", Help: "Tickets whose live state differed from Postgres in two audits in a row.",
		}, []string{"event"}),
	}
	i.forget()
	if reg != nil {
		err := errors.Join(reg.Register(i.freed), reg.Register(i.mended), reg.Register(i.rebuilt), reg.Register(i.difference))
		if err != nil {
			return nil, err
		}
	}
	return i, nil
}

// forget empties what is remembered. i.mu is held, or nobody else knows i.
func (i *Inventory) forget() {
	i.views = make(map[string]*View)
	i.stocks = make(map[string]stockNow)
	i.shaped = make(map[*catalog.Seat][]SeatShape)
	i.channels = make(map[string]channelsNow)
	i.audits = make(map[string]*audited)
}

// keep changes what is remembered, within bounds.
func (i *Inventory) keep(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if max(len(i.views), len(i.stocks), len(i.shaped), len(i.channels), len(i.audits)) > mostKept {
		i.forget()
	}
	change()
}

// Stock returns what the event has left, at most a few hundred milliseconds old.
// As long as nothing changes it is the same pointer.
func (i *Inventory) Stock(ctx context.Context, event string) (*Stock, error) {
	i.mu.Lock()
	last := i.stocks[event]
	i.mu.Unlock()
	if last.stock != nil && i.now().Sub(last.at) < stockAge {
		return last.stock, nil
	}
	got, err, _ := i.flight.Do("stock "+event, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inventoryRPC)
		defer cancel()
		if _, err := i.catalog.Layout(ctx, event); err != nil {
			return nil, err
		}
		at := i.now()
		s, err := loaded(ctx, i, event, i.holds.Stock)
		if err != nil {
			return nil, err
		}
		stock := &s
		if last.stock != nil && last.stock.Seq == s.Seq && last.stock.Epoch == s.Epoch {
			stock = last.stock
		}
		i.noteSeq(event, last.stock, stock)
		i.keep(func() { i.stocks[event] = stockNow{stock, at} })
		return stock, nil
	})
	if err != nil {
		return nil, err
	}
	s, _ := got.(*Stock)
	return s, nil
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
	got, err, _ := i.flight.Do("view "+event, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inventoryRPC)
		defer cancel()
		if _, err := i.catalog.Layout(ctx, event); err != nil {
			return nil, err
		}
		at := i.now()
		s, err := loaded(ctx, i, event, i.holds.Snapshot)
		if err != nil {
			return nil, err
		}
		v := &View{Status: s.Status, Stock: s.Stock, Seq: s.Stock.Seq, Epoch: s.Stock.Epoch, at: at}
		i.keep(func() { i.views[event] = v })
		return v, nil
	})
	if err != nil {
		return nil, err
	}
	v, _ := got.(*View)
	return v, nil
}

// loaded reads something of an inventory, which is loaded first if it is missing.
func loaded[T any](ctx context.Context, i *Inventory, event string, read func(context.Context, string) (T, error)) (T, error) {
	got, err := read(ctx, event)
	if !fault.Is(err, codeNoInventory) {
		return got, err
	}
	if err = i.Rebuild(ctx, event); err != nil {
		return got, err
	}
	return read(ctx, event)
}

// noteSeq has an event audited at once whose number of changes went back: Redis
// has forgotten some.
func (i *Inventory) noteSeq(event string, last, now *Stock) {
	if last != nil && now.Seq < last.Seq {
		i.suspect(event)
	}
}

// Changes signals when the event's inventory changed; see HoldStore.Changes.
func (i *Inventory) Changes(ctx context.Context, event string) (<-chan struct{}, error) {
	return i.holds.Changes(ctx, event)
}

// Sweep frees lapsed holds.
func (i *Inventory) Sweep(ctx context.Context, event string) error {
	freed, _, err := i.holds.Sweep(ctx, event)
	i.freed.Add(float64(freed))
	return err
}

// shapes describes the tickets of a layout, once for as long as it is the same.
func (i *Inventory) shapes(layout *catalog.Layout) []SeatShape {
	if len(layout.Seats) == 0 {
		return nil
	}
	first := &layout.Seats[0]
	i.mu.Lock()
	known := i.shaped[first]
	i.mu.Unlock()
	if known == nil {
		known = shapes(layout)
		i.keep(func() { i.shaped[first] = known })
	}
	return known
}
