package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"onsale/internal/fault"
	"onsale/lua"
	"onsale/waitroom"
)

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
	r, err := s.joins.Do(ctx, join{event, lua.RoomLimits{PerAddress: j.PerAddress, Suspect: j.Suspicious}, in})
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
	r, err := s.calls.Do(ctx, lua.RoomMe(event, id, present))
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
	r, err := s.calls.Do(ctx, call)
	return answer(ctx, event, id, r, err)
}
