package lua

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	roomJoin      = loadRoom("room_join.lua")
	roomAdmit     = loadRoom("room_admit.lua")
	roomMe        = loadRoom("room_me.lua")
	roomClaim     = loadRoom("room_claim.lua")
	roomEnd       = loadRoom("room_end.lua")
	roomSeed      = loadRoom("room_seed.lua")
	roomRestore   = loadRoom("room_restore.lua")
	roomPlace     = loadRoom("room_place.lua")
	roomLane      = loadRoom("room_lane.lua")
	roomPresence  = loadRoom("room_presence.lua")
	roomSteer     = loadRoom("room_steer.lua")
	roomValue     = loadRoom("room_value.lua")
	roomUnsaved   = loadRoom("room_unsaved.lua")
	roomSaved     = loadRoom("room_saved.lua")
	roomConfigure = loadRoom("room_configure.lua")
	roomState     = loadRoom("room_state.lua")
	roomMessage   = loadRoom("room_message.lua")
	roomShop      = loadRoom("room_shop.lua")
	roomStats     = loadRoomSource("room_stats.lua")
)

// loadRoom makes a room script ready to run, with the prelude before it.
func loadRoom(name string) *redis.Script { return redis.NewScript(loadRoomSource(name)) }

func loadRoomSource(name string) string { return source("room_prelude.lua") + source(name) }

// roomKeys are the keys every room script is given, in this order.
func roomKeys(event string) []string {
	return []string{
		RoomKey(event), LobbyKey(event), QueueKey(event), ReadyKey(event), ActiveKey(event),
		TurnsKey(event), GoneKey(event), LogKey(event), DirtyKey(event),
	}
}

// LaneBand is what lies between the scores of two lanes: a score is lane times
// LaneBand and the place, or the join index in the lobby.
const LaneBand = 1_000_000_000_000

// Score is where a place of a lane stands in the line.
func Score(lane int, place int64) int64 { return int64(lane)*LaneBand + place }

// LanePlace is what a score is made of.
func LanePlace(score int64) (lane int, place int64) { return int(score / LaneBand), score % LaneBand }

// RoomCode is the first integer a script about one visitor returns.
type RoomCode int64

// What the room scripts answer; each script's header says which of them.
const (
	RoomOK             RoomCode = 1
	RoomMissing        RoomCode = -1
	RoomTakesNobody    RoomCode = -2 // join
	RoomNotTheirTurn   RoomCode = -3 // claim
	RoomTooMany        RoomCode = -4 // join; Extra is the wait in ms
	RoomUnknownVisitor RoomCode = -5
	RoomShopFull       RoomCode = -6 // claim
	RoomChallenge      RoomCode = -7 // join
	RoomInviteOnly     RoomCode = -8 // join
	RoomChallengeUsed  RoomCode = -9 // join
)

// VisitorState is where a visitor stands, as the scripts number it.
type VisitorState int64

// The states of a visitor; see room_prelude.lua.
const (
	VisitorUnknown VisitorState = iota
	VisitorInLobby
	VisitorWaiting
	VisitorReady
	VisitorShopping
	VisitorDone
	VisitorLeft
	VisitorExpired
	VisitorAway
)

// RoomReply is what the scripts say about one visitor. Times are ms; 0 is
// never. Ahead is -1 unless the visitor waits. Score is lane and place, or lane
// and join index in the lobby.
type RoomReply struct {
	Code     RoomCode
	State    VisitorState
	Score    int64
	Ahead    int64
	Admitted int64
	Claimed  int64
	Until    int64
	Now      int64
	Epoch    int64
	Extra    int64
	Missed   int64
}

// What Extra says after a join.
const (
	JoinedAnew     = 1
	JoinedRestored = 2
)

// RoomCall is one run of a script about one visitor: alone by Run, or queued in
// a pipeline and read with Read.
type RoomCall struct {
	script *redis.Script
	keys   []string
	args   []any
}

// Run runs the script now.
func (c RoomCall) Run(ctx context.Context, rdb redis.Scripter) (RoomReply, error) {
	return roomReply(c.script.Run(ctx, rdb, c.keys, c.args...).Slice())
}

// Queue adds the run to a pipeline.
func (c RoomCall) Queue(ctx context.Context, pipe redis.Pipeliner) *redis.Cmd {
	return c.script.EvalSha(ctx, pipe, c.keys, c.args...)
}

// Read returns what a queued run answered, or runs the script after all if the
// server had not seen it.
func (c RoomCall) Read(ctx context.Context, rdb redis.Scripter, queued *redis.Cmd) (RoomReply, error) {
	if redis.HasErrorPrefix(queued.Err(), "NOSCRIPT") {
		return c.Run(ctx, rdb)
	}
	return roomReply(queued.Slice())
}

func roomReply(values []any, err error) (RoomReply, error) {
	if err != nil {
		return RoomReply{}, err
	}
	var n [11]int64
	if len(values) != 1 && len(values) != len(n) {
		return RoomReply{}, fmt.Errorf("lua: room script returned %d values", len(values))
	}
	for i := range values {
		whole, ok := values[i].(int64)
		if !ok {
			return RoomReply{}, fmt.Errorf("lua: room script returned %v", values)
		}
		n[i] = whole
	}
	return RoomReply{
		Code: RoomCode(n[0]), State: VisitorState(n[1]), Score: n[2], Ahead: n[3], Admitted: n[4],
		Claimed: n[5], Until: n[6], Now: n[7], Epoch: n[8], Extra: n[9], Missed: n[10],
	}, nil
}

// Invited says by what kind of invitation somebody comes.
type Invited int

// The kinds of invitation.
const (
	NotInvited Invited = iota
	InvitedOften
	InvitedOnce
)

// RoomJoinInput is one visitor of RoomJoin.
type RoomJoinInput struct {
	Visitor      string
	Fresh        bool    // the visitor's id was made for this join, and nothing below Address is set
	Address      string  // digest of the address joined from; "" is not counted
	Lane         int     // 0: general
	Invited      Invited // by a verified invitation
	Solved       bool    // a challenge was solved …
	Nonce        string  // … of this name, which may be used once
	Receipt      int64   // score of a verified receipt; its place is 0 in the lobby
	ReceiptEpoch int64
	ReceiptIndex int64
	Claimed      int64 // ms, of a verified pass
	Lease        int64 // ms, its end
}

// RoomLimits bound the new visitors of one address and minute; 0: no limit.
type RoomLimits struct {
	PerAddress int // more are refused
	Suspect    int // more stand behind everybody else
}

// RoomJoin runs room_join.lua for visitors of one event, at most 500, and
// returns one reply for each. highest is the highest place this node has seen
// given: newcomers stand behind it.
func RoomJoin(ctx context.Context, rdb redis.Scripter, event string, limits RoomLimits, random int32, highest int64, in []RoomJoinInput) ([]RoomReply, error) {
	keys := roomKeys(event)
	args := make([]any, 0, 5+3*len(in))
	args = append(args, RoomChannel(event), limits.PerAddress, limits.Suspect, random, highest)
	key := func(name string) int {
		keys = append(keys, name)
		return len(keys)
	}
	group := -1 // where args says how many visitors stand together
	for i := range in {
		v := &in[i]
		address := 0
		if v.Address != "" && (limits.PerAddress > 0 || limits.Suspect > 0) {
			address = key(JoinsKey(event, v.Address))
		}
		switch {
		case v.Fresh && address == 0 && group >= 0:
			args = append(args, v.Visitor)
			args[group] = len(args) - 1 - group
			continue
		case v.Fresh && address == 0:
			args = append(args, "n", 1, v.Visitor)
			group = len(args) - 2
			continue
		}
		group = -1
		if v.Fresh {
			args = append(args, "f", v.Visitor, address)
			continue
		}
		nonce, solved := 0, 0
		if v.Solved {
			solved, nonce = 1, key(NonceKey(event, v.Nonce))
		}
		args = append(args, "j", v.Visitor, address, v.Lane, int(v.Invited), solved, nonce,
			v.Receipt, v.ReceiptEpoch, v.ReceiptIndex, v.Claimed, v.Lease)
	}
	values, err := roomJoin.Run(ctx, rdb, keys, args...).Slice()
	if err != nil {
		return nil, err
	}
	if len(values) != 1+len(in) {
		return nil, fmt.Errorf("lua: room_join returned %d replies to %d joins", len(values)-1, len(in))
	}
	var head [2]int64 // now and epoch
	if err := integers(head[:], values[0]); err != nil {
		return nil, err
	}
	replies := make([]RoomReply, len(in))
	for i, v := range values[1:] {
		one, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("lua: room_join returned %T", v)
		}
		if len(one) == 2 { // a new place
			var placed [2]int64
			if err = integers(placed[:], v); err != nil {
				return nil, err
			}
			replies[i] = RoomReply{
				Code: RoomOK, State: VisitorWaiting, Score: placed[0], Ahead: placed[1], Now: head[0], Epoch: head[1], Extra: JoinedAnew,
			}
		} else if replies[i], err = roomReply(one, nil); err != nil {
			return nil, err
		}
	}
	return replies, nil
}

// integers reads as many integers as dst has room for.
func integers(dst []int64, v any) error {
	values, ok := v.([]any)
	if !ok || len(values) != len(dst) {
		return fmt.Errorf("lua: a room script returned %v, not %d integers", v, len(dst))
	}
	for i := range values {
		if dst[i], ok = values[i].(int64); !ok {
			return fmt.Errorf("lua: a room script returned %v", values)
		}
	}
	return nil
}

// RoomMe is a run of room_me.lua. Present says that it is the visitor who asks.
func RoomMe(event, visitor string, present bool) RoomCall {
	asks := "0"
	if present {
		asks = "1"
	}
	return RoomCall{roomMe, roomKeys(event), []any{RoomChannel(event), visitor, asks}}
}

// RoomClaim is a run of room_claim.lua.
func RoomClaim(event, visitor string) RoomCall {
	return RoomCall{roomClaim, roomKeys(event), []any{RoomChannel(event), visitor}}
}

// RoomLeave is a run of room_end.lua for a visitor who leaves.
func RoomLeave(event, visitor string) RoomCall {
	return RoomCall{roomEnd, roomKeys(event), []any{RoomChannel(event), visitor, "l", 0}}
}

// RoomFinish is a run of room_end.lua for a visitor who is done.
func RoomFinish(event, visitor string) RoomCall {
	return RoomCall{roomEnd, roomKeys(event), []any{RoomChannel(event), visitor, "d", 0}}
}

// RoomFinishSoon is a run of room_end.lua for a shopper whose lease is to end
// after the grace time, unless it ends before.
func RoomFinishSoon(event, visitor string, grace time.Duration) RoomCall {
	return RoomCall{roomEnd, roomKeys(event), []any{RoomChannel(event), visitor, "d", max(grace.Milliseconds(), 1)}}
}

// RoomLane is a run of room_lane.lua; from 0 is any lane.
func RoomLane(event, visitor string, lane, from int) RoomCall {
	return RoomCall{roomLane, roomKeys(event), []any{RoomChannel(event), visitor, lane, from}}
}

// RoomTick is what one run of room_admit.lua did and left.
type RoomTick struct {
	Missing  bool // there is no such room
	Ran      bool // false: the call came too soon after another
	Admitted int64
	Expired  int64
	Skipped  int64 // not there when their turn came
	Cursor   int64
	Waiting  int64
	Ready    int64
	Shopping int64
	Moving   bool // the lobby has not moved completely: call again at once
	Awaiting bool // the draw waits for its public value
	Now      int64
	Closed   bool
}

// RoomAdmit runs room_admit.lua. The most that can be admitted at once is 500;
// forced is how many an operator lets in now, 0 for a usual tick; it is done once
// though the client asks again because the reply was lost.
func RoomAdmit(ctx context.Context, rdb redis.Scripter, event string, gap time.Duration, most, move, forced int) (RoomTick, error) {
	call := int64(0)
	if forced > 0 {
		call = 1 + rand.Int64N(1<<53-1)
	}
	n, err := roomAdmit.Run(ctx, rdb, roomKeys(event), RoomChannel(event), gap.Milliseconds(), most, move, forced, call).Int64Slice()
	if err != nil {
		return RoomTick{}, err
	}
	switch len(n) {
	case 1:
		return RoomTick{Missing: true}, nil
	case 11:
		return RoomTick{
			Ran: n[0] == 1, Admitted: n[1], Expired: n[2], Cursor: n[3], Waiting: n[4], Ready: n[5], Shopping: n[6],
			Moving: n[7] == 1, Awaiting: n[7] == 2, Now: n[8], Closed: n[9] == 1, Skipped: n[10],
		}, nil
	default:
		return RoomTick{}, fmt.Errorf("lua: room_admit returned %d integers", len(n))
	}
}

// RoomPlacing moves one visitor from the lobby to the line.
type RoomPlacing struct {
	Visitor  string
	From, To int64 // scores
}

// RoomPlace runs room_place.lua.
func RoomPlace(ctx context.Context, rdb redis.Scripter, event string, list []RoomPlacing) (moved int64, err error) {
	args := make([]any, 1, 1+3*len(list))
	args[0] = RoomChannel(event)
	for _, p := range list {
		args = append(args, p.Visitor, p.From, p.To)
	}
	return roomPlace.Run(ctx, rdb, roomKeys(event), args...).Int64()
}

// RoomPresence runs room_presence.lua for visitors whose last connection dropped.
func RoomPresence(ctx context.Context, rdb redis.Scripter, event string, gone []string) (noted int64, err error) {
	args := make([]any, 1, 1+len(gone))
	args[0] = RoomChannel(event)
	for _, visitor := range gone {
		args = append(args, visitor)
	}
	return roomPresence.Run(ctx, rdb, roomKeys(event), args...).Int64()
}

// RoomSeedAnswer is what room_seed.lua answers.
type RoomSeedAnswer int64

// The answers of RoomSeed.
const (
	RoomSeeded    RoomSeedAnswer = 1
	RoomThere     RoomSeedAnswer = 0
	RoomLostAgain RoomSeedAnswer = -1 // turns that were put back are gone
)

// RoomSeed runs room_seed.lua. Turns is how many records were put back before.
// Fields are alternating names and values.
func RoomSeed(ctx context.Context, rdb redis.Scripter, event string, quiet time.Duration, turns int, fields ...any) (RoomSeedAnswer, error) {
	n, err := roomSeed.Run(ctx, rdb, roomKeys(event), append([]any{RoomChannel(event), quiet.Milliseconds(), turns}, fields...)...).Int64()
	return RoomSeedAnswer(n), err
}

// RoomRestore runs room_restore.lua. Pairs are visitors and their turns as text.
func RoomRestore(ctx context.Context, rdb redis.Scripter, event string, pairs ...any) error {
	return roomRestore.Run(ctx, rdb, roomKeys(event), append([]any{RoomChannel(event)}, pairs...)...).Err()
}

// RoomSteer runs room_steer.lua; at is the time (ms) of the last change the
// decision was made on.
func RoomSteer(ctx context.Context, rdb redis.Scripter, event string, at int64, rate int, why string) (changed bool, err error) {
	n, err := roomSteer.Run(ctx, rdb, roomKeys(event), RoomChannel(event), at, rate, why).Int64()
	return n == 1, err
}

// RoomValueAnswer is what room_value.lua answers.
type RoomValueAnswer int64

// The answers of RoomValue.
const (
	RoomValueTaken   RoomValueAnswer = 1
	RoomValueSame    RoomValueAnswer = 2
	RoomValueNotNow  RoomValueAnswer = 0
	RoomValueMissing RoomValueAnswer = -1
)

// RoomValue runs room_value.lua.
func RoomValue(ctx context.Context, rdb redis.Scripter, event, value string) (RoomValueAnswer, error) {
	n, err := roomValue.Run(ctx, rdb, roomKeys(event), RoomChannel(event), value).Int64()
	return RoomValueAnswer(n), err
}

// What must hold for RoomConfigure to change anything.
const (
	RoomAlways     = ""
	RoomIfEmpty    = "empty"  // nobody is in lobby or line
	RoomBeforeOpen = "before" // it has not opened
)

// RoomConfigured is what room_configure.lua answers.
type RoomConfigured int64

// The answers of RoomConfigure.
const (
	RoomChanged  RoomConfigured = 1
	RoomRefused  RoomConfigured = 0 // what must hold does not
	RoomNotThere RoomConfigured = -1
)

// RoomConfigure runs room_configure.lua. Fields are alternating names and values.
func RoomConfigure(ctx context.Context, rdb redis.Scripter, event, must string, fields ...any) (RoomConfigured, error) {
	n, err := roomConfigure.Run(ctx, rdb, roomKeys(event), append([]any{RoomChannel(event), must}, fields...)...).Int64()
	return RoomConfigured(n), err
}

// RoomChange is what room_state.lua answers.
type RoomChange struct {
	Missing bool   // there is no such room
	Changed bool   // false: the state did not allow it
	Before  string // the state it was in
}

// RoomState runs room_state.lua.
func RoomState(ctx context.Context, rdb redis.Scripter, event, to, reason string, cutoff int64, from ...string) (RoomChange, error) {
	args := []any{RoomChannel(event), to, reason, cutoff}
	for _, state := range from {
		args = append(args, state)
	}
	out, err := roomState.Run(ctx, rdb, roomKeys(event), args...).Slice()
	if err != nil {
		return RoomChange{}, err
	}
	if len(out) == 1 {
		return RoomChange{Missing: true}, nil
	}
	if len(out) == 2 {
		changed, ok := out[0].(int64)
		before, is := out[1].(string)
		if ok && is {
			return RoomChange{Changed: changed == 1, Before: before}, nil
		}
	}
	return RoomChange{}, fmt.Errorf("lua: room_state returned %v", out)
}

// RoomMessage runs room_message.lua.
func RoomMessage(ctx context.Context, rdb redis.Scripter, event, text string) (found bool, err error) {
	n, err := roomMessage.Run(ctx, rdb, roomKeys(event), RoomChannel(event), text).Int64()
	return n == 1, err
}

// RoomShop runs room_shop.lua; available and held are -1 when not known.
func RoomShop(ctx context.Context, rdb redis.Scripter, event string, good time.Duration, available, held, perBuyer int) (found bool, err error) {
	n, err := roomShop.Run(ctx, rdb, roomKeys(event), RoomChannel(event), good.Milliseconds(), available, held, perBuyer).Int64()
	return n == 1, err
}

// RoomNumbers is what room_stats.lua returns.
type RoomNumbers struct {
	Now      int64
	Waiting  int64
	Ready    int64
	Shopping int64
	Gathered int64 // in the lobby
	Away     int64 // without a connection since their last one dropped
	Suspects int64 // behind the general lane
	Fields   map[string]string
}

// RoomStats sends room_stats.lua, whole, so that it can stand in a transaction
// of go-redis, which cannot fall back from EVALSHA. Read the command's result
// with ReadRoomStats.
func RoomStats(ctx context.Context, rdb redis.Scripter, event string) *redis.Cmd {
	return rdb.Eval(ctx, roomStats, roomKeys(event), RoomChannel(event))
}

// ReadRoomStats reads the result of RoomStats; found is false when there is no
// such room.
func ReadRoomStats(cmd *redis.Cmd) (numbers RoomNumbers, found bool, err error) {
	out, err := cmd.Slice()
	if err != nil || len(out) == 0 {
		return RoomNumbers{}, false, err
	}
	var head [7]int64
	if len(out) < len(head) || len(out)%2 != len(head)%2 {
		return RoomNumbers{}, false, fmt.Errorf("lua: room_stats returned %d values", len(out))
	}
	for i := range head {
		n, ok := out[i].(int64)
		if !ok {
			return RoomNumbers{}, false, fmt.Errorf("lua: room_stats returned %T where a number belongs", out[i])
		}
		head[i] = n
	}
	numbers = RoomNumbers{
		Now: head[0], Waiting: head[1], Ready: head[2], Shopping: head[3], Gathered: head[4], Away: head[5], Suspects: head[6],
		Fields: make(map[string]string, len(out)/2),
	}
	for i := len(head); i+1 < len(out); i += 2 {
		name, ok := out[i].(string)
		value, is := out[i+1].(string)
		if !ok || !is {
			return RoomNumbers{}, false, fmt.Errorf("lua: room_stats returned %T, %T where text belongs", out[i], out[i+1])
		}
		numbers.Fields[name] = value
	}
	return numbers, true, nil
}

// Int is the whole number in a field, 0 when it is not there.
func (n RoomNumbers) Int(field string) int64 {
	v, _ := strconv.ParseInt(n.Fields[field], 10, 64) // scripts write whole numbers only
	return v
}

// RoomPaceSlot is the length of a slot of RoomPace.
const RoomPaceSlot = 10 * time.Second

// RoomPaceSlots is for how many slots the room remembers.
const RoomPaceSlots = 60

// RoomPace is how many were admitted in one slot of time. Busy says that people
// were waiting at an open door meanwhile.
type RoomPace struct {
	Slot     int64 // number of the slot since the epoch
	Admitted int64
	Busy     bool
}

// Pace returns the remembered slots in no particular order, without those
// before the throttle was last changed.
func (n RoomNumbers) Pace() []RoomPace {
	var out []RoomPace
	since := n.Int("pace_since")
	oldest := n.Now/RoomPaceSlot.Milliseconds() - RoomPaceSlots
	for i := range RoomPaceSlots {
		text, ok := n.Fields["p"+strconv.Itoa(i)]
		if !ok {
			continue
		}
		var p RoomPace
		var busy int
		if _, err := fmt.Sscanf(text, "%d:%d:%d", &p.Slot, &p.Admitted, &busy); err != nil || p.Slot < since || p.Slot <= oldest {
			continue
		}
		p.Busy = busy == 1
		out = append(out, p)
	}
	return out
}

// ReadRoomTurn reads a record of TurnsKey. A turn whose time is over at now (ms)
// counts as expired even before it is reaped.
func ReadRoomTurn(text string, now int64) (RoomReply, error) {
	letter, rest, _ := strings.Cut(text, ":")
	r := RoomReply{Code: RoomOK, Ahead: -1, Now: now}
	if _, err := fmt.Sscanf(rest, "%d:%d:%d:%d:%d", &r.Score, &r.Admitted, &r.Claimed, &r.Until, &r.Missed); err != nil {
		return RoomReply{}, fmt.Errorf("lua: turn %q: %w", text, err)
	}
	switch letter {
	case "r":
		r.State = VisitorReady
	case "s":
		r.State = VisitorShopping
	case "d":
		r.State = VisitorDone
	case "l":
		r.State = VisitorLeft
	case "x", "e":
		r.State = VisitorExpired
	case "k":
		r.State = VisitorAway
	default:
		return RoomReply{}, fmt.Errorf("lua: turn %q has an unknown letter", text)
	}
	if (letter == "r" || letter == "s") && r.Until <= now {
		r.State = VisitorExpired
	}
	return r, nil
}

// FormatRoomTurn writes what ReadRoomTurn reads. A turn that expired without a
// claim counts as missed.
func FormatRoomTurn(r RoomReply) string {
	letter := ""
	switch r.State {
	case VisitorReady:
		letter = "r"
	case VisitorShopping:
		letter = "s"
	case VisitorDone:
		letter = "d"
	case VisitorLeft:
		letter = "l"
	case VisitorAway:
		letter = "k"
	case VisitorExpired:
		letter = "e"
		if r.Claimed == 0 {
			letter = "x"
		}
	}
	return fmt.Sprintf("%s:%d:%d:%d:%d:%d", letter, r.Score, r.Admitted, r.Claimed, r.Until, r.Missed)
}

// RoomDirtyTurn is a turn that room_unsaved.lua lists.
type RoomDirtyTurn struct {
	Visitor string
	Changed int64  // ms
	Text    string // for ReadRoomTurn; "" when there is none any more
}

// RoomNotes is what room_unsaved.lua lists.
type RoomNotes struct {
	Epoch   int64
	Turns   []RoomDirtyTurn
	Changes []string // number|ms|actor|action|detail
}

// RoomUnsaved runs room_unsaved.lua; found is false when there is no such room.
func RoomUnsaved(ctx context.Context, rdb redis.Scripter, event string, most int) (notes RoomNotes, found bool, err error) {
	out, err := roomUnsaved.Run(ctx, rdb, roomKeys(event), RoomChannel(event), most).Slice()
	if err != nil || len(out) == 0 {
		return RoomNotes{}, false, err
	}
	bad := func() (RoomNotes, bool, error) {
		return RoomNotes{}, false, fmt.Errorf("lua: room_unsaved returned %d values of other kinds", len(out))
	}
	if len(out) != 3 {
		return bad()
	}
	epoch, ok := out[0].(int64)
	turns, is := out[1].([]any)
	changes, are := out[2].([]any)
	if !ok || !is || !are || len(turns)%3 != 0 {
		return bad()
	}
	notes.Epoch = epoch
	for i := 0; i < len(turns); i += 3 {
		var t RoomDirtyTurn
		var when string
		var a, b, c bool
		t.Visitor, a = turns[i].(string)
		when, b = turns[i+1].(string)
		t.Text, c = turns[i+2].(string)
		if t.Changed, err = strconv.ParseInt(when, 10, 64); err != nil || !a || !b || !c {
			return bad()
		}
		notes.Turns = append(notes.Turns, t)
	}
	for _, change := range changes {
		text, ok := change.(string)
		if !ok {
			return bad()
		}
		notes.Changes = append(notes.Changes, text)
	}
	return notes, true, nil
}

// RoomSaved runs room_saved.lua for turns that RoomUnsaved listed and changes up
// to number.
func RoomSaved(ctx context.Context, rdb redis.Scripter, event string, number int64, turns []RoomDirtyTurn) error {
	args := make([]any, 2, 2+2*len(turns))
	args[0], args[1] = RoomChannel(event), number
	for _, t := range turns {
		args = append(args, t.Visitor, t.Changed)
	}
	return roomSaved.Run(ctx, rdb, roomKeys(event), args...).Err()
}

// NoShow is the share of the last turns that were not claimed, -1 when too few
// have ended to tell.
func (n RoomNumbers) NoShow() float64 {
	const enough = 50 // as in room_prelude
	claims := int64(0)
	for k := range 8 {
		claims += n.Int("n" + strconv.Itoa(k))
	}
	missed := n.Int("nm")
	if claims+missed < enough {
		return -1
	}
	return float64(missed) / float64(claims+missed)
}

// Stays is for how long slots of the shop were taken lately, by how many whose turn
// has ended: from the turn to its end, missed turns too. Slots that are still taken
// count for the time they have been. Both are 0 while nothing is known.
func (n RoomNumbers) Stays() (taken time.Duration, ended int64) {
	var at, slots, admitted, ms int64
	if _, err := fmt.Sscanf(n.Fields["stays"], "%d:%d:%d:%d:%d", &at, &slots, &admitted, &ms, &ended); err != nil {
		return 0, 0
	}
	return time.Duration(ms) * time.Millisecond, ended
}
