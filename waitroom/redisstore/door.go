package redisstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/internal/fault"
	"onsale/lua"
	"onsale/waitroom"
)

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
