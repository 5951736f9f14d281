package lua

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	holdScript        = load("hold.lua")
	holdChangeScript  = load("hold_change.lua")
	holdReleaseScript = load("hold_release.lua")
	holdSweepScript   = load("hold_sweep.lua")
	settleScript      = load("inventory_settle.lua")
	inventoryScript   = load("inventory_load.lua")
)

// HoldCode is the first integer a hold script returns.
type HoldCode int64

// What the hold scripts answer; each script's header says which of them.
const (
	HoldMade        HoldCode = 1
	HoldNoLease     HoldCode = -1 // hold
	HoldOverLimit   HoldCode = -2 // hold; Left is what the visitor has already
	HoldTaken       HoldCode = -3 // hold; Ordinals are the taken ones
	HoldNoRun       HoldCode = -4 // hold; Left is how many match without being adjacent
	HoldNoInventory HoldCode = -5 // hold
	HoldForeignID   HoldCode = -6 // hold
	HoldGone        HoldCode = -11
	HoldForeign     HoldCode = -12
	HoldNoExtension HoldCode = -13
	HoldPinned      HoldCode = -14
)

// HoldReply is what the hold scripts tell about a hold, or why there is none.
type HoldReply struct {
	Code       HoldCode
	Expires    time.Time
	Fence      int64
	Extensions int
	Pinned     bool
	Ordinals   []int
	Left       int
}

// Best asks hold.lua to choose adjacent tickets.
type Best struct {
	Quantity   int
	Tier       int // index, or -1 for any
	Accessible bool
}

// HoldInput is the input of Hold: either Ordinals or Best.
type HoldInput struct {
	Event, Visitor, ID string
	TTL                time.Duration
	Limit              int // most tickets one buyer may have
	Ordinals           []int
	Best               *Best
}

// Hold runs hold.lua.
func Hold(ctx context.Context, rdb redis.Scripter, in HoldInput) (HoldReply, error) {
	keys := []string{
		ActiveKey(in.Event), StatusKey(in.Event), SeqKey(in.Event), FenceKey(in.Event), HoldExpiryKey(in.Event),
		VisitorHoldsKey(in.Event, in.Visitor), HoldKey(in.Event, in.ID), BoughtKey(in.Event), RunsKey(in.Event),
	}
	args := []any{
		in.Visitor, in.ID, in.TTL.Milliseconds(), in.Limit,
		InventoryChannel(in.Event), HoldTicketPrefix(in.Event), HoldPrefix(in.Event),
	}
	if in.Best != nil {
		accessible := "0"
		if in.Best.Accessible {
			accessible = "1"
		}
		args = append(args, "best", in.Best.Quantity, in.Best.Tier, accessible)
	} else {
		args = append(args, "pick")
		for _, o := range in.Ordinals {
			args = append(args, o)
		}
	}
	reply, err := holdScript.Run(ctx, rdb, keys, args...).Int64Slice()
	if err != nil {
		return HoldReply{}, fmt.Errorf("hold.lua: %w", err)
	}
	if len(reply) == 0 {
		return HoldReply{}, fmt.Errorf("hold.lua: empty reply")
	}
	switch code := HoldCode(reply[0]); {
	case code == HoldMade:
		return madeHold("hold.lua", reply)
	case code == HoldTaken:
		return HoldReply{Code: code, Ordinals: ints(reply[1:])}, nil
	case (code == HoldOverLimit || code == HoldNoRun) && len(reply) == 2:
		return HoldReply{Code: code, Left: int(reply[1])}, nil
	case code == HoldNoLease || code == HoldNoInventory || code == HoldForeignID:
		return HoldReply{Code: code}, nil
	}
	return HoldReply{}, fmt.Errorf("hold.lua: unexpected reply %v", reply)
}

// HoldVerb is what ChangeHold does.
type HoldVerb string

// The verbs of hold_change.lua.
const (
	GetHold    HoldVerb = "get"
	ExtendHold HoldVerb = "extend"
	PinHold    HoldVerb = "pin"
	UnpinHold  HoldVerb = "unpin"
)

// ChangeHold runs hold_change.lua. ttl counts from now; extensions is the most
// a hold may have. Both are ignored by the verbs that don't need them.
func ChangeHold(ctx context.Context, rdb redis.Scripter, event, visitor, id string, verb HoldVerb, ttl time.Duration, extensions int) (HoldReply, error) {
	reply, err := holdChangeScript.Run(ctx, rdb,
		[]string{HoldKey(event, id), HoldExpiryKey(event), ActiveKey(event)},
		visitor, id, HoldTicketPrefix(event), string(verb), ttl.Milliseconds(), extensions).Int64Slice()
	if err != nil {
		return HoldReply{}, fmt.Errorf("hold_change.lua: %w", err)
	}
	if len(reply) == 0 {
		return HoldReply{}, fmt.Errorf("hold_change.lua: empty reply")
	}
	if HoldCode(reply[0]) == HoldMade {
		return madeHold("hold_change.lua", reply)
	}
	if reply[0] < -4 || reply[0] > -1 {
		return HoldReply{}, fmt.Errorf("hold_change.lua: unexpected reply %v", reply)
	}
	return HoldReply{Code: HoldCode(reply[0] - 10)}, nil
}

// ReleaseHold runs hold_release.lua and returns how many tickets it freed; the
// code is HoldMade, HoldForeign or HoldPinned.
func ReleaseHold(ctx context.Context, rdb redis.Scripter, event, visitor, id string) (freed int, code HoldCode, err error) {
	n, err := holdReleaseScript.Run(ctx, rdb,
		[]string{HoldKey(event, id), HoldExpiryKey(event), StatusKey(event), SeqKey(event), VisitorHoldsKey(event, visitor)},
		visitor, id, HoldTicketPrefix(event), InventoryChannel(event)).Int64()
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("hold_release.lua: %w", err)
	case n >= 0:
		return int(n), HoldMade, nil
	}
	return 0, HoldCode(n - 10), nil
}

// Swept is what one call of SweepHolds did.
type Swept struct {
	Holds, Tickets int
	Next           time.Duration // until the next hold lapses; -1 if there is none
}

// SweepHolds runs hold_sweep.lua for at most the given number of holds.
func SweepHolds(ctx context.Context, rdb redis.Scripter, event string, most int) (Swept, error) {
	reply, err := holdSweepScript.Run(ctx, rdb,
		[]string{HoldExpiryKey(event), StatusKey(event), SeqKey(event)},
		most, HoldTicketPrefix(event), HoldPrefix(event), VisitorHoldsPrefix(event), InventoryChannel(event)).Int64Slice()
	if err != nil {
		return Swept{}, fmt.Errorf("hold_sweep.lua: %w", err)
	}
	if len(reply) != 3 {
		return Swept{}, fmt.Errorf("hold_sweep.lua: unexpected reply %v", reply)
	}
	next := time.Duration(-1)
	if reply[2] >= 0 {
		next = time.Duration(reply[2]) * time.Millisecond
	}
	return Swept{Holds: int(reply[0]), Tickets: int(reply[1]), Next: next}, nil
}

// SettleInput is the input of Settle.
type SettleInput struct {
	Event    string
	To       byte   // S sold, A available or H held
	Hold     string // the hold the tickets were in, if known
	Visitor  string
	Bought   int           // change of the visitor's count of bought tickets
	LockTTL  time.Duration // for H
	Ordinals []int
}

// Settle runs inventory_settle.lua. loaded is false when the event's inventory
// is not in Redis; changed counts the tickets whose byte changed.
func Settle(ctx context.Context, rdb redis.Scripter, in SettleInput) (changed int, loaded bool, err error) {
	args := []any{string(in.To), in.Hold, in.Visitor, in.Bought, HoldTicketPrefix(in.Event), InventoryChannel(in.Event), max(in.LockTTL.Milliseconds(), 1)}
	for _, o := range in.Ordinals {
		args = append(args, o)
	}
	n, err := settleScript.Run(ctx, rdb, []string{
		StatusKey(in.Event), SeqKey(in.Event), HoldExpiryKey(in.Event),
		HoldKey(in.Event, in.Hold), VisitorHoldsKey(in.Event, in.Visitor), BoughtKey(in.Event),
	}, args...).Int64()
	if err != nil {
		return 0, false, fmt.Errorf("inventory_settle.lua: %w", err)
	}
	return int(max(n, 0)), n >= 0, nil
}

// InventoryInput is the input of LoadInventory.
type InventoryInput struct {
	Event    string
	Expected string // seq read before Postgres was; "" loads only what is missing
	Status   []byte
	Runs     string
	Orders   map[int]time.Duration // ordinal → how long its open order still has it
}

// LoadInventory runs inventory_load.lua and reports whether it loaded.
func LoadInventory(ctx context.Context, rdb redis.Scripter, in InventoryInput) (bool, error) {
	args := []any{in.Expected, in.Status, in.Runs, HoldTicketPrefix(in.Event), HoldPrefix(in.Event), InventoryChannel(in.Event)}
	for o, left := range in.Orders {
		if ms := left.Milliseconds(); ms > 0 {
			args = append(args, o, ms)
		}
	}
	n, err := inventoryScript.Run(ctx, rdb,
		[]string{StatusKey(in.Event), SeqKey(in.Event), RunsKey(in.Event), HoldExpiryKey(in.Event)}, args...).Int64()
	if err != nil {
		return false, fmt.Errorf("inventory_load.lua: %w", err)
	}
	return n == 1, nil
}

// madeHold reads {1, expiry, fence, extensions, pinned, ordinal...}.
func madeHold(script string, reply []int64) (HoldReply, error) {
	if len(reply) < 6 {
		return HoldReply{}, fmt.Errorf("%s: unexpected reply %v", script, reply)
	}
	return HoldReply{
		Code:       HoldMade,
		Expires:    time.UnixMilli(reply[1]).UTC(),
		Fence:      reply[2],
		Extensions: int(reply[3]),
		Pinned:     reply[4] == 1,
		Ordinals:   ints(reply[5:]),
	}, nil
}

func ints(from []int64) []int {
	to := make([]int, len(from))
	for i, n := range from {
		to[i] = int(n)
	}
	return to
}
