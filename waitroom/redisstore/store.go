package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/internal/fault"
	"onsale/lua"
	"onsale/waitroom"
)

// Options tune a Store. The zero value of each takes the default.
type Options struct {
	Timeout time.Duration // of one call; 2 s
	Batch   int           // most visitors admitted by one tick, at most 500; 500
	Move    int           // most visitors moved from the lobby by one tick; 5,000

	// AwayAfter is how long after their last connection dropped somebody is not
	// given a turn; 1 min; negative: never. It is kept in rooms that are seeded.
	AwayAfter time.Duration
}

// Store keeps rooms in Redis. It is safe for concurrent use.
type Store struct {
	rdb   redis.UniversalClient
	o     Options
	calls *gatherer[lua.RoomCall, lua.RoomReply]
	joins *gatherer[join, lua.RoomReply]
}

var _ waitroom.Store = (*Store)(nil)

// New makes a Store on rdb, which should have ContextTimeoutEnabled set so that
// deadlines hold on the wire too. It does no I/O and does not close rdb.
func New(rdb redis.UniversalClient) *Store {
	return (&Store{rdb: rdb}).WithOptions(Options{})
}

const (
	lanes     = 2   // of calls on their way at the same time: fewer are fuller
	fullJoins = 16  // joins that are worth a script while another is on its way
	mostCalls = 128 // that travel together
)

// WithOptions returns a Store of the same rooms with other options.
func (s *Store) WithOptions(o Options) *Store {
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Batch <= 0 || o.Batch > 500 {
		o.Batch = 500
	}
	if o.Move <= 0 {
		o.Move = 5000
	}
	if o.AwayAfter == 0 {
		o.AwayAfter = time.Minute
	}
	n := &Store{rdb: s.rdb, o: o}
	n.calls = &gatherer[lua.RoomCall, lua.RoomReply]{most: mostCalls, lanes: lanes, enough: 1, carry: n.carry}
	n.joins = &gatherer[join, lua.RoomReply]{most: mostCalls, lanes: lanes, enough: fullJoins, carry: n.carryJoins}
	return n
}

// carry sends calls in one pipeline.
func (s *Store) carry(ctx context.Context, calls []lua.RoomCall) []outcome[lua.RoomReply] {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	out := make([]outcome[lua.RoomReply], len(calls))
	if len(calls) == 1 {
		out[0].reply, out[0].err = calls[0].Run(ctx, s.rdb)
		return out
	}
	queued := make([]*redis.Cmd, len(calls))
	_, _ = s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each command has its own error
		for i, c := range calls {
			queued[i] = c.Queue(ctx, pipe)
		}
		return nil
	})
	for i, c := range calls {
		out[i].reply, out[i].err = c.Read(ctx, s.rdb, queued[i])
	}
	return out
}

// join is a join of a room with its limits: what can be the same for all who
// join at the same time, and travels once.
type join struct {
	event  string
	limits lua.RoomLimits
	input  lua.RoomJoinInput
}

// carryJoins runs one script for the joins of each room.
func (s *Store) carryJoins(ctx context.Context, all []join) []outcome[lua.RoomReply] {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	out := make([]outcome[lua.RoomReply], len(all))
	done := 0
	for first := 0; done < len(all); first++ {
		if out[first].reply.Code != 0 || out[first].err != nil {
			continue // with an earlier one of its room
		}
		var inputs []lua.RoomJoinInput
		var at []int
		for i := first; i < len(all); i++ {
			if all[i].event == all[first].event && all[i].limits == all[first].limits {
				inputs, at = append(inputs, all[i].input), append(at, i)
			}
		}
		replies, err := lua.RoomJoin(ctx, s.rdb, all[first].event, all[first].limits, 1+rand.Int32N(1<<31-3), inputs)
		for n, i := range at {
			out[i].err = err
			if err == nil {
				out[i].reply = replies[n]
			}
		}
		done += len(at)
	}
	return out
}

func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.o.Timeout)
}

// notNow are the errors of a server that is there but cannot serve right now. A
// transaction is aborted when one of its commands was refused for such a reason.
var notNow = []string{"EXECABORT", "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "OOM", "NOREPLICAS", "MISCONF", "UNBLOCKED"}

// failed translates an error of the driver. caller is the context before the
// deadline was put on it.
func failed(caller context.Context, err error) error {
	if err == nil {
		return nil
	}
	if caller.Err() != nil && errors.Is(caller.Err(), context.Canceled) {
		return fmt.Errorf("waiting room: %w", context.Canceled)
	}
	if answer, ok := errors.AsType[redis.Error](err); ok {
		for _, prefix := range notNow {
			if strings.HasPrefix(answer.Error(), prefix) {
				return fault.Down(err, "the waiting room")
			}
		}
		return fmt.Errorf("waiting room: %w", err) // Redis refused what we sent: a bug
	}
	return fault.Down(err, "the waiting room")
}

func noRoom(event string) error {
	return fault.New(fault.NotFound, "there is no waiting room for %q", event)
}

// at is the time of a script's milliseconds; 0 is never.
func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// ms is what scripts take for a time; never is 0.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// flag is what scripts take for yes and no.
func flag(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// byStock is who closed a room that was sold out by itself.
const byStock = "stock"

// shares are kept as thousandths of a percent.
const share = 100_000

// fields are the settings of a room as the store keeps them.
func (s *Store) fields(w waitroom.Settings) []any {
	by := ""
	if w.ByStock {
		by = byStock
	}
	a, d := w.Autopilot, w.Draw
	return []any{
		"name", w.Name, "state", string(w.State), "closed_reason", w.ClosedReason, "closed_by", by, "message", w.Message,
		"opens_at", ms(w.OpensAt), "lobby_opens_at", ms(w.LobbyOpensAt), "closes_at", ms(w.ClosesAt),
		"rate", w.Throttle.RatePerMinute, "burst", w.Throttle.Burst, "cap", w.Throttle.MaxShoppers,
		"lease", w.Throttle.Lease.Milliseconds(), "claim", w.Throttle.ClaimWindow.Milliseconds(), "grace", w.Throttle.Grace.Milliseconds(),
		"away", max(s.o.AwayAfter.Milliseconds(), 0), "order", string(w.Order), "invite_only", flag(w.InviteOnly), "bypass", flag(w.Bypass),
		"challenge", string(w.Challenge), "cutoff", w.Cutoff,
		"auto_on", flag(a.Enabled), "auto_min", a.MinRate, "auto_p95", a.TargetP95.Milliseconds(),
		"auto_errors", int64(a.MaxErrorShare*share + 0.5), "auto_pool", int64(a.MaxPoolShare*share + 0.5), "auto_at", 0, "auto_reason", "",
		"secret", d.Secret, "public_source", d.PublicSource, "public_value", d.PublicValue,
		"draw_n", d.N, "draw_base", d.Base, "draw_digest", d.Digest, "drawn_at", ms(d.At),
		"lobby_next", w.LobbyNext, "lobby_digest", w.LobbyDigest,
		"next", max(w.Next, w.Cursor), "cursor", w.Cursor, "epoch", w.Epoch,
	}
}

// Restore implements waitroom.Store.
func (s *Store) Restore(ctx context.Context, event string, turns []waitroom.Turn) error {
	const atOnce = 500
	for first := 0; first < len(turns); first += atOnce {
		var pairs []any
		for _, t := range turns[first:min(first+atOnce, len(turns))] {
			pairs = append(pairs, t.Visitor, lua.FormatRoomTurn(lua.RoomReply{
				State: numbers[t.State], Score: lua.Score(int(t.Lane), t.Place), Admitted: ms(t.Admitted), Claimed: ms(t.Claimed),
				Until: ms(t.Until), Missed: int64(t.Missed),
			}))
		}
		limited, cancel := s.deadline(ctx)
		err := lua.RoomRestore(limited, s.rdb, event, pairs...)
		cancel()
		if err != nil {
			return failed(ctx, err)
		}
	}
	return nil
}

// Seed implements waitroom.Store.
func (s *Store) Seed(ctx context.Context, w waitroom.Settings, quiet time.Duration, turns int) (bool, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	answer, err := lua.RoomSeed(ctx, s.rdb, w.Event, quiet, turns, s.fields(w)...)
	if err != nil {
		return false, failed(caller, err)
	}
	if answer == lua.RoomLostAgain {
		return false, fault.Down(errors.New("redis lost the turns that were put back"), "the waiting room") //nolint:err113 // told to nobody
	}
	// Another slot than the room's, so not in the script. A node that dies in
	// between is made good by the next Seed.
	return answer == lua.RoomSeeded, failed(caller, s.rdb.SAdd(ctx, lua.RoomsKey, w.Event).Err())
}

// Rooms implements waitroom.Store.
func (s *Store) Rooms(ctx context.Context) ([]string, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	events, err := s.rdb.SMembers(ctx, lua.RoomsKey).Result()
	return events, failed(caller, err)
}

// Room implements waitroom.Store.
func (s *Store) Room(ctx context.Context, event string) (waitroom.Room, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	n, found, err := lua.ReadRoomStats(lua.RoomStats(ctx, s.rdb, event))
	if err != nil {
		return waitroom.Room{}, failed(caller, err)
	}
	if !found {
		return waitroom.Room{}, noRoom(event)
	}
	return room(event, n), nil
}

func room(event string, n lua.RoomNumbers) waitroom.Room {
	span := func(field string) time.Duration { return time.Duration(n.Int(field)) * time.Millisecond }
	r := waitroom.Room{
		Settings: waitroom.Settings{
			Event: event, Name: n.Fields["name"], State: waitroom.State(n.Fields["state"]),
			ClosedReason: n.Fields["closed_reason"], ByStock: n.Fields["closed_by"] == byStock, Message: n.Fields["message"],
			OpensAt: at(n.Int("opens_at")), LobbyOpensAt: at(n.Int("lobby_opens_at")), ClosesAt: at(n.Int("closes_at")),
			Throttle: waitroom.Throttle{
				RatePerMinute: int(n.Int("rate")), Burst: int(n.Int("burst")), MaxShoppers: int(n.Int("cap")),
				Lease: span("lease"), ClaimWindow: span("claim"), Grace: span("grace"),
			},
			Order: waitroom.Order(n.Fields["order"]), InviteOnly: n.Int("invite_only") == 1, Bypass: n.Int("bypass") == 1,
			Challenge: waitroom.Challenge(n.Fields["challenge"]), Cutoff: n.Int("cutoff"),
			Autopilot: waitroom.Autopilot{
				Enabled: n.Int("auto_on") == 1, MinRate: int(n.Int("auto_min")), TargetP95: span("auto_p95"),
				MaxErrorShare: float64(n.Int("auto_errors")) / share, MaxPoolShare: float64(n.Int("auto_pool")) / share,
			},
			Draw: waitroom.Draw{
				Secret: n.Fields["secret"], PublicSource: n.Fields["public_source"], PublicValue: n.Fields["public_value"],
				N: n.Int("draw_n"), Base: n.Int("draw_base"), Digest: n.Fields["draw_digest"], At: at(n.Int("drawn_at")),
			},
			Cursor: n.Int("cursor"), Next: n.Int("next"), LobbyNext: n.Int("lobby_next"), LobbyDigest: n.Fields["lobby_digest"],
			Epoch: n.Int("epoch"),
		},
		Waiting: int(n.Waiting + n.Gathered), Ready: int(n.Ready), Shopping: int(n.Shopping),
		Away: int(n.Away), Suspects: int(n.Suspects),
		Joined: n.Int("joined"), Admitted: n.Int("admitted"), Served: n.Int("served"),
		Moving: n.Int("moving") > 0, Awaiting: n.Int("moving") == 2, ShopOK: n.Int("shop_ok_until") > n.Now,
		Quiet:     n.Int("quiet_until") > n.Now,
		StockLeft: int(n.Int("stock")), Available: int(n.Int("available")), Held: int(n.Int("held")), PerBuyer: int(n.Int("per_buyer")),
		StockFirst: int(n.Int("stock_first")), FirstAdmitted: n.Int("first_admitted"),
		AutoRate: int(n.Int("auto_rate")), SteerReason: n.Fields["auto_reason"], SteeredAt: at(n.Int("auto_at")), NoShow: n.NoShow(),
		Born: at(n.Int("born")), AsOf: at(n.Now),
	}
	for _, p := range n.Pace() {
		r.Pace = append(r.Pace, waitroom.Pace{Slot: p.Slot, Admitted: int(p.Admitted), Busy: p.Busy})
	}
	return r
}

// Survey implements waitroom.Store. It is one transaction, however much is asked.
func (s *Store) Survey(ctx context.Context, event string, q waitroom.Query) (waitroom.Survey, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var (
		stats  *redis.Cmd
		front  *redis.ZSliceCmd
		ahead  []*redis.IntCmd
		queued *redis.FloatSliceCmd
		lobby  *redis.FloatSliceCmd
		turns  *redis.SliceCmd
	)
	queue := lua.QueueKey(event)
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		stats = lua.RoomStats(ctx, p, event)
		if q.Front > 0 {
			front = p.ZRangeWithScores(ctx, queue, 0, int64(q.Front)-1)
		}
		for _, score := range q.Scores {
			ahead = append(ahead, p.ZCount(ctx, queue, "-inf", "("+strconv.FormatInt(score, 10)))
		}
		if len(q.Visitors) > 0 {
			queued = p.ZMScore(ctx, queue, q.Visitors...)
			lobby = p.ZMScore(ctx, lua.LobbyKey(event), q.Visitors...)
			turns = p.HMGet(ctx, lua.TurnsKey(event), q.Visitors...)
		}
		return nil
	})
	if err != nil {
		return waitroom.Survey{}, failed(caller, err)
	}
	n, found, err := lua.ReadRoomStats(stats)
	if err != nil {
		return waitroom.Survey{}, failed(caller, err)
	}
	if !found {
		return waitroom.Survey{}, noRoom(event)
	}
	out := waitroom.Survey{Room: room(event, n)}
	if front != nil {
		for _, z := range front.Val() {
			out.Front = append(out.Front, int64(z.Score))
		}
	}
	for _, cmd := range ahead {
		out.Ahead = append(out.Ahead, int(cmd.Val()))
	}
	for i, id := range q.Visitors {
		// A missing score is 0 and so is no score.
		now, epoch := out.Room.AsOf, out.Room.Epoch
		v := waitroom.Visitor{ID: id}
		if score := queued.Val()[i]; score > 0 {
			v = visitor(id, lua.RoomReply{State: lua.VisitorWaiting, Score: int64(score)})
		} else if text, ok := turns.Val()[i].(string); ok {
			turn, err := lua.ReadRoomTurn(text, n.Now)
			if err != nil {
				return waitroom.Survey{}, fmt.Errorf("waiting room: %w", err)
			}
			v = visitor(id, turn)
		} else if score := lobby.Val()[i]; score > 0 {
			v = visitor(id, lua.RoomReply{State: lua.VisitorInLobby, Score: int64(score)})
		}
		v.Epoch, v.AsOf = epoch, now
		out.Visitors = append(out.Visitors, v)
	}
	return out, nil
}

var states = map[lua.VisitorState]waitroom.VisitorState{
	lua.VisitorUnknown:  waitroom.Unknown,
	lua.VisitorInLobby:  waitroom.InLobby,
	lua.VisitorWaiting:  waitroom.Waiting,
	lua.VisitorReady:    waitroom.Ready,
	lua.VisitorShopping: waitroom.Shopping,
	lua.VisitorDone:     waitroom.Done,
	lua.VisitorLeft:     waitroom.Left,
	lua.VisitorExpired:  waitroom.Expired,
	lua.VisitorAway:     waitroom.Away,
}

var numbers = func() map[waitroom.VisitorState]lua.VisitorState {
	m := make(map[waitroom.VisitorState]lua.VisitorState, len(states))
	for n, state := range states {
		m[state] = n
	}
	return m
}()

func visitor(id string, r lua.RoomReply) waitroom.Visitor {
	v := waitroom.Visitor{
		ID: id, State: states[r.State], Score: r.Score, Ahead: int(max(r.Ahead, 0)), Missed: int(r.Missed),
		Admitted: at(r.Admitted), Claimed: at(r.Claimed), Until: at(r.Until), Epoch: r.Epoch, AsOf: at(r.Now),
	}
	lane, place := lua.LanePlace(r.Score)
	v.Lane = waitroom.Lane(lane)
	if v.State == waitroom.InLobby {
		v.Index = place
	} else {
		v.Place = place
	}
	return v
}

// answer translates what a script said about a visitor.
func answer(caller context.Context, event, id string, r lua.RoomReply, err error) (waitroom.Visitor, error) {
	if err != nil {
		return waitroom.Visitor{}, failed(caller, err)
	}
	switch r.Code {
	case lua.RoomOK:
		return visitor(id, r), nil
	case lua.RoomMissing:
		return waitroom.Visitor{}, noRoom(event)
	case lua.RoomTakesNobody:
		return waitroom.Visitor{}, fault.New(fault.RoomClosed, "the waiting room is closed and takes nobody any more")
	case lua.RoomNotTheirTurn:
		v := visitor(id, r)
		return waitroom.Visitor{}, fault.New(fault.NotYourTurn, "there is no turn to claim: the visitor's state is %q", v.State).With("state", v.State)
	case lua.RoomTooMany:
		return waitroom.Visitor{}, fault.New(fault.TooMany, "too many new visitors from this address, please try again in a minute").
			After(time.Duration(r.Extra) * time.Millisecond)
	case lua.RoomShopFull:
		return waitroom.Visitor{}, fault.New(fault.ShopFull, "the shop is full for a moment; your turn is kept, please try again in a second").
			After(time.Second).With("claim_by", at(r.Until))
	case lua.RoomChallenge:
		return waitroom.Visitor{}, fault.New(fault.ChallengeRequired, "a challenge must be solved first")
	case lua.RoomChallengeUsed:
		return waitroom.Visitor{}, fault.New(fault.ChallengeRequired, "the challenge was used before")
	case lua.RoomInviteOnly:
		return waitroom.Visitor{}, fault.New(fault.InviteRequired, "this waiting room is for those who are invited")
	case lua.RoomUnknownVisitor:
		return waitroom.Visitor{}, fault.New(fault.UnknownVisitor, "this visitor has no place in this waiting room; join it first")
	default:
		return waitroom.Visitor{}, fmt.Errorf("waiting room: script answered with code %d", r.Code)
	}
}

// Join implements waitroom.Store.
func (s *Store) Join(ctx context.Context, event string, j waitroom.Join) (waitroom.Visitor, waitroom.Outcome, error) {
	in := lua.RoomJoinInput{Visitor: j.Visitor, Fresh: j.Fresh, Address: j.Address}
	if !j.Fresh {
		in.Lane, in.Invited, in.Solved, in.Nonce = int(j.Lane), lua.Invited(j.Invited), j.Nonce != "", j.Nonce
		lane := j.ReceiptLane
		if lane == waitroom.NoLane {
			lane = waitroom.General
		}
		in.Receipt, in.ReceiptEpoch, in.ReceiptIndex = lua.Score(int(lane), j.Place), j.Epoch, j.Index
		in.Claimed, in.Lease = ms(j.Claimed), ms(j.Lease)
	}
	r, err := s.joins.do(ctx, join{event, lua.RoomLimits{PerAddress: j.PerAddress, Suspect: j.Suspicious}, in})
	v, err := answer(ctx, event, j.Visitor, r, err)
	if err != nil {
		return v, 0, err
	}
	switch r.Extra {
	case lua.JoinedAnew:
		return v, waitroom.Placed, nil
	case lua.JoinedRestored:
		return v, waitroom.Restored, nil
	}
	return v, waitroom.Found, nil
}

// Visitor implements waitroom.Store.
func (s *Store) Visitor(ctx context.Context, event, id string, present bool) (waitroom.Visitor, error) {
	r, err := s.calls.do(ctx, lua.RoomMe(event, id, present))
	v, err := answer(ctx, event, id, r, err)
	v.Gone = at(r.Extra)
	return v, err
}

// SetLane implements waitroom.Store.
func (s *Store) SetLane(ctx context.Context, event, id string, to, from waitroom.Lane) (waitroom.Visitor, error) {
	return s.about(ctx, event, id, lua.RoomLane(event, id, int(to), int(from)))
}

// Gone implements waitroom.Store.
func (s *Store) Gone(ctx context.Context, event string, visitors []string) error {
	const atOnce = 1000
	for len(visitors) > 0 {
		n := min(len(visitors), atOnce)
		err := s.set(ctx, event, func(ctx context.Context) (bool, error) {
			noted, err := lua.RoomPresence(ctx, s.rdb, event, visitors[:n])
			return noted >= 0, err
		})
		if err != nil {
			return err
		}
		visitors = visitors[n:]
	}
	return nil
}

// PutHandover implements waitroom.Store.
func (s *Store) PutHandover(ctx context.Context, event, digest, id string, life time.Duration, most int) error {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	count := lua.HandoversKey(event, id)
	var made *redis.IntCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SetNX(ctx, count, 0, time.Hour)
		made = p.Incr(ctx, count)
		p.Set(ctx, lua.HandoverKey(event, digest), id, life)
		return nil
	})
	if err != nil {
		return failed(caller, err)
	}
	if made.Val() > int64(most) {
		if err := s.rdb.Del(ctx, lua.HandoverKey(event, digest)).Err(); err != nil {
			return failed(caller, err)
		}
		return fault.New(fault.TooMany, "you have made %d codes in the last hour; please use one of them or wait", most).After(10 * time.Minute)
	}
	return nil
}

// TakeHandover implements waitroom.Store.
func (s *Store) TakeHandover(ctx context.Context, event, digest string) (string, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	id, err := s.rdb.GetDel(ctx, lua.HandoverKey(event, digest)).Result()
	if errors.Is(err, redis.Nil) {
		return "", fault.New(fault.HandoverInvalid, "this code was used already, or its two minutes are over; make a new one on the other device")
	}
	return id, failed(caller, err)
}

// Claim implements waitroom.Store.
func (s *Store) Claim(ctx context.Context, event, id string) (waitroom.Visitor, error) {
	return s.about(ctx, event, id, lua.RoomClaim(event, id))
}

// Leave implements waitroom.Store.
func (s *Store) Leave(ctx context.Context, event, id string) (waitroom.Visitor, error) {
	return s.about(ctx, event, id, lua.RoomLeave(event, id))
}

// Finish implements waitroom.Store.
func (s *Store) Finish(ctx context.Context, event, id string) (waitroom.Visitor, error) {
	return s.about(ctx, event, id, lua.RoomFinish(event, id))
}

// FinishSoon implements waitroom.Store.
func (s *Store) FinishSoon(ctx context.Context, event, id string, grace time.Duration) (waitroom.Visitor, error) {
	return s.about(ctx, event, id, lua.RoomFinishSoon(event, id, grace))
}

func (s *Store) about(ctx context.Context, event, id string, call lua.RoomCall) (waitroom.Visitor, error) {
	r, err := s.calls.do(ctx, call)
	return answer(ctx, event, id, r, err)
}

// Admit implements waitroom.Store.
func (s *Store) Admit(ctx context.Context, event string, gap time.Duration) (waitroom.Tick, error) {
	return s.admit(ctx, event, gap, 0)
}

// AdmitNow implements waitroom.Store.
func (s *Store) AdmitNow(ctx context.Context, event string, n int) (waitroom.Tick, error) {
	return s.admit(ctx, event, 0, n)
}

func (s *Store) admit(ctx context.Context, event string, gap time.Duration, forced int) (waitroom.Tick, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	t, err := lua.RoomAdmit(ctx, s.rdb, event, gap, s.o.Batch, s.o.Move, forced)
	if err != nil {
		return waitroom.Tick{}, failed(caller, err)
	}
	if t.Missing {
		return waitroom.Tick{}, noRoom(event)
	}
	return waitroom.Tick{
		Ran: t.Ran, Admitted: int(t.Admitted), Expired: int(t.Expired), Skipped: int(t.Skipped), Cursor: t.Cursor,
		Waiting: int(t.Waiting), Ready: int(t.Ready), Shopping: int(t.Shopping),
		Moving: t.Moving, Awaiting: t.Awaiting, Closed: t.Closed, At: at(t.Now),
	}, nil
}

// Gathered implements waitroom.Store.
func (s *Store) Gathered(ctx context.Context, event string, n int) ([]waitroom.Visitor, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	list, err := s.rdb.ZRangeWithScores(ctx, lua.LobbyKey(event), 0, int64(n)-1).Result()
	if err != nil {
		return nil, failed(caller, err)
	}
	out := make([]waitroom.Visitor, len(list))
	for i, z := range list {
		id, _ := z.Member.(string)
		out[i] = visitor(id, lua.RoomReply{State: lua.VisitorInLobby, Score: int64(z.Score)})
	}
	return out, nil
}

// Place implements waitroom.Store.
func (s *Store) Place(ctx context.Context, event string, placed []waitroom.Visitor) error {
	list := make([]lua.RoomPlacing, len(placed))
	for i, v := range placed {
		list[i] = lua.RoomPlacing{Visitor: v.ID, From: v.Score, To: lua.Score(int(v.Lane), v.Place)}
	}
	return s.set(ctx, event, func(ctx context.Context) (bool, error) {
		moved, err := lua.RoomPlace(ctx, s.rdb, event, list)
		return moved >= 0, err
	})
}

// Configure implements waitroom.Store.
func (s *Store) Configure(ctx context.Context, event string, p waitroom.Patch, secret string) error {
	fields := patched(p)
	if secret != "" {
		fields = append(fields, "secret", secret)
	}
	must := lua.RoomAlways
	switch {
	case p.PublicSource != nil || p.OpensAt != nil || p.LobbyOpensAt != nil:
		must = lua.RoomBeforeOpen
		if p.Order != nil {
			must = lua.RoomIfEmpty // nobody has gathered, so nobody was told anything
		}
	case p.Order != nil:
		must = lua.RoomIfEmpty
	}
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	answer, err := lua.RoomConfigure(ctx, s.rdb, event, must, fields...)
	switch {
	case err != nil:
		return failed(caller, err)
	case answer == lua.RoomNotThere:
		return noRoom(event)
	case answer == lua.RoomRefused && must == lua.RoomIfEmpty:
		return fault.New(fault.Conflict, "people have gathered or wait in this room: its order cannot be changed any more")
	case answer == lua.RoomRefused:
		return fault.New(fault.Conflict, "the room has opened: when it opens, and the public source of its draw, cannot be changed any more")
	}
	return nil
}

// patched are the fields that a patch changes.
func patched(p waitroom.Patch) (fields []any) {
	add := func(name string, value any) { fields = append(fields, name, value) }
	whole := func(name string, v *int) {
		if v != nil {
			add(name, *v)
		}
	}
	span := func(name string, v *time.Duration) {
		if v != nil {
			add(name, v.Milliseconds())
		}
	}
	yes := func(name string, v *bool) {
		if v != nil {
			add(name, flag(*v))
		}
	}
	part := func(name string, v *float64) {
		if v != nil {
			add(name, int64(*v*share+0.5))
		}
	}
	moment := func(name string, v *time.Time) {
		if v != nil {
			add(name, ms(*v))
		}
	}
	whole("rate", p.Throttle.RatePerMinute)
	whole("burst", p.Throttle.Burst)
	whole("cap", p.Throttle.MaxShoppers)
	span("lease", p.Throttle.Lease)
	span("claim", p.Throttle.ClaimWindow)
	span("grace", p.Throttle.Grace)
	if p.Order != nil {
		add("order", string(*p.Order))
	}
	yes("invite_only", p.InviteOnly)
	yes("bypass", p.Bypass)
	if p.Challenge != nil {
		add("challenge", string(*p.Challenge))
	}
	if p.PublicSource != nil {
		add("public_source", *p.PublicSource)
	}
	moment("opens_at", p.OpensAt)
	moment("lobby_opens_at", p.LobbyOpensAt)
	moment("closes_at", p.ClosesAt)
	yes("auto_on", p.Autopilot.Enabled)
	whole("auto_min", p.Autopilot.MinRate)
	span("auto_p95", p.Autopilot.TargetP95)
	part("auto_errors", p.Autopilot.MaxErrorShare)
	part("auto_pool", p.Autopilot.MaxPoolShare)
	return fields
}

// SetPublicValue implements waitroom.Store.
func (s *Store) SetPublicValue(ctx context.Context, event, value string) error {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	answer, err := lua.RoomValue(ctx, s.rdb, event, value)
	switch {
	case err != nil:
		return failed(caller, err)
	case answer == lua.RoomValueMissing:
		return noRoom(event)
	case answer == lua.RoomValueNotNow:
		return fault.New(fault.Conflict, "the draw waits for no public value: one is taken once, after the opening has fixed the lobby, in rooms that announced its source")
	}
	return nil
}

// Steer implements waitroom.Store.
func (s *Store) Steer(ctx context.Context, event string, since time.Time, rate int, why string) error {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := lua.RoomSteer(ctx, s.rdb, event, ms(since), rate, why)
	return failed(caller, err)
}

// Health implements waitroom.Store.
func (s *Store) Health(ctx context.Context, node string, h waitroom.Health, good time.Duration) ([]waitroom.Health, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	now, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return nil, failed(caller, err)
	}
	mine, err := json.Marshal(report{Until: now.Add(good).UnixMilli(), Health: h})
	if err != nil {
		return nil, err
	}
	var said *redis.MapStringStringCmd
	_, err = s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, lua.ShopsKey, node, mine)
		p.PExpire(ctx, lua.ShopsKey, 10*good)
		said = p.HGetAll(ctx, lua.ShopsKey)
		return nil
	})
	if err != nil {
		return nil, failed(caller, err)
	}
	var all []waitroom.Health
	for name, text := range said.Val() {
		var r report
		if json.Unmarshal([]byte(text), &r) != nil || r.Until < now.UnixMilli() {
			s.rdb.HDel(ctx, lua.ShopsKey, name) // of a node that is gone; the next one tries again
			continue
		}
		all = append(all, r.Health)
	}
	return all, nil
}

// report is what a node says of the shop.
type report struct {
	Until int64 `json:"until"` // ms
	waitroom.Health
}

// Unsaved implements waitroom.Store.
func (s *Store) Unsaved(ctx context.Context, event string, n int) (waitroom.Unsaved, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	notes, found, err := lua.RoomUnsaved(ctx, s.rdb, event, n)
	if err != nil {
		return waitroom.Unsaved{}, failed(caller, err)
	}
	if !found {
		return waitroom.Unsaved{}, noRoom(event)
	}
	u := waitroom.Unsaved{Epoch: notes.Epoch}
	for _, d := range notes.Turns {
		t := waitroom.Turn{Visitor: d.Visitor, Changed: at(d.Changed)}
		if d.Text != "" {
			r, err := lua.ReadRoomTurn(d.Text, 0) // as it was, not as time has made it
			if err != nil {
				return waitroom.Unsaved{}, fmt.Errorf("waiting room: %w", err)
			}
			v := visitor(d.Visitor, r)
			t.State, t.Lane, t.Place, t.Missed, t.Admitted, t.Claimed, t.Until = v.State, v.Lane, v.Place, v.Missed, v.Admitted, v.Claimed, v.Until
		}
		u.Turns = append(u.Turns, t)
	}
	for _, text := range notes.Changes {
		part := strings.SplitN(text, "|", 5)
		if len(part) != 5 {
			return waitroom.Unsaved{}, fmt.Errorf("waiting room: change %q", text)
		}
		number, err := strconv.ParseInt(part[0], 10, 64)
		when, werr := strconv.ParseInt(part[1], 10, 64)
		if err := errors.Join(err, werr); err != nil {
			return waitroom.Unsaved{}, fmt.Errorf("waiting room: change %q: %w", text, err)
		}
		u.Changes = append(u.Changes, waitroom.Change{Number: number, At: at(when), Actor: part[2], Action: part[3], Detail: part[4]})
	}
	return u, nil
}

// Saved implements waitroom.Store.
func (s *Store) Saved(ctx context.Context, event string, u waitroom.Unsaved) error {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	turns := make([]lua.RoomDirtyTurn, len(u.Turns))
	for i, t := range u.Turns {
		turns[i] = lua.RoomDirtyTurn{Visitor: t.Visitor, Changed: ms(t.Changed)}
	}
	last := int64(0)
	if n := len(u.Changes); n > 0 {
		last = u.Changes[n-1].Number
	}
	return failed(caller, lua.RoomSaved(ctx, s.rdb, event, last, turns))
}

// SetMessage implements waitroom.Store.
func (s *Store) SetMessage(ctx context.Context, event, text string) error {
	return s.set(ctx, event, func(ctx context.Context) (bool, error) {
		return lua.RoomMessage(ctx, s.rdb, event, text)
	})
}

// Shop implements waitroom.Store.
func (s *Store) Shop(ctx context.Context, event string, r waitroom.ShopReport) error {
	return s.set(ctx, event, func(ctx context.Context) (bool, error) {
		return lua.RoomShop(ctx, s.rdb, event, r.Well, r.Available, r.Held, r.PerBuyer)
	})
}

func (s *Store) set(ctx context.Context, event string, run func(ctx context.Context) (found bool, err error)) error {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	found, err := run(ctx)
	if err != nil {
		return failed(caller, err)
	}
	if !found {
		return noRoom(event)
	}
	return nil
}

// Change implements waitroom.Store.
func (s *Store) Change(ctx context.Context, event string, to waitroom.State, reason string, cutoff int64, from []waitroom.State) (bool, waitroom.State, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	names := make([]string, len(from))
	for i, state := range from {
		names[i] = string(state)
	}
	c, err := lua.RoomState(ctx, s.rdb, event, string(to), reason, cutoff, names...)
	if err != nil {
		return false, "", failed(caller, err)
	}
	if c.Missing {
		return false, "", noRoom(event)
	}
	return c.Changed, waitroom.State(c.Before), nil
}

// quietNews is after how long without news the subscription is checked.
const quietNews = 15 * time.Second

// News implements waitroom.Store. It subscribes anew for as long as it takes.
func (s *Store) News(ctx context.Context, f func(waitroom.News)) error {
	sub := s.rdb.PSubscribe(ctx, lua.RoomChannels)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { sub.Close() })() // ends a Receive that waits
	for ctx.Err() == nil {
		message, err := sub.ReceiveTimeout(ctx, quietNews)
		if err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && sub.Ping(ctx) == nil {
				continue
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		switch m := message.(type) {
		case *redis.Subscription:
			f(waitroom.News{}) // what was said before is lost
		case *redis.Message:
			if n, ok := news(m.Channel, m.Payload); ok {
				f(n)
			}
		}
	}
	return ctx.Err()
}

// news reads a message of lua.RoomChannel.
func news(channel, payload string) (waitroom.News, bool) {
	_, event, ok := strings.Cut(channel, "{")
	event, _, closed := strings.Cut(event, "}")
	kind, names, _ := strings.Cut(payload, " ")
	if !ok || !closed || event == "" {
		return waitroom.News{}, false
	}
	switch kind {
	case "r":
		return waitroom.News{Event: event}, true
	case "a", "v":
		return waitroom.News{Event: event, Visitors: strings.Fields(names), Admitted: kind == "a"}, true
	}
	return waitroom.News{}, false
}
