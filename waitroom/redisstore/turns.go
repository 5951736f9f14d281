package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"onsale/lua"
	"onsale/waitroom"
)

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
