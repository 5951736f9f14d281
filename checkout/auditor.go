package checkout

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"onsale/internal/fault"
)

// How often the live inventory is looked after.
const (
	sweepEvery   = 400 * time.Millisecond
	lookEvery    = time.Second      // for inventories to be audited
	auditEvery   = 15 * time.Second // an event in health
	confirmAfter = time.Second      // an event in which something differed, or whose audit failed
	sweepsAtOnce = 32
	auditsAtOnce = 4
)

// Truth is what the order store knows of an event's tickets.
type Truth struct {
	States   []TicketState         // by ordinal; Held is an open order's
	Orders   map[int]time.Duration // for how long open orders still have theirs
	Channels []byte                // number of the channel each ticket is kept for; nil if none is
}

// Buyers is what the order store knows of who may hold how much.
type Buyers struct {
	Bought  map[string]int   // visitor → tickets
	Members map[string][]int // visitor → numbers of channels
}

// audited is what the last audits of an event found.
type audited struct {
	next     time.Time           // when it is due again
	differ   map[int]TicketState // the state a ticket should have
	allots   map[int]byte        // the channel a ticket should be kept for
	miscount bool
}

// Rebuild loads an inventory that is missing from Postgres. One that is of an older
// layout learns which seats are kept for some people now.
func (i *Inventory) Rebuild(ctx context.Context, event string) error {
	_, err, _ := i.flight.Do("rebuild "+event, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		layout, err := i.catalog.Layout(ctx, event)
		if err != nil {
			return nil, err
		}
		there, err := i.holds.Reshape(ctx, event, layout.Revision, i.shapes(layout))
		if err != nil || there {
			return nil, err
		}
		return nil, i.load(ctx, event, 0)
	})
	return err
}

// load puts the truth into the live inventory, if its seq still is expected, or
// if it is missing (expected 0).
func (i *Inventory) load(ctx context.Context, event string, expected int64) error {
	layout, err := i.catalog.Layout(ctx, event)
	if err != nil {
		return err
	}
	truth, err := i.orders.Inventory(ctx, event)
	if err != nil {
		return err
	}
	buyers, err := i.orders.Buyers(ctx, event)
	if err != nil {
		return err
	}
	l := Loading{Truth: truth, Buyers: buyers, Shapes: i.shapes(layout), Revision: layout.Revision}
	if len(l.Shapes) != len(truth.States) {
		return errors.New("checkout: the catalog and the orders disagree about how many tickets there are")
	}
	l.Stock = recount(l.States, l.Shapes)
	done, err := i.holds.Load(ctx, event, expected, l)
	if done {
		i.rebuilt.Inc()
		i.log.InfoContext(ctx, "live inventory loaded from Postgres", slog.String("event", event), slog.Int("tickets", len(truth.States)))
	}
	return err
}

// recount counts tickets one by one.
func recount[S ~byte](all []S, shapes []SeatShape) Stock {
	var s Stock
	for o, state := range all {
		s.Add(TicketState(state), 1)
		for len(s.Tiers) <= shapes[o].Tier {
			s.Tiers = append(s.Tiers, Counts{})
		}
		s.Tiers[shapes[o].Tier].Add(TicketState(state), 1)
	}
	return s
}

// Repair carries what Postgres says about some tickets into the live inventory.
func (i *Inventory) Repair(ctx context.Context, event string, ordinals []int) error {
	got, err, _ := i.flight.Do("truth "+event, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), inventoryRPC)
		defer cancel()
		return i.orders.Inventory(ctx, event)
	})
	if err != nil {
		return err
	}
	truth, _ := got.(Truth)
	var errs []error
	for _, o := range ordinals {
		if o >= 0 && o < len(truth.States) {
			errs = append(errs, i.settle(ctx, event, o, truth))
		}
	}
	return errors.Join(errs...)
}

func (i *Inventory) settle(ctx context.Context, event string, o int, truth Truth) error {
	return i.holds.Settle(ctx, Settlement{Event: event, Ordinals: []int{o}, To: truth.States[o], For: truth.Orders[o]})
}

// Audit compares the live inventory with Postgres and mends what differed in
// two audits in a row: a purchase under way differs only for a moment. It
// returns how many tickets it mended, and whether anything differs that the next
// audit has to look at again.
func (i *Inventory) Audit(ctx context.Context, event string) (mended int, doubtful bool, err error) {
	layout, err := i.catalog.Layout(ctx, event)
	if err != nil {
		return 0, false, err
	}
	truth, err := i.orders.Inventory(ctx, event)
	if err != nil {
		return 0, false, err
	}
	live, err := i.holds.Snapshot(ctx, event)
	if fault.Is(err, codeNoInventory) {
		return 0, false, i.Rebuild(ctx, event)
	}
	if err != nil {
		return 0, false, err
	}
	shapes := i.shapes(layout)
	now := &audited{}
	if len(live.Status) == len(truth.States) && len(shapes) == len(truth.States) {
		now.allots = misallotted(live.Channels, truth.Channels, len(truth.States))
		if now.differ, err = i.differences(ctx, event, live.Status, truth.States); err != nil {
			return 0, false, err
		}
		now.miscount = !sameCounts(recount(live.Status, shapes), live.Stock)
	} else {
		now.miscount = true
	}
	i.mu.Lock()
	before := i.audits[event]
	i.mu.Unlock()
	if before == nil {
		before = &audited{}
	}
	doubtful = len(now.differ) > 0 || len(now.allots) > 0 || now.miscount
	mended, err = i.mend(ctx, event, before, now, truth, live.Stock.Seq)
	i.difference.WithLabelValues(event).Set(float64(mended))
	i.mended.Add(float64(mended))
	i.keep(func() { i.audits[event] = now })
	if mended > 0 {
		i.log.WarnContext(ctx, "live inventory mended", slog.String("event", event), slog.Int("tickets", mended))
	}
	return mended, doubtful, err
}

// mend puts right what was wrong before and is wrong in the same way now.
func (i *Inventory) mend(ctx context.Context, event string, before, now *audited, truth Truth, seq int64) (mended int, err error) {
	if before.miscount && now.miscount {
		// The counts, or the bytes themselves, cannot be trusted: all of it anew. Under
		// load somebody may be quicker; then it is tried again with the next audit.
		return len(truth.States), i.load(ctx, event, seq)
	}
	var errs []error
	byChannel := make(map[byte][]int)
	for o, number := range now.allots {
		if was, ok := before.allots[o]; ok && was == number {
			byChannel[number] = append(byChannel[number], o)
		}
	}
	for number, which := range byChannel {
		mended += len(which)
		_, err := i.holds.Allot(ctx, event, int(number), true, which)
		errs = append(errs, err)
	}
	for o, should := range now.differ {
		if was, ok := before.differ[o]; !ok || was != should {
			continue
		}
		mended++
		errs = append(errs, i.settle(ctx, event, o, truth))
	}
	return mended, errors.Join(errs...)
}

// misallotted lists tickets that are kept for another channel than they should.
func misallotted(live, truth []byte, n int) map[int]byte {
	wrong := make(map[int]byte)
	at := func(list []byte, o int) byte {
		if o < len(list) {
			return list[o]
		}
		return 0
	}
	if live == nil && truth == nil {
		return wrong
	}
	for o := range n {
		if should := at(truth, o); at(live, o) != should {
			wrong[o] = should
		}
	}
	return wrong
}

func sameCounts(a, b Stock) bool {
	if a.Counts != b.Counts {
		return false
	}
	for t := range max(len(a.Tiers), len(b.Tiers)) {
		var x, y Counts
		if t < len(a.Tiers) {
			x = a.Tiers[t]
		}
		if t < len(b.Tiers) {
			y = b.Tiers[t]
		}
		if x != y {
			return false
		}
	}
	return true
}

// differences lists tickets whose live state contradicts Postgres, with the
// state they should have. A ticket that is nobody's in Postgres may be held
// in Redis, but only under the lock of a hold.
func (i *Inventory) differences(ctx context.Context, event string, status []byte, states []TicketState) (map[int]TicketState, error) {
	differ := make(map[int]TicketState)
	var held []int
	for o, should := range states {
		is := TicketState(status[o])
		switch {
		case is == should:
		case (should == Available || should == Blocked) && is == Held:
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
			differ[o] = states[o]
		}
	}
	return differ, nil
}

// suspect has an event audited as soon as can be.
func (i *Inventory) suspect(event string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if a := i.audits[event]; a != nil {
		a.next = time.Time{}
	}
}

// Run frees lapsed holds and audits, for every event that events lists, until
// ctx ends. Any number of nodes may run it. Neither waits for the other, nor an
// event for another event's database.
func (i *Inventory) Run(ctx context.Context, events func(context.Context) ([]string, error)) error {
	sweeps, audits := newRounds(sweepsAtOnce), newRounds(auditsAtOnce)
	instances := make(map[string]string)
	var g errgroup.Group
	g.Go(func() error {
		every(ctx, sweepEvery, events, func(list []string) {
			for _, event := range list {
				sweeps.start(event, func() { i.sweep(ctx, event) })
			}
		})
		return nil
	})
	g.Go(func() error {
		every(ctx, lookEvery, events, func(list []string) {
			i.compareInstances(ctx, list, instances)
			for _, event := range list {
				if i.auditIsDue(event) {
					audits.start(event, func() { i.audit(ctx, event) })
				}
			}
		})
		return nil
	})
	err := g.Wait()
	sweeps.all.Wait()
	audits.all.Wait()
	return err
}

func every(ctx context.Context, d time.Duration, events func(context.Context) ([]string, error), do func([]string)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if list, err := events(ctx); err == nil { // or else the events' owner has logged it; Redis will be back
			do(list)
		}
	}
}

// rounds does something for many events again and again, a few at the same time. An
// event whose last round is not over is left out of the next, so that one that hangs
// takes one slot and delays no other.
type rounds struct {
	slots chan struct{}
	all   sync.WaitGroup
	mu    sync.Mutex
	busy  map[string]bool
}

func newRounds(atOnce int) *rounds {
	return &rounds{slots: make(chan struct{}, atOnce), busy: make(map[string]bool)}
}

func (r *rounds) start(event string, do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy[event] {
		return
	}
	r.busy[event] = true
	r.all.Go(func() {
		r.slots <- struct{}{}
		do()
		<-r.slots
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.busy, event)
	})
}

func (i *Inventory) sweep(ctx context.Context, event string) {
	if err := i.Sweep(ctx, event); err != nil && ctx.Err() == nil {
		i.log.WarnContext(ctx, "sweeping lapsed holds failed", slog.String("event", event), slog.Any("error", err))
	}
}

// compareInstances has the events audited at once that another server than before
// has. A server that cannot be asked has no name.
func (i *Inventory) compareInstances(ctx context.Context, events []string, last map[string]string) {
	names, err := i.holds.Instances(ctx, events)
	if err != nil {
		return
	}
	for n, event := range events {
		if names[n] == "" {
			continue
		}
		if was, ok := last[event]; ok && was != names[n] {
			i.log.WarnContext(ctx, "another Redis than before has the live inventory; it is being audited", slog.String("event", event))
			i.suspect(event)
		}
		last[event] = names[n]
	}
}

func (i *Inventory) auditIsDue(event string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	a := i.audits[event]
	return a == nil || !i.now().Before(a.next)
}

func (i *Inventory) audit(ctx context.Context, event string) {
	_, doubtful, err := i.Audit(ctx, event)
	if err != nil && ctx.Err() == nil {
		i.log.WarnContext(ctx, "auditing the live inventory failed", slog.String("event", event), slog.Any("error", err))
	}
	wait := auditEvery
	if doubtful || err != nil { // what failed has found nothing out
		wait = confirmAfter
	}
	i.keep(func() {
		if i.audits[event] == nil {
			i.audits[event] = &audited{}
		}
		i.audits[event].next = i.now().Add(wait)
	})
}
