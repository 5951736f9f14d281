package redisstore

import (
	"context"
	"errors"
	"fmt"
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
}

// Store keeps rooms in Redis. It is safe for concurrent use.
type Store struct {
	rdb  redis.UniversalClient
	o    Options
	pool *gatherer
}

var _ waitroom.Store = (*Store)(nil)

// New makes a Store on rdb, which should have ContextTimeoutEnabled set so that
// deadlines hold on the wire too. It does no I/O and does not close rdb.
func New(rdb redis.UniversalClient) *Store {
	return (&Store{rdb: rdb}).WithOptions(Options{})
}

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
	return &Store{rdb: s.rdb, o: o, pool: &gatherer{}}
}

func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.o.Timeout)
}

// notNow are the errors of a server that is there but cannot serve right now.
var notNow = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "OOM", "NOREPLICAS", "MISCONF", "UNBLOCKED"}

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

// Seed implements waitroom.Store.
func (s *Store) Seed(ctx context.Context, w waitroom.Settings, quiet time.Duration) (bool, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	created, err := lua.RoomSeed(ctx, s.rdb, w.Event, quiet,
		"name", w.Name, "state", string(w.State), "closed_reason", w.ClosedReason, "message", w.Message,
		"opens_at", ms(w.OpensAt), "lobby_opens_at", ms(w.LobbyOpensAt), "closes_at", ms(w.ClosesAt),
		"rate", w.Throttle.RatePerMinute, "burst", w.Throttle.Burst, "cap", w.Throttle.MaxShoppers,
		"lease", w.Throttle.Lease.Milliseconds(), "claim", w.Throttle.ClaimWindow.Milliseconds(),
		"next", max(w.Next, w.Cursor), "cursor", w.Cursor, "epoch", w.Epoch)
	if err != nil {
		return false, failed(caller, err)
	}
	// Another slot than the room's, so not in the script. A node that dies in
	// between is made good by the next Seed.
	return created, failed(caller, s.rdb.SAdd(ctx, lua.RoomsKey, w.Event).Err())
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
	r := waitroom.Room{
		Settings: waitroom.Settings{
			Event: event, Name: n.Fields["name"], State: waitroom.State(n.Fields["state"]),
			ClosedReason: n.Fields["closed_reason"], Message: n.Fields["message"],
			OpensAt: at(n.Int("opens_at")), LobbyOpensAt: at(n.Int("lobby_opens_at")), ClosesAt: at(n.Int("closes_at")),
			Throttle: waitroom.Throttle{
				RatePerMinute: int(n.Int("rate")), Burst: int(n.Int("burst")), MaxShoppers: int(n.Int("cap")),
				Lease:       time.Duration(n.Int("lease")) * time.Millisecond,
				ClaimWindow: time.Duration(n.Int("claim")) * time.Millisecond,
			},
			Cursor: n.Int("cursor"), Next: n.Int("next"), Epoch: n.Int("epoch"),
		},
		Waiting: int(n.Waiting + n.Gathered), Ready: int(n.Int("ready")),
		Joined: n.Int("joined"), Admitted: n.Int("admitted"),
		Moving: n.Int("moving") == 1, ShopOK: n.Int("shop_ok_until") > n.Now, StockLeft: int(n.Int("stock")),
		Quiet: n.Int("quiet_until") > n.Now, Born: at(n.Int("born")), AsOf: at(n.Now),
	}
	r.Shopping = max(int(n.Active)-r.Ready, 0)
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
		for _, place := range q.Places {
			ahead = append(ahead, p.ZCount(ctx, queue, "-inf", "("+strconv.FormatInt(place, 10)))
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
		// A missing score is 0 and so is no score: places and join indexes
		// begin at 1.
		v := waitroom.Visitor{ID: id, Epoch: out.Room.Epoch, AsOf: out.Room.AsOf}
		if place := queued.Val()[i]; place > 0 {
			v.State, v.Place = waitroom.Waiting, int64(place)
		} else if text, ok := turns.Val()[i].(string); ok {
			turn, err := lua.ReadRoomTurn(text, n.Now)
			if err != nil {
				return waitroom.Survey{}, fmt.Errorf("waiting room: %w", err)
			}
			v = visitor(id, turn)
			v.Epoch, v.AsOf = out.Room.Epoch, out.Room.AsOf
		} else if lobby.Val()[i] > 0 {
			v.State = waitroom.InLobby
		}
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
}

func visitor(id string, r lua.RoomReply) waitroom.Visitor {
	return waitroom.Visitor{
		ID: id, State: states[r.State], Place: r.Place, Ahead: int(max(r.Ahead, 0)),
		Admitted: at(r.Admitted), Claimed: at(r.Claimed), Until: at(r.Until), Epoch: r.Epoch, AsOf: at(r.Now),
	}
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
	case lua.RoomUnknownVisitor:
		return waitroom.Visitor{}, fault.New(fault.UnknownVisitor, "this visitor has no place in this waiting room; join it first")
	default:
		return waitroom.Visitor{}, fmt.Errorf("waiting room: script answered with code %d", r.Code)
	}
}

// Join implements waitroom.Store.
func (s *Store) Join(ctx context.Context, event string, j waitroom.Join) (waitroom.Visitor, waitroom.Outcome, error) {
	r, err := s.gather(ctx, lua.RoomJoin(lua.RoomJoinInput{
		Event: event, Visitor: j.Visitor, Fresh: j.Fresh, Address: j.Address, PerAddress: j.PerAddress,
		Place: j.Place, Epoch: j.Epoch,
	}))
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
func (s *Store) Visitor(ctx context.Context, event, id string) (waitroom.Visitor, error) {
	return s.about(ctx, event, id, lua.RoomMe(event, id))
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
	r, err := s.gather(ctx, call)
	return answer(ctx, event, id, r, err)
}

// Admit implements waitroom.Store.
func (s *Store) Admit(ctx context.Context, event string, gap time.Duration) (waitroom.Tick, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	t, err := lua.RoomAdmit(ctx, s.rdb, event, gap, s.o.Batch, s.o.Move)
	if err != nil {
		return waitroom.Tick{}, failed(caller, err)
	}
	if t.Missing {
		return waitroom.Tick{}, noRoom(event)
	}
	return waitroom.Tick{
		Ran: t.Ran, Admitted: int(t.Admitted), Expired: int(t.Expired), Cursor: t.Cursor,
		Waiting: int(t.Waiting), Active: int(t.Active), Moving: t.Moving, Closed: t.Closed, At: at(t.Now),
	}, nil
}

// Configure implements waitroom.Store.
func (s *Store) Configure(ctx context.Context, event string, p waitroom.ThrottlePatch) error {
	var fields []any
	count := func(name string, v *int) {
		if v != nil {
			fields = append(fields, name, *v)
		}
	}
	span := func(name string, v *time.Duration) {
		if v != nil {
			fields = append(fields, name, v.Milliseconds())
		}
	}
	count("rate", p.RatePerMinute)
	count("burst", p.Burst)
	count("cap", p.MaxShoppers)
	span("lease", p.Lease)
	span("claim", p.ClaimWindow)
	return s.set(ctx, event, func(ctx context.Context) (bool, error) {
		return lua.RoomConfigure(ctx, s.rdb, event, fields...)
	})
}

// SetMessage implements waitroom.Store.
func (s *Store) SetMessage(ctx context.Context, event, text string) error {
	return s.set(ctx, event, func(ctx context.Context) (bool, error) {
		return lua.RoomMessage(ctx, s.rdb, event, text)
	})
}

// ShopOK implements waitroom.Store.
func (s *Store) ShopOK(ctx context.Context, event string, good time.Duration, stock int) error {
	return s.set(ctx, event, func(ctx context.Context) (bool, error) {
		return lua.RoomShop(ctx, s.rdb, event, good, stock)
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
func (s *Store) Change(ctx context.Context, event string, to waitroom.State, reason string, from []waitroom.State) (bool, waitroom.State, error) {
	caller := ctx
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	names := make([]string, len(from))
	for i, state := range from {
		names[i] = string(state)
	}
	c, err := lua.RoomState(ctx, s.rdb, event, string(to), reason, names...)
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
