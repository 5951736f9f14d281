// Package redisstore keeps holds and the live inventory in Redis. Each method
// is one script or one command, so that nothing is decided on stale reads.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/internal/gather"
	"onsale/internal/redisconn"
	"onsale/lua"
)

const (
	callTimeout = 2 * time.Second
	loadTimeout = 5 * time.Second
	sweepBatch  = 200
	lanes       = 2  // of calls on their way at the same time: fewer are fuller
	fullHolds   = 32 // requests that are worth a script while another is on its way
	mostCalls   = 64 // that travel together
)

// Store is a checkout.HoldStore.
type Store struct {
	rdb   redis.UniversalClient
	holds *gather.Gatherer[hold, lua.HoldReply]
	calls *gather.Gatherer[lua.HoldCall, lua.HoldReply]
}

// hold is a request to hold tickets of an event.
type hold struct {
	event string
	lua.HoldInput
}

var _ checkout.HoldStore = (*Store)(nil)

// New returns a store. It does no I/O.
func New(rdb redis.UniversalClient) *Store {
	s := &Store{rdb: rdb}
	s.holds = &gather.Gatherer[hold, lua.HoldReply]{Most: mostCalls, Lanes: lanes, Enough: fullHolds, Carry: s.carryHolds}
	s.calls = &gather.Gatherer[lua.HoldCall, lua.HoldReply]{Most: mostCalls, Lanes: lanes, Enough: 1, Carry: s.carry}
	return s
}

func down(err error) error { return fault.Down(err, "the seat store") }

// carry sends calls in one pipeline.
func (s *Store) carry(ctx context.Context, calls []lua.HoldCall) []gather.Outcome[lua.HoldReply] {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return redisconn.Pipeline(ctx, s.rdb, calls)
}

// carryHolds runs one script for the requests of each event.
func (s *Store) carryHolds(ctx context.Context, all []hold) []gather.Outcome[lua.HoldReply] {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out := make([]gather.Outcome[lua.HoldReply], len(all))
	done := make(map[string]bool)
	for _, first := range all {
		if done[first.event] {
			continue
		}
		done[first.event] = true
		var inputs []lua.HoldInput
		var at []int
		for i := range all {
			if all[i].event == first.event {
				inputs, at = append(inputs, all[i].HoldInput), append(at, i)
			}
		}
		replies, err := lua.Hold(ctx, s.rdb, first.event, inputs)
		for n, i := range at {
			if out[i].Err = err; err == nil {
				out[i].Reply = replies[n]
			}
		}
	}
	return out
}

// call runs one script about a hold.
func (s *Store) call(ctx context.Context, hold string, c lua.HoldCall, rules checkout.HoldRules) (checkout.HeldTickets, error) {
	r, err := s.calls.Do(ctx, c)
	if err != nil {
		return checkout.HeldTickets{}, down(err)
	}
	return held(hold, r, rules)
}

// Hold implements checkout.HoldStore.
func (s *Store) Hold(ctx context.Context, event, visitor, id string, w checkout.Wanted, ttl time.Duration, rules checkout.HoldRules) (checkout.HeldTickets, error) {
	in := lua.HoldInput{
		Visitor: visitor, ID: id, TTL: ttl, Limit: rules.Limit, Singles: singles(rules), Leaseless: rules.Leaseless,
		Ordinals: w.Ordinals, Revision: w.Revision,
	}
	for _, a := range w.Areas {
		in.Areas = append(in.Areas, lua.Quantity{N: a.Quantity, Channel: a.Channel, Where: stretches(a.Where)})
	}
	if b := w.Best; b != nil {
		in.Best = &lua.Best{
			N: b.Quantity, Channel: b.Channel, Accessible: b.Accessible, Split: b.Split,
			Where: stretches(b.Where), Accessibly: stretches(b.Accessibly),
		}
	}
	r, err := s.holds.Do(ctx, hold{event, in})
	if err != nil {
		return checkout.HeldTickets{}, down(err)
	}
	h, err := held(id, r, rules)
	if w.Best != nil && fault.Is(err, fault.SoldOut) {
		err = noBest(err, w.Best)
	}
	return h, err
}

func singles(rules checkout.HoldRules) string {
	if rules.Singles == "" {
		return string(catalog.AvoidSingles)
	}
	return string(rules.Singles)
}

// noBest says why the best available tickets could not be had.
func noBest(err error, b *checkout.WantedBest) error {
	f, ok := errors.AsType[*fault.Error](err)
	left, _ := f.Members["left"].(int)
	if !ok || left == 0 || f.Members["area"] != nil {
		return err
	}
	number := strconv.Itoa(left)
	if left >= lua.MostLeft {
		number += " or more"
	}
	detail := number + " such tickets are left, but none "
	switch {
	case b.Split:
		detail = number + " such tickets are left, which are fewer than you ask for"
	case b.Accessible > 0:
		detail = number + " accessible seats are left, but none with enough free seats beside it"
	case b.Quantity == 2:
		detail += "two next to each other"
	default:
		detail += strconv.Itoa(b.Quantity) + " next to each other"
	}
	return fault.New(fault.SoldOut, "%s", detail).With("left", left)
}

func stretches(from []checkout.Stretch) []lua.Stretch {
	to := make([]lua.Stretch, len(from))
	for i, s := range from {
		to[i] = lua.Stretch(s)
	}
	return to
}

// Change implements checkout.HoldStore.
func (s *Store) Change(ctx context.Context, c checkout.HoldChange, rules checkout.HoldRules) (checkout.HeldTickets, error) {
	return s.call(ctx, c.Hold, lua.EditHold(c.Event, c.Visitor, c.Hold, rules.Limit, singles(rules), c.Add, c.Drop), rules)
}

// Get implements checkout.HoldStore.
func (s *Store) Get(ctx context.Context, event, visitor, hold string) (checkout.HeldTickets, error) {
	return s.keep(ctx, event, visitor, hold, lua.GetHold, 0, 0)
}

// Extend implements checkout.HoldStore.
func (s *Store) Extend(ctx context.Context, event, visitor, hold string, ttl time.Duration, most int) (checkout.HeldTickets, error) {
	return s.keep(ctx, event, visitor, hold, lua.ExtendHold, ttl, most)
}

// Pin implements checkout.HoldStore.
func (s *Store) Pin(ctx context.Context, event, visitor, hold string, ttl time.Duration) (checkout.HeldTickets, error) {
	return s.keep(ctx, event, visitor, hold, lua.PinHold, ttl, 0)
}

// Unpin implements checkout.HoldStore.
func (s *Store) Unpin(ctx context.Context, event, visitor, hold string, ttl time.Duration) error {
	_, err := s.keep(ctx, event, visitor, hold, lua.UnpinHold, ttl, 0)
	return err
}

func (s *Store) keep(ctx context.Context, event, visitor, hold string, verb lua.HoldVerb, ttl time.Duration, most int) (checkout.HeldTickets, error) {
	return s.call(ctx, hold, lua.KeepHold(event, visitor, hold, verb, ttl, most), checkout.HoldRules{})
}

// Release implements checkout.HoldStore.
func (s *Store) Release(ctx context.Context, event, visitor, hold string) error {
	_, err := s.call(ctx, hold, lua.ReleaseHold(event, visitor, hold), checkout.HoldRules{})
	return err
}

// held translates a script's reply.
func held(id string, r lua.HoldReply, rules checkout.HoldRules) (checkout.HeldTickets, error) {
	if r.Code == lua.HoldOK {
		return checkout.HeldTickets{
			ID: id, Ordinals: r.Ordinals, Expires: r.Expires, Extensions: r.Extensions, Pinned: r.Pinned, Fence: r.Fence,
		}, nil
	}
	return checkout.HeldTickets{}, refusal(r, rules)
}

func refusal(r lua.HoldReply, rules checkout.HoldRules) error {
	switch r.Code {
	case lua.HoldNoLease:
		return fault.New(fault.PassLapsed, "your time in the shop is over; join the queue again")
	case lua.HoldOverLimit:
		return fault.New(fault.LimitReached,
			"one buyer may have at most %d tickets of this event; you have %d already", rules.Limit, r.Left).
			With("limit", rules.Limit).With("had", r.Left)
	case lua.HoldTaken:
		return checkout.Taken(r.Ordinals)
	case lua.HoldSingles:
		return checkout.Singles(r.Ordinals)
	case lua.HoldNoRun:
		return fault.New(fault.SoldOut, "no such tickets are left").With("left", r.Left)
	case lua.HoldAreaFull:
		return fault.New(fault.SoldOut, "areas[%d]: only %d of these tickets are left", r.Area, r.Left).
			With("area", r.Area).With("left", r.Left)
	case lua.HoldNoInventory:
		return checkout.ErrNoInventory
	case lua.HoldGone:
		return fault.New(fault.HoldLapsed, "the hold has lapsed or was released; choose tickets again")
	case lua.HoldForeign:
		return fault.New(fault.Forbidden, "the hold is somebody else's")
	case lua.HoldNoExtension:
		return fault.New(fault.Conflict, "the hold cannot be extended further")
	case lua.HoldPinned:
		return fault.New(fault.Conflict, "an order has the hold; cancel the order instead")
	case lua.HoldEmpty:
		return fault.New(fault.Conflict, "nothing would be left in the hold; release it instead")
	default:
		return fmt.Errorf("redisstore: unexpected code %d", r.Code)
	}
}

// OfVisitor implements checkout.HoldStore.
func (s *Store) OfVisitor(ctx context.Context, event, visitor string) ([]checkout.HeldTickets, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ids, err := lua.VisitorHolds(ctx, s.rdb, event, visitor)
	if err != nil {
		return nil, down(err)
	}
	var list []checkout.HeldTickets
	for _, id := range ids {
		h, err := s.Get(ctx, event, visitor, id)
		switch {
		case err == nil:
			list = append(list, h)
		case !fault.Is(err, fault.HoldLapsed):
			return nil, err
		}
	}
	return list, nil
}

// Settle implements checkout.HoldStore.
func (s *Store) Settle(ctx context.Context, t checkout.Settlement) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	to := t.To
	if to == checkout.Blocked {
		to = checkout.Available
	}
	_, _, err := lua.Settle(ctx, s.rdb, lua.SettleInput{
		Event: t.Event, To: byte(to), Hold: t.Hold, Visitor: t.Visitor, Bought: t.Bought, LockTTL: t.For, Ordinals: t.Ordinals,
	})
	if err != nil {
		return down(err)
	}
	return nil // not loaded: loading it will read the same truth
}

// Sweep implements checkout.HoldStore.
func (s *Store) Sweep(ctx context.Context, event string) (freed int, next time.Duration, err error) {
	for {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		swept, err := lua.SweepHolds(ctx, s.rdb, event, sweepBatch)
		cancel()
		if err != nil {
			return freed, 0, down(err)
		}
		freed += swept.Tickets
		if swept.Holds < sweepBatch {
			return freed, swept.Next, nil
		}
	}
}

// Allot implements checkout.HoldStore.
func (s *Store) Allot(ctx context.Context, event string, channel int, evenTaken bool, ordinals []int) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	done, ok, err := lua.Allot(ctx, s.rdb, event, channel, evenTaken, ordinals)
	switch {
	case err != nil:
		return nil, down(err)
	case !ok:
		return nil, checkout.ErrNoInventory
	}
	return done, nil
}

// Enter implements checkout.HoldStore.
func (s *Store) Enter(ctx context.Context, event, visitor string, channels []int) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.rdb.HSet(ctx, lua.AccessKey(event), visitor, channelBytes(channels)).Err(); err != nil {
		return down(err)
	}
	return nil
}

func channelBytes(channels []int) string {
	b := make([]byte, len(channels))
	for i, c := range channels {
		b[i] = lua.ChannelByte(c)
	}
	return string(b)
}

// Stock implements checkout.HoldStore.
func (s *Store) Stock(ctx context.Context, event string) (checkout.Stock, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var there *redis.IntCmd
	var seq *redis.StringCmd
	var count *redis.MapStringStringCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		there = p.Exists(ctx, lua.StatusKey(event), lua.ShapeKey(event), lua.TiersKey(event))
		seq = p.Get(ctx, lua.SeqKey(event))
		count = p.HGetAll(ctx, lua.CountKey(event))
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return checkout.Stock{}, down(err)
	}
	if there.Val() < 3 {
		return checkout.Stock{}, checkout.ErrNoInventory
	}
	return stockOf(seq.Val(), count.Val())
}

// Snapshot implements checkout.HoldStore.
func (s *Store) Snapshot(ctx context.Context, event string) (checkout.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var all *redis.SliceCmd
	var there *redis.IntCmd
	var count *redis.MapStringStringCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		there = p.Exists(ctx, lua.ShapeKey(event), lua.TiersKey(event))
		all = p.MGet(ctx, lua.StatusKey(event), lua.SeqKey(event), lua.AllotKey(event))
		count = p.HGetAll(ctx, lua.CountKey(event))
		return nil
	})
	if err != nil {
		return checkout.Snapshot{}, down(err)
	}
	status, ok := all.Val()[0].(string)
	seq, numbered := all.Val()[1].(string)
	if !ok || !numbered || there.Val() < 2 {
		return checkout.Snapshot{}, checkout.ErrNoInventory
	}
	snap := checkout.Snapshot{Status: []byte(status)}
	if snap.Stock, err = stockOf(seq, count.Val()); err != nil {
		return checkout.Snapshot{}, err
	}
	if allot, ok := all.Val()[2].(string); ok {
		snap.Channels = []byte(allot)
		for i, b := range snap.Channels {
			snap.Channels[i] = b - lua.ChannelByte(0)
		}
	}
	return snap, nil
}

// stockOf reads the counts kept by the scripts. Without them, or with a field that
// means nothing, the inventory is no inventory.
func stockOf(seq string, count map[string]string) (st checkout.Stock, err error) {
	if st.Seq, err = strconv.ParseInt(seq, 10, 64); err != nil {
		return st, checkout.ErrNoInventory
	}
	if st.Epoch, err = strconv.ParseInt(count[lua.EpochField], 10, 64); err != nil {
		return st, checkout.ErrNoInventory
	}
	for field, value := range count {
		if field == lua.EpochField {
			continue
		}
		tier, terr := strconv.Atoi(field[1:])
		n, nerr := strconv.Atoi(value)
		if terr != nil || nerr != nil || tier < 0 || tier > 255 {
			return st, checkout.ErrNoInventory
		}
		for len(st.Tiers) <= tier {
			st.Tiers = append(st.Tiers, checkout.Counts{})
		}
		st.Add(checkout.TicketState(field[0]), n)
		st.Tiers[tier].Add(checkout.TicketState(field[0]), n)
	}
	return st, nil
}

// Load implements checkout.HoldStore.
func (s *Store) Load(ctx context.Context, event string, expected int64, l checkout.Loading) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	in := lua.InventoryInput{
		Event: event, Status: make([]byte, len(l.States)), Shape: shapeBytes(l.Shapes), Tiers: make([]byte, len(l.Shapes)),
		Counts: make(map[string]int), Orders: l.Orders, Bought: l.Bought, Access: make(map[string]string), Revision: l.Revision,
	}
	if expected > 0 {
		in.Expected = strconv.FormatInt(expected, 10)
	}
	for o, state := range l.States {
		in.Status[o] = byte(state)
	}
	for o := range l.Shapes {
		in.Tiers[o] = lua.TierByte(l.Shapes[o].Tier)
	}
	for t, counts := range l.Stock.Tiers {
		for _, state := range checkout.TicketStates {
			in.Counts[lua.CountField(byte(state), t)] = counts.Of(state)
		}
	}
	for _, c := range l.Channels {
		in.Allot = append(in.Allot, lua.ChannelByte(int(c)))
	}
	for visitor, channels := range l.Members {
		in.Access[visitor] = channelBytes(channels)
	}
	loaded, err := lua.LoadInventory(ctx, s.rdb, in)
	if err != nil {
		return false, down(err)
	}
	return loaded, nil
}

// Reshape implements checkout.HoldStore.
func (s *Store) Reshape(ctx context.Context, event string, revision int, shapes []checkout.SeatShape) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	loaded, err := lua.ShapeInventory(ctx, s.rdb, event, revision, shapeBytes(shapes))
	if err != nil {
		return false, down(err)
	}
	return loaded, nil
}

func shapeBytes(shapes []checkout.SeatShape) []byte {
	b := make([]byte, len(shapes))
	for o := range shapes {
		b[o] = lua.ShapeByte(flags(&shapes[o]))
	}
	return b
}

func flags(s *checkout.SeatShape) (f int) {
	for _, flag := range [...]struct {
		set bool
		bit int
	}{
		{s.BeginsRow, lua.BeginsRow}, {s.BeginsRun, lua.BeginsRun}, {s.Accessible, lua.Accessible},
		{s.Companion, lua.Companion}, {s.Area, lua.InArea},
	} {
		if flag.set {
			f |= flag.bit
		}
	}
	return f
}

// Locked implements checkout.HoldStore.
func (s *Store) Locked(ctx context.Context, event string, ordinals []int) ([]bool, error) {
	if len(ordinals) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	locks := make([]*redis.StringCmd, len(ordinals))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for n, o := range ordinals {
			locks[n] = p.Get(ctx, lua.HoldTicketKey(event, o))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, down(err)
	}
	locked := make([]bool, len(ordinals))
	for n, l := range locks {
		locked[n] = l.Val() != "" && l.Val() != lua.OrderLock
	}
	return locked, nil
}

// Instances implements checkout.HoldStore. The name is the server's run id.
func (s *Store) Instances(ctx context.Context, events []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	names := make([]string, len(events))
	known := make(map[redis.Cmdable]string)
	for n, event := range events {
		var server redis.Cmdable = s.rdb
		if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
			master, err := cluster.MasterForKey(ctx, lua.StatusKey(event))
			if err != nil {
				continue // nobody has this slot now
			}
			server = master
		}
		name, ok := known[server]
		if !ok {
			info := server.Info(ctx, "server").Val() // "" if it does not answer
			_, rest, _ := strings.Cut(info, "run_id:")
			name, _, _ = strings.Cut(rest, "\r")
			known[server] = name
		}
		names[n] = name
	}
	return names, nil
}

// Changes implements checkout.HoldStore.
func (s *Store) Changes(ctx context.Context, event string) (<-chan struct{}, error) {
	sub := s.rdb.Subscribe(ctx, lua.InventoryChannel(event))
	signal := make(chan struct{}, 1)
	go func() {
		defer close(signal)
		defer func() { _ = sub.Close() }() // nothing is lost: signals may be
		messages := sub.Channel()
		for {
			select {
			case <-ctx.Done():
				return
			case _, ok := <-messages:
				if !ok {
					return
				}
				select {
				case signal <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	return signal, nil
}
