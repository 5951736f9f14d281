package lua

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	holdMake        = loadHold("hold.lua")
	holdEdit        = loadHold("hold_edit.lua")
	holdKeep        = loadHold("hold_keep.lua")
	holdRelease     = loadHold("hold_release.lua")
	holdSweep       = loadHold("hold_sweep.lua")
	inventoryLoad   = loadHold("inventory_load.lua")
	inventorySettle = loadHold("inventory_settle.lua")
	inventoryAllot  = loadHold("inventory_allot.lua")
	inventoryShape  = loadHold("inventory_shape.lua")
)

// loadHold makes a script about holds ready to run, with the prelude before it.
// EVALSHA is tried first; a server that has not seen the script, or was told
// SCRIPT FLUSH, gets it by EVAL.
func loadHold(name string) *redis.Script {
	return redis.NewScript(source("hold_prelude.lua") + source(name))
}

// holdKeys are the keys every script about holds is given, in this order.
func holdKeys(event string, more ...string) []string {
	return append([]string{
		StatusKey(event), SeqKey(event), CountKey(event), ShapeKey(event), TiersKey(event),
		AllotKey(event), AccessKey(event), BoughtKey(event), HoldExpiryKey(event), HoldsKey(event), HoldersKey(event),
	}, more...)
}

// holdArgs are the arguments every script about holds is given, and its own.
func holdArgs(event string, more ...any) []any {
	return append([]any{HoldTicketPrefix(event), InventoryChannel(event)}, more...)
}

// OrderLock is the lock of a ticket that an open order has whose own hold is gone.
const OrderLock = "order"

// HoldCode is the first integer a hold script returns.
type HoldCode int64

// What the hold scripts answer; see hold_prelude.lua.
const (
	HoldOK          HoldCode = 1
	HoldNoLease     HoldCode = -1
	HoldOverLimit   HoldCode = -2 // Left is what the visitor has already
	HoldTaken       HoldCode = -3 // Ordinals are the taken ones
	HoldNoRun       HoldCode = -4 // Left is how many match without being adjacent
	HoldNoInventory HoldCode = -5
	HoldGone        HoldCode = -6
	HoldForeign     HoldCode = -7
	HoldNoExtension HoldCode = -8
	HoldPinned      HoldCode = -9
	HoldAreaFull    HoldCode = -10 // Area is the index of the area, Left what it has left
	HoldSingles     HoldCode = -11 // Ordinals would be left alone
	HoldEmpty       HoldCode = -12
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
	Area       int
}

// MostLeft is where HoldReply.Left stops counting.
const MostLeft = 100

// Stretch is tickets first to last, by ordinal. In an area neighbours don't matter.
type Stretch struct {
	First, Last int
	Area        bool
}

// Quantity asks for any tickets of some stretches.
type Quantity struct {
	N       int
	Channel int // whose tickets; 0 for those of nobody
	Where   []Stretch
}

// Best asks hold.lua to choose adjacent tickets.
type Best struct {
	N          int
	Channel    int  // whose tickets; 0 for those of nobody
	Accessible int  // how many of them must be accessible seats
	Split      bool // in groups where they are not to be had together
	Where      []Stretch
	Accessibly []Stretch // where the accessible seats are
}

// HoldInput is one request to Hold: Ordinals, Areas and Best together make one
// hold.
type HoldInput struct {
	Visitor, ID string
	TTL         time.Duration
	Limit       int    // most tickets one buyer may have
	Singles     string // allow, avoid or refuse single seats being left
	Leaseless   bool   // needs no lease of the visitor's
	Ordinals    []int
	Areas       []Quantity
	Best        *Best
	Revision    int // of the layout it was made from; an inventory of an older one is none
}

// Hold runs hold.lua for requests of one event, and returns one reply for each.
func Hold(ctx context.Context, rdb redis.Scripter, event string, in []HoldInput) ([]HoldReply, error) {
	args := make([]any, 0, 2+12*len(in))
	args = append(args, holdArgs(event)...)
	for i := range in {
		args = in[i].append(args)
	}
	values, err := holdMake.Run(ctx, rdb, holdKeys(event, ActiveKey(event), RevisionKey(event)), args...).Slice()
	if err != nil {
		return nil, fmt.Errorf("hold.lua: %w", err)
	}
	if len(values) != len(in) {
		return nil, fmt.Errorf("hold.lua: %d replies to %d requests", len(values), len(in))
	}
	replies := make([]HoldReply, len(in))
	for i, v := range values {
		list, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("hold.lua: unexpected reply %v", v)
		}
		numbers := make([]int64, len(list))
		if err := integers(numbers, list); err != nil {
			return nil, err
		}
		if replies[i], err = holdReply(numbers); err != nil {
			return nil, err
		}
	}
	return replies, nil
}

func (in *HoldInput) append(args []any) []any {
	var areas strings.Builder
	for _, a := range in.Areas {
		fmt.Fprintf(&areas, "%d:%d:%s;", a.N, a.Channel, stretches(a.Where))
	}
	best, where, accessibly := "", "", ""
	if b := in.Best; b != nil {
		split := 0
		if b.Split {
			split = 1
		}
		best = fmt.Sprintf("%d:%d:%d:%d", b.N, b.Channel, b.Accessible, split)
		where, accessibly = stretches(b.Where), stretches(b.Accessibly)
	}
	lease := 1
	if in.Leaseless {
		lease = 0
	}
	return append(args, in.Visitor, in.ID, in.TTL.Milliseconds(), in.Limit, in.Singles, ordinals(in.Ordinals), areas.String(), best, where, accessibly, in.Revision, lease)
}

// HoldCall is a call of one of the scripts about a hold that is there, which may be
// sent by itself or with others.
type HoldCall struct {
	script *redis.Script
	keys   []string
	args   []any
}

// Run sends the call.
func (c HoldCall) Run(ctx context.Context, rdb redis.Scripter) (HoldReply, error) {
	return readHold(c.script.Run(ctx, rdb, c.keys, c.args...))
}

// Queue puts the call into a pipeline.
func (c HoldCall) Queue(ctx context.Context, pipe redis.Pipeliner) *redis.Cmd {
	return pipe.EvalSha(ctx, c.script.Hash(), c.keys, c.args...)
}

// Read is the reply to a queued call, which is sent again if the server had not
// seen the script.
func (c HoldCall) Read(ctx context.Context, rdb redis.Scripter, queued *redis.Cmd) (HoldReply, error) {
	if err := queued.Err(); err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		return c.Run(ctx, rdb)
	}
	return readHold(queued)
}

// EditHold calls hold_edit.lua.
func EditHold(event, visitor, id string, limit int, singles string, add, drop []int) HoldCall {
	return HoldCall{holdEdit, holdKeys(event, ActiveKey(event)),
		holdArgs(event, visitor, id, limit, singles, ordinals(add), ordinals(drop))}
}

// HoldVerb is what KeepHold does.
type HoldVerb string

// The verbs of hold_keep.lua.
const (
	GetHold    HoldVerb = "get"
	ExtendHold HoldVerb = "extend"
	PinHold    HoldVerb = "pin"
	UnpinHold  HoldVerb = "unpin"
)

// KeepHold calls hold_keep.lua. ttl counts from now; extensions is the most a
// hold may have. Both are ignored by the verbs that don't need them.
func KeepHold(event, visitor, id string, verb HoldVerb, ttl time.Duration, extensions int) HoldCall {
	return HoldCall{holdKeep, holdKeys(event, ActiveKey(event)),
		holdArgs(event, visitor, id, string(verb), ttl.Milliseconds(), extensions)}
}

// ReleaseHold calls hold_release.lua. Left of the reply counts the tickets freed.
func ReleaseHold(event, visitor, id string) HoldCall {
	return HoldCall{holdRelease, holdKeys(event), holdArgs(event, visitor, id)}
}

func readHold(cmd *redis.Cmd) (HoldReply, error) {
	reply, err := cmd.Int64Slice()
	if err != nil {
		return HoldReply{}, fmt.Errorf("hold script: %w", err)
	}
	return holdReply(reply)
}

// holdReply reads a reply as hold_prelude.lua describes it.
func holdReply(reply []int64) (HoldReply, error) {
	bad := fmt.Errorf("hold script: unexpected reply %v", reply)
	if len(reply) == 0 {
		return HoldReply{}, bad
	}
	r := HoldReply{Code: HoldCode(reply[0])}
	switch n := len(reply); {
	case r.Code == HoldOK && n == 2:
		r.Left = int(reply[1])
	case r.Code == HoldOK && n >= 6:
		r.Expires, r.Fence = time.UnixMilli(reply[1]).UTC(), reply[2]
		r.Extensions, r.Pinned, r.Ordinals = int(reply[3]), reply[4] == 1, ints(reply[5:])
	case (r.Code == HoldOverLimit || r.Code == HoldNoRun) && n == 2:
		r.Left = int(reply[1])
	case r.Code == HoldAreaFull && n == 3:
		r.Area, r.Left = int(reply[1])-1, int(reply[2])
	case (r.Code == HoldTaken || r.Code == HoldSingles) && n >= 2:
		r.Ordinals = ints(reply[1:])
	case r.Code < 0 && r.Code >= HoldEmpty && n == 1:
	default:
		return HoldReply{}, bad
	}
	return r, nil
}

// VisitorHolds lists the ids of a visitor's holds, lapsed ones perhaps among them.
func VisitorHolds(ctx context.Context, rdb redis.Cmdable, event, visitor string) (ids []string, err error) {
	text, err := rdb.HGet(ctx, HoldersKey(event), visitor).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	_, text, _ = strings.Cut(text, "|")
	for entry := range strings.SplitSeq(strings.TrimSuffix(text, ";"), ";") {
		if id, _, ok := strings.Cut(entry, ":"); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Swept is what one call of SweepHolds did.
type Swept struct {
	Holds, Tickets int
	Next           time.Duration // until the next hold lapses; -1 if there is none
}

// SweepHolds runs hold_sweep.lua for at most the given number of holds.
func SweepHolds(ctx context.Context, rdb redis.Scripter, event string, most int) (Swept, error) {
	reply, err := holdSweep.Run(ctx, rdb, holdKeys(event), holdArgs(event, most)...).Int64Slice()
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
	To       byte   // S sold, A nobody's again or H an open order's
	Hold     string // the hold the tickets were in, if known
	Visitor  string
	Bought   int           // change of the visitor's count of bought tickets
	LockTTL  time.Duration // for H
	Ordinals []int
}

// Settle runs inventory_settle.lua. loaded is false when the event's inventory
// is not in Redis; changed counts the tickets whose byte changed.
func Settle(ctx context.Context, rdb redis.Scripter, in SettleInput) (changed int, loaded bool, err error) {
	n, err := inventorySettle.Run(ctx, rdb, holdKeys(in.Event), holdArgs(in.Event,
		string(in.To), in.Hold, in.Visitor, in.Bought, max(in.LockTTL.Milliseconds(), 1), ordinals(in.Ordinals))...).Int64()
	if err != nil {
		return 0, false, fmt.Errorf("inventory_settle.lua: %w", err)
	}
	return int(max(n, 0)), n >= 0, nil
}

// Allot runs inventory_allot.lua: it keeps tickets for a channel (0: for nobody)
// and returns which. Those that somebody holds or bought are left alone, or with
// evenTaken are allotted for when they come back. loaded is false when the
// inventory is not in Redis.
func Allot(ctx context.Context, rdb redis.Scripter, event string, channel int, evenTaken bool, which []int) (done []int, loaded bool, err error) {
	mode := "free"
	if evenTaken {
		mode = "all"
	}
	reply, err := inventoryAllot.Run(ctx, rdb, holdKeys(event), holdArgs(event, channel, mode, ordinals(which))...).Int64Slice()
	if err != nil {
		return nil, false, fmt.Errorf("inventory_allot.lua: %w", err)
	}
	if len(reply) == 0 {
		return nil, false, errors.New("inventory_allot.lua: empty reply")
	}
	return ints(reply[1:]), HoldCode(reply[0]) == HoldOK, nil
}

// MostChannels is how many channels an event may have.
const MostChannels = 60

// ChannelByte is how a channel's number stands in AllotKey and AccessKey.
func ChannelByte(channel int) byte { return byte('0' + channel) }

// Flags of a ticket in ShapeKey.
const (
	BeginsRow  = 1 << iota // its left neighbour, if any, is in another row
	BeginsRun              // its left neighbour has another tier or is of another kind
	Accessible             // for people who need it
	Companion              // beside one
	InArea                 // general admission
)

// ShapeByte is how flags stand in ShapeKey.
func ShapeByte(flags int) byte { return byte(64 + flags) }

// TierByte is how the index of a tier stands in TiersKey.
func TierByte(tier int) byte { return byte('0' + tier) }

// CountField is the field of CountKey that counts the tickets of a tier with this
// status byte.
func CountField(status byte, tier int) string { return string(status) + strconv.Itoa(tier) }

// EpochField is the field of CountKey with the seq of the last load.
const EpochField = "epoch"

// InventoryInput is the input of LoadInventory.
type InventoryInput struct {
	Event    string
	Expected string // seq read before Postgres was; "" loads only what is missing
	Status   []byte
	Shape    []byte
	Tiers    []byte
	Allot    []byte // nil without channels
	Counts   map[string]int
	Orders   map[int]time.Duration // ordinal → how long its open order still has it
	Bought   map[string]int        // visitor → tickets
	Access   map[string]string     // visitor → bytes of their channels
	Revision int                   // of the layout
}

// LoadInventory runs inventory_load.lua and reports whether it loaded.
func LoadInventory(ctx context.Context, rdb redis.Scripter, in InventoryInput) (bool, error) {
	var orders strings.Builder
	for o, left := range in.Orders {
		if ms := left.Milliseconds(); ms > 0 {
			fmt.Fprintf(&orders, "%d:%d;", o, ms)
		}
	}
	n, err := inventoryLoad.Run(ctx, rdb, holdKeys(in.Event, RevisionKey(in.Event)), holdArgs(in.Event,
		in.Expected, in.Status, in.Shape, in.Tiers, in.Allot, pairs(in.Counts), orders.String(),
		pairs(in.Bought), pairs(in.Access), in.Revision)...).Int64()
	if err != nil {
		return false, fmt.Errorf("inventory_load.lua: %w", err)
	}
	return n == 1, nil
}

// ShapeInventory runs inventory_shape.lua: an inventory of an older layout gets
// another shape. loaded is false when there is none.
func ShapeInventory(ctx context.Context, rdb redis.Scripter, event string, revision int, shape []byte) (loaded bool, err error) {
	n, err := inventoryShape.Run(ctx, rdb, holdKeys(event, RevisionKey(event)), holdArgs(event, revision, shape)...).Int64()
	if err != nil {
		return false, fmt.Errorf("inventory_shape.lua: %w", err)
	}
	return n == 1, nil
}

// pairs writes "key:value;…".
func pairs[V int | string](m map[string]V) string {
	var b strings.Builder
	for k, v := range m {
		fmt.Fprintf(&b, "%s:%v;", k, v)
	}
	return b.String()
}

func stretches(all []Stretch) string {
	b := make([]byte, 0, 12*len(all))
	for i, s := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(s.First), 10)
		if s.Area {
			b = append(b, '+')
		} else {
			b = append(b, '-')
		}
		b = strconv.AppendInt(b, int64(s.Last), 10)
	}
	return string(b)
}

func ordinals(list []int) string {
	b := make([]byte, 0, 6*len(list))
	for i, o := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(o), 10)
	}
	return string(b)
}

func ints(from []int64) []int {
	to := make([]int, len(from))
	for i, n := range from {
		to[i] = int(n)
	}
	return to
}
