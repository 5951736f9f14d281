package lua

import (
	"context"
	"fmt"
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
	roomConfigure = loadRoom("room_configure.lua")
	roomState     = loadRoom("room_state.lua")
	roomMessage   = loadRoom("room_message.lua")
	roomShop      = loadRoom("room_shop.lua")
	roomStats     = loadRoomSource("room_stats.lua")
)

// loadRoom makes a room script ready to run, with the prelude before it.
func loadRoom(name string) *redis.Script { return redis.NewScript(loadRoomSource(name)) }

func loadRoomSource(name string) string {
	prelude, err := sources.ReadFile("room_prelude.lua")
	if err != nil {
		panic(fmt.Sprintf("lua: %v", err)) // an embedded file cannot be missing
	}
	src, err := sources.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("lua: %v", err))
	}
	return string(prelude) + string(src)
}

// roomKeys are the keys every room script is given, in this order.
func roomKeys(event string) []string {
	return []string{RoomKey(event), LobbyKey(event), QueueKey(event), ActiveKey(event), TurnsKey(event)}
}

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
)

// VisitorState is where a visitor stands, as the scripts number it.
type VisitorState int64

// The numbers of room_prelude.lua.
const (
	VisitorUnknown VisitorState = iota
	VisitorInLobby
	VisitorWaiting
	VisitorReady
	VisitorShopping
	VisitorDone
	VisitorLeft
	VisitorExpired
)

// RoomReply is what the scripts say about one visitor. Times are ms; 0 is
// never. Ahead is -1 unless the visitor waits.
type RoomReply struct {
	Code     RoomCode
	State    VisitorState
	Place    int64
	Ahead    int64
	Admitted int64
	Claimed  int64
	Until    int64
	Now      int64
	Epoch    int64
	Extra    int64
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
	return roomReply(c.script.Run(ctx, rdb, c.keys, c.args...))
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
	return roomReply(queued)
}

func roomReply(cmd *redis.Cmd) (RoomReply, error) {
	n, err := cmd.Int64Slice()
	if err != nil {
		return RoomReply{}, err
	}
	switch len(n) {
	case 1:
		return RoomReply{Code: RoomCode(n[0])}, nil
	case 10:
		return RoomReply{
			Code: RoomCode(n[0]), State: VisitorState(n[1]), Place: n[2], Ahead: n[3], Admitted: n[4],
			Claimed: n[5], Until: n[6], Now: n[7], Epoch: n[8], Extra: n[9],
		}, nil
	default:
		return RoomReply{}, fmt.Errorf("lua: room script returned %d integers", len(n))
	}
}

// RoomJoinInput is the input of RoomJoin.
type RoomJoinInput struct {
	Event, Visitor string
	Fresh          bool   // the visitor's id was made for this join
	Address        string // digest of the address joined from
	PerAddress     int    // most new visitors per address and minute; 0: no limit
	Place, Epoch   int64  // of a verified receipt; 0 without one
}

// RoomJoin is a run of room_join.lua.
func RoomJoin(in RoomJoinInput) RoomCall {
	fresh := "0"
	if in.Fresh {
		fresh = "1"
	}
	return RoomCall{
		roomJoin, append(roomKeys(in.Event), JoinsKey(in.Event, in.Address)),
		[]any{RoomChannel(in.Event), in.Visitor, in.PerAddress, in.Place, in.Epoch, fresh},
	}
}

// RoomMe is a run of room_me.lua.
func RoomMe(event, visitor string) RoomCall {
	return RoomCall{roomMe, roomKeys(event), []any{RoomChannel(event), visitor}}
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

// RoomTick is what one run of room_admit.lua did and left.
type RoomTick struct {
	Missing  bool // there is no such room
	Ran      bool // false: the call came too soon after another
	Admitted int64
	Expired  int64
	Cursor   int64
	Waiting  int64
	Active   int64
	Moving   bool // the lobby has not moved completely: call again at once
	Now      int64
	Closed   bool
}

// RoomAdmit runs room_admit.lua. The most that can be admitted at once is 500.
func RoomAdmit(ctx context.Context, rdb redis.Scripter, event string, gap time.Duration, most, move int) (RoomTick, error) {
	n, err := roomAdmit.Run(ctx, rdb, roomKeys(event), RoomChannel(event), gap.Milliseconds(), most, move).Int64Slice()
	if err != nil {
		return RoomTick{}, err
	}
	switch len(n) {
	case 1:
		return RoomTick{Missing: true}, nil
	case 9:
		return RoomTick{
			Ran: n[0] == 1, Admitted: n[1], Expired: n[2], Cursor: n[3], Waiting: n[4], Active: n[5],
			Moving: n[6] == 1, Now: n[7], Closed: n[8] == 1,
		}, nil
	default:
		return RoomTick{}, fmt.Errorf("lua: room_admit returned %d integers", len(n))
	}
}

// RoomSeed runs room_seed.lua. Fields are alternating names and values.
func RoomSeed(ctx context.Context, rdb redis.Scripter, event string, quiet time.Duration, fields ...any) (created bool, err error) {
	n, err := roomSeed.Run(ctx, rdb, roomKeys(event), append([]any{RoomChannel(event), quiet.Milliseconds()}, fields...)...).Int64()
	return n == 1, err
}

// RoomConfigure runs room_configure.lua. Fields are alternating names and values.
func RoomConfigure(ctx context.Context, rdb redis.Scripter, event string, fields ...any) (found bool, err error) {
	n, err := roomConfigure.Run(ctx, rdb, roomKeys(event), append([]any{RoomChannel(event)}, fields...)...).Int64()
	return n == 1, err
}

// RoomChange is what room_state.lua answers.
type RoomChange struct {
	Missing bool   // there is no such room
	Changed bool   // false: the state did not allow it
	Before  string // the state it was in
}

// RoomState runs room_state.lua.
func RoomState(ctx context.Context, rdb redis.Scripter, event, to, reason string, from ...string) (RoomChange, error) {
	args := []any{RoomChannel(event), to, reason}
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

// RoomShop runs room_shop.lua; stock -1 is not known.
func RoomShop(ctx context.Context, rdb redis.Scripter, event string, good time.Duration, stock int) (found bool, err error) {
	n, err := roomShop.Run(ctx, rdb, roomKeys(event), RoomChannel(event), good.Milliseconds(), stock).Int64()
	return n == 1, err
}

// RoomNumbers is what room_stats.lua returns.
type RoomNumbers struct {
	Now      int64
	Waiting  int64
	Active   int64 // ready and shopping
	Gathered int64 // in the lobby
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
	if len(out) < 4 || len(out)%2 != 0 {
		return RoomNumbers{}, false, fmt.Errorf("lua: room_stats returned %d values", len(out))
	}
	var head [4]int64
	for i := range head {
		n, ok := out[i].(int64)
		if !ok {
			return RoomNumbers{}, false, fmt.Errorf("lua: room_stats returned %T where a number belongs", out[i])
		}
		head[i] = n
	}
	numbers = RoomNumbers{
		Now: head[0], Waiting: head[1], Active: head[2], Gathered: head[3],
		Fields: make(map[string]string, len(out)/2),
	}
	for i := 4; i+1 < len(out); i += 2 {
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
	if _, err := fmt.Sscanf(rest, "%d:%d:%d:%d", &r.Place, &r.Admitted, &r.Claimed, &r.Until); err != nil {
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
	default:
		return RoomReply{}, fmt.Errorf("lua: turn %q has an unknown letter", text)
	}
	if (letter == "r" || letter == "s") && r.Until <= now {
		r.State = VisitorExpired
	}
	return r, nil
}
