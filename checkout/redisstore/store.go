// Package redisstore keeps holds and the live inventory in Redis. Each method
// is one script or one command, so that nothing is decided on stale reads.
package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/lua"
)

const (
	callTimeout = 2 * time.Second
	sweepBatch  = 200
)

// Store is a checkout.HoldStore.
type Store struct {
	rdb redis.UniversalClient
}

var _ checkout.HoldStore = (*Store)(nil)

// New returns a store. It does no I/O.
func New(rdb redis.UniversalClient) *Store { return &Store{rdb: rdb} }

func down(err error) error { return fault.Down(err, "the seat store") }

// Hold implements checkout.HoldStore.
func (s *Store) Hold(ctx context.Context, r checkout.HoldRequest, ttl time.Duration, limit int) (checkout.HeldTickets, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	in := lua.HoldInput{Event: r.Event, Visitor: r.Visitor, ID: r.ID, TTL: ttl, Limit: limit, Ordinals: r.Ordinals}
	if r.Best != nil {
		in.Best = &lua.Best{Quantity: r.Best.Quantity, Tier: r.Best.Tier, Accessible: r.Best.Accessible}
	}
	reply, err := lua.Hold(ctx, s.rdb, in)
	if err != nil {
		return checkout.HeldTickets{}, down(err)
	}
	switch reply.Code {
	case lua.HoldTaken:
		return checkout.HeldTickets{}, checkout.Taken(reply.Ordinals)
	case lua.HoldNoInventory:
		return checkout.HeldTickets{}, checkout.ErrNoInventory
	case lua.HoldOverLimit:
		return checkout.HeldTickets{}, fault.New(fault.LimitReached,
			"one buyer may have at most %d tickets of this event; you have %d already", limit, reply.Left).
			With("limit", limit).With("had", reply.Left)
	case lua.HoldNoRun:
		if reply.Left > 0 {
			return checkout.HeldTickets{}, fault.New(fault.SoldOut,
				"%d tickets are left, but none %s next to each other", reply.Left, together(in.Best.Quantity)).With("left", reply.Left)
		}
		return checkout.HeldTickets{}, fault.New(fault.SoldOut, "no such tickets are left").With("left", 0)
	}
	return held(r.ID, reply)
}

func together(n int) string {
	if n == 2 {
		return "two"
	}
	return strconv.Itoa(n)
}

// Get implements checkout.HoldStore.
func (s *Store) Get(ctx context.Context, event, visitor, hold string) (checkout.HeldTickets, error) {
	return s.change(ctx, event, visitor, hold, lua.GetHold, 0, 0)
}

// Extend implements checkout.HoldStore.
func (s *Store) Extend(ctx context.Context, event, visitor, hold string, ttl time.Duration, most int) (checkout.HeldTickets, error) {
	return s.change(ctx, event, visitor, hold, lua.ExtendHold, ttl, most)
}

// Pin implements checkout.HoldStore.
func (s *Store) Pin(ctx context.Context, event, visitor, hold string, ttl time.Duration) (checkout.HeldTickets, error) {
	return s.change(ctx, event, visitor, hold, lua.PinHold, ttl, 0)
}

// Unpin implements checkout.HoldStore.
func (s *Store) Unpin(ctx context.Context, event, visitor, hold string, ttl time.Duration) error {
	_, err := s.change(ctx, event, visitor, hold, lua.UnpinHold, ttl, 0)
	return err
}

func (s *Store) change(ctx context.Context, event, visitor, hold string, verb lua.HoldVerb, ttl time.Duration, most int) (checkout.HeldTickets, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := lua.ChangeHold(ctx, s.rdb, event, visitor, hold, verb, ttl, most)
	if err != nil {
		return checkout.HeldTickets{}, down(err)
	}
	return held(hold, reply)
}

// Release implements checkout.HoldStore.
func (s *Store) Release(ctx context.Context, event, visitor, hold string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, code, err := lua.ReleaseHold(ctx, s.rdb, event, visitor, hold)
	if err != nil {
		return down(err)
	}
	if code != lua.HoldMade {
		_, err = held(hold, lua.HoldReply{Code: code})
	}
	return err
}

// held translates a script's reply.
func held(id string, r lua.HoldReply) (checkout.HeldTickets, error) {
	switch r.Code {
	case lua.HoldMade:
		return checkout.HeldTickets{
			ID: id, Ordinals: r.Ordinals, Expires: r.Expires, Extensions: r.Extensions, Pinned: r.Pinned, Fence: r.Fence,
		}, nil
	case lua.HoldNoLease:
		return checkout.HeldTickets{}, fault.New(fault.PassLapsed, "your time in the shop is over; join the queue again")
	case lua.HoldGone:
		return checkout.HeldTickets{}, fault.New(fault.HoldLapsed, "the hold has lapsed or was released; choose tickets again")
	case lua.HoldForeign, lua.HoldForeignID:
		return checkout.HeldTickets{}, fault.New(fault.Forbidden, "the hold is somebody else's")
	case lua.HoldNoExtension:
		return checkout.HeldTickets{}, fault.New(fault.Conflict, "the hold cannot be extended further")
	case lua.HoldPinned:
		return checkout.HeldTickets{}, fault.New(fault.Conflict, "an order has the hold; cancel the order instead")
	}
	return checkout.HeldTickets{}, fmt.Errorf("redisstore: unexpected code %d", r.Code)
}

// OfVisitor implements checkout.HoldStore.
func (s *Store) OfVisitor(ctx context.Context, event, visitor string) ([]checkout.HeldTickets, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ids, err := s.rdb.SMembers(ctx, lua.VisitorHoldsKey(event, visitor)).Result()
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
	_, _, err := lua.Settle(ctx, s.rdb, lua.SettleInput{
		Event: t.Event, To: byte(t.To), Hold: t.Hold, Visitor: t.Visitor, Bought: t.Bought, LockTTL: t.For, Ordinals: t.Ordinals,
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

// Snapshot implements checkout.HoldStore.
func (s *Store) Snapshot(ctx context.Context, event string) (status []byte, seq int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	both, err := s.rdb.MGet(ctx, lua.StatusKey(event), lua.SeqKey(event)).Result()
	if err != nil {
		return nil, 0, down(err)
	}
	bytes, ok := both[0].(string)
	if !ok {
		return nil, 0, checkout.ErrNoInventory
	}
	number, ok := both[1].(string)
	if !ok {
		return nil, 0, checkout.ErrNoInventory
	}
	seq, err = strconv.ParseInt(number, 10, 64)
	return []byte(bytes), seq, err
}

// Load implements checkout.HoldStore.
func (s *Store) Load(ctx context.Context, event string, expected int64, status []byte, runs []checkout.RunInfo, orders map[int]time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	in := lua.InventoryInput{Event: event, Status: status, Runs: encodeRuns(runs), Orders: orders}
	if expected > 0 {
		in.Expected = strconv.FormatInt(expected, 10)
	}
	loaded, err := lua.LoadInventory(ctx, s.rdb, in)
	if err != nil {
		return false, down(err)
	}
	return loaded, nil
}

// encodeRuns writes the table that hold.lua searches: "first,count,tier,ga,accessible;".
func encodeRuns(runs []checkout.RunInfo) string {
	var b strings.Builder
	bit := func(v bool) byte {
		if v {
			return '1'
		}
		return '0'
	}
	for _, r := range runs {
		fmt.Fprintf(&b, "%d,%d,%d,%c,%c;", r.First, r.Count, r.Tier, bit(r.GA), bit(r.Accessible))
	}
	return b.String()
}

// Locked implements checkout.HoldStore.
func (s *Store) Locked(ctx context.Context, event string, ordinals []int) ([]bool, error) {
	if len(ordinals) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found := make([]*redis.IntCmd, len(ordinals))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for n, o := range ordinals {
			found[n] = p.Exists(ctx, lua.HoldTicketKey(event, o))
		}
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	locked := make([]bool, len(ordinals))
	for n, f := range found {
		locked[n] = f.Val() > 0
	}
	return locked, nil
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
