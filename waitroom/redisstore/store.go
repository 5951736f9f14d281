package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/internal/fault"
	"onsale/internal/gather"
	"onsale/internal/redisconn"
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
	calls *gather.Gatherer[lua.RoomCall, lua.RoomReply]
	joins *gather.Gatherer[join, lua.RoomReply]
	seen  *places
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
	n := &Store{rdb: s.rdb, o: o, seen: newPlaces()}
	n.calls = &gather.Gatherer[lua.RoomCall, lua.RoomReply]{Most: mostCalls, Lanes: lanes, Enough: 1, Carry: n.carry}
	n.joins = &gather.Gatherer[join, lua.RoomReply]{Most: mostCalls, Lanes: lanes, Enough: fullJoins, Carry: n.carryJoins}
	return n
}

// carry sends calls in one pipeline.
func (s *Store) carry(ctx context.Context, calls []lua.RoomCall) []gather.Outcome[lua.RoomReply] {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return redisconn.Pipeline(ctx, s.rdb, calls)
}

// join is a join of a room with its limits: what can be the same for all who
// join at the same time, and travels once.
type join struct {
	event  string
	limits lua.RoomLimits
	input  lua.RoomJoinInput
}

// carryJoins runs one script for the joins of each room.
func (s *Store) carryJoins(ctx context.Context, all []join) []gather.Outcome[lua.RoomReply] {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	out := make([]gather.Outcome[lua.RoomReply], len(all))
	done := 0
	for first := 0; done < len(all); first++ {
		if out[first].Reply.Code != 0 || out[first].Err != nil {
			continue // with an earlier one of its room
		}
		var inputs []lua.RoomJoinInput
		var at []int
		for i := first; i < len(all); i++ {
			if all[i].event == all[first].event && all[i].limits == all[first].limits {
				inputs, at = append(inputs, all[i].input), append(at, i)
			}
		}
		replies, err := lua.RoomJoin(ctx, s.rdb, all[first].event, all[first].limits, 1+rand.Int32N(1<<31-3), s.seen.highest(all[first].event), inputs)
		for n, i := range at {
			out[i].Err = err
			if err == nil {
				out[i].Reply = replies[n]
				if replies[n].State == lua.VisitorWaiting {
					_, place := lua.LanePlace(replies[n].Score)
					s.seen.note(all[i].event, place)
				}
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
	s.seen.note(event, n.Int("next"))
	return room(event, n), nil
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
	s.seen.note(event, n.Int("next"))
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
