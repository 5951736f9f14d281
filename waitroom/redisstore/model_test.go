package redisstore_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
	"onsale/waitroom"
	"onsale/waitroom/redisstore"
)

// model is a waiting room in plain Go, for one caller at a time. Times are ms.
type model struct {
	now      int64
	state    waitroom.State
	throttle waitroom.Throttle
	units    int64 // 1/60000 admission
	refilled int64
	next     int64
	cursor   int64
	lobby    []string // in order of joining
	moving   int64    // place of the first in the lobby that has not moved, 0: no move
	queue    map[string]int64
	turns    map[string]turn
	shop     int64 // well until
	stock    int
	joined   int64
	admitted int64
}

type turn struct {
	state  waitroom.VisitorState
	place  int64
	until  int64
	active bool // has not been reaped
}

func (m *model) active() int {
	n := 0
	for _, t := range m.turns {
		if t.active {
			n++
		}
	}
	return n
}

func (m *model) find(id string) (waitroom.VisitorState, int64, int) {
	if place, ok := m.queue[id]; ok {
		ahead := 0
		for other, p := range m.queue {
			if p < place || p == place && other < id {
				ahead++
			}
		}
		return waitroom.Waiting, place, ahead
	}
	if t, ok := m.turns[id]; ok {
		if t.active && t.until <= m.now {
			return waitroom.Expired, t.place, 0
		}
		return t.state, t.place, 0
	}
	if slices.Contains(m.lobby, id) {
		return waitroom.InLobby, 0, 0
	}
	return waitroom.Unknown, 0, 0
}

func (m *model) refill() {
	m.units = min(int64(m.throttle.Burst)*60000, m.units+(m.now-m.refilled)*int64(m.throttle.RatePerMinute))
	m.refilled = m.now
}

func (m *model) free() int {
	if m.state != waitroom.Open && m.state != waitroom.Draining || m.moving > 0 || m.shop <= m.now || m.stock == 0 {
		return 0
	}
	n := min(int(m.units/60000), m.throttle.MaxShoppers-m.active())
	if m.stock > 0 {
		n = min(n, m.stock)
	}
	return max(n, 0)
}

func (m *model) admit(id string, place int64) {
	m.turns[id] = turn{waitroom.Ready, place, m.now + m.throttle.ClaimWindow.Milliseconds(), true}
	m.units -= 60000
	m.admitted++
	m.cursor = max(m.cursor, place)
}

// join returns the code of the fault, if any.
func (m *model) join(id string, receipt int64) fault.Code {
	state, _, _ := m.find(id)
	switch state {
	case waitroom.InLobby, waitroom.Waiting, waitroom.Ready, waitroom.Shopping:
		return ""
	}
	gathering := m.state == waitroom.Scheduled || m.state == waitroom.Lobby
	restore := state == waitroom.Unknown && receipt > 0 && !gathering
	if m.state == waitroom.Closed || m.state == waitroom.Draining && !restore {
		if state == waitroom.Unknown {
			return fault.RoomClosed
		}
		return ""
	}
	delete(m.turns, id)
	m.joined++
	if gathering {
		m.lobby = append(m.lobby, id)
		return ""
	}
	if restore {
		m.queue[id] = receipt
		m.next = max(m.next, receipt)
		return ""
	}
	m.next++
	if m.state == waitroom.Open && len(m.queue) == 0 {
		units, refilled := m.units, m.refilled
		m.refill()
		if m.free() > 0 {
			m.admit(id, m.next)
			return ""
		}
		m.units, m.refilled = units, refilled
	}
	m.queue[id] = m.next
	return ""
}

func (m *model) claim(id string) fault.Code {
	switch state, _, _ := m.find(id); state {
	case waitroom.Unknown:
		return fault.UnknownVisitor
	case waitroom.Shopping:
		return ""
	case waitroom.Ready:
		t := m.turns[id]
		t.state, t.until = waitroom.Shopping, m.now+m.throttle.Lease.Milliseconds()
		m.turns[id] = t
		return ""
	}
	return fault.NotYourTurn
}

func (m *model) leave(id string) fault.Code {
	switch state, place, _ := m.find(id); state {
	case waitroom.Unknown:
		return fault.UnknownVisitor
	case waitroom.Waiting:
		delete(m.queue, id)
		m.turns[id] = turn{state: waitroom.Left, place: place}
	case waitroom.InLobby:
		m.lobby = slices.DeleteFunc(m.lobby, func(other string) bool { return other == id })
		m.turns[id] = turn{state: waitroom.Left}
	case waitroom.Ready, waitroom.Shopping:
		m.turns[id] = turn{state: waitroom.Left, place: place}
	case waitroom.Expired:
		m.turns[id] = turn{state: waitroom.Expired, place: place}
	}
	return ""
}

func (m *model) finish(id string) fault.Code {
	switch state, place, _ := m.find(id); state {
	case waitroom.Unknown:
		return fault.UnknownVisitor
	case waitroom.Ready, waitroom.Shopping, waitroom.Expired:
		m.turns[id] = turn{state: waitroom.Done, place: place}
	}
	return ""
}

func (m *model) open() {
	m.state = waitroom.Open
	if n := int64(len(m.lobby)); n > 0 && m.moving == 0 {
		m.moving = m.next + 1
		m.next += n
	}
}

// tick returns how many were admitted and whether the lobby still moves.
func (m *model) tick(batch, move int) int {
	for id, t := range m.turns {
		if t.active && t.until <= m.now {
			m.turns[id] = turn{state: waitroom.Expired, place: t.place}
		}
	}
	if m.moving > 0 {
		for range min(move, len(m.lobby)) {
			m.queue[m.lobby[0]] = m.moving
			m.lobby = m.lobby[1:]
			m.moving++
		}
		if len(m.lobby) == 0 {
			m.moving = 0
		}
	}
	m.refill()
	n := 0
	for limit := min(m.free(), batch); n < limit && len(m.queue) > 0; n++ {
		head := ""
		for id, place := range m.queue {
			if best, ok := m.queue[head]; !ok || place < best || place == best && id < head {
				head = id
			}
		}
		place := m.queue[head]
		delete(m.queue, head)
		m.admit(head, place)
	}
	if m.state == waitroom.Draining && len(m.queue) == 0 && m.moving == 0 {
		m.state = waitroom.Closed
	}
	return n
}

// TestRoomFollowsTheModel does random things to a room and to the model, and
// compares them after each. On miniredis the clock is part of what is random;
// on Redis, which has its own, nothing depends on time.
func TestRoomFollowsTheModel(t *testing.T) {
	t.Parallel()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		server := miniredis.RunT(t)
		rdb := client(t, "redis://"+server.Addr())
		rapid.Check(t, func(rt *rapid.T) { follow(t, rt, rdb, server) })
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		rdb := client(t, stacktest.Redis(t).URL())
		rapid.Check(t, func(rt *rapid.T) { follow(t, rt, rdb, nil) })
	})
}

func follow(t *testing.T, rt *rapid.T, rdb redis.UniversalClient, clock *miniredis.Miniredis) {
	ctx := t.Context()
	m := &model{
		now: 1_800_000_000_000, queue: make(map[string]int64), turns: make(map[string]turn), stock: -1,
		state: rapid.SampledFrom([]waitroom.State{waitroom.Open, waitroom.Lobby, waitroom.Scheduled}).Draw(rt, "state"),
		throttle: waitroom.Throttle{
			Burst: rapid.IntRange(1, 8).Draw(rt, "burst"), MaxShoppers: rapid.IntRange(0, 6).Draw(rt, "cap"),
			Lease: time.Hour, ClaimWindow: time.Hour,
		},
	}
	advance := func(d time.Duration) {
		m.now += d.Milliseconds()
		clock.SetTime(time.UnixMilli(m.now))
	}
	if clock != nil {
		m.throttle.RatePerMinute = rapid.IntRange(0, 600).Draw(rt, "rate")
		m.throttle.Lease = time.Duration(rapid.IntRange(1, 5000).Draw(rt, "lease")) * time.Millisecond
		m.throttle.ClaimWindow = time.Duration(rapid.IntRange(1, 5000).Draw(rt, "window")) * time.Millisecond
		advance(0)
	}
	m.units, m.refilled = int64(m.throttle.Burst)*60000, m.now
	const batch, move = 3, 4
	r := newRoom(t, rdb, waitroom.Settings{State: m.state, Epoch: 1, Throttle: m.throttle}, redisstore.Options{Batch: batch, Move: move})

	who := rapid.Custom(func(rt *rapid.T) string { return fmt.Sprintf("v%02d", rapid.IntRange(0, 11).Draw(rt, "n")) })
	check := func(rt *rapid.T, what string, err error, want fault.Code) {
		rt.Helper()
		if fault.CodeOf(err) != want {
			rt.Fatalf("%s: %v, want %q", what, err, want)
		}
	}
	change := func(rt *rapid.T, to waitroom.State, from ...waitroom.State) bool {
		allowed := slices.Contains(from, m.state)
		changed, before, err := r.Change(ctx, r.event, to, "", from)
		if err != nil || changed != allowed || before != m.state {
			rt.Fatalf("%s from %v = %v, %q, %v; the model is %q", to, from, changed, before, err, m.state)
		}
		return changed
	}
	actions := map[string]func(*rapid.T){
		"join": func(rt *rapid.T) {
			id, receipt := who.Draw(rt, "who"), int64(0)
			if rapid.IntRange(0, 3).Draw(rt, "with receipt") == 0 {
				receipt = rapid.Int64Range(1, 30).Draw(rt, "place")
			}
			_, _, err := r.Join(ctx, r.event, waitroom.Join{Visitor: id, Place: receipt, Epoch: 1})
			check(rt, "join", err, m.join(id, receipt))
		},
		"claim": func(rt *rapid.T) {
			id := who.Draw(rt, "who")
			_, err := r.Claim(ctx, r.event, id)
			check(rt, "claim", err, m.claim(id))
		},
		"leave": func(rt *rapid.T) {
			id := who.Draw(rt, "who")
			_, err := r.Leave(ctx, r.event, id)
			check(rt, "leave", err, m.leave(id))
		},
		"finish": func(rt *rapid.T) {
			id := who.Draw(rt, "who")
			_, err := r.Finish(ctx, r.event, id)
			check(rt, "finish", err, m.finish(id))
		},
		"tick": func(rt *rapid.T) {
			got, err := r.Admit(ctx, r.event, 0)
			if want := m.tick(batch, move); err != nil || got.Admitted != want || got.Moving != (m.moving > 0) {
				rt.Fatalf("tick = %+v, %v; the model admitted %d", got, err, want)
			}
		},
		"shop": func(rt *rapid.T) {
			m.stock = rapid.IntRange(-1, 3).Draw(rt, "stock")
			good := time.Duration(0)
			if rapid.Bool().Draw(rt, "well") {
				good = time.Hour
			}
			m.shop = m.now + good.Milliseconds()
			check(rt, "shop", r.ShopOK(ctx, r.event, good, m.stock), "")
		},
		"throttle": func(rt *rapid.T) {
			m.refill()
			m.throttle.Burst, m.throttle.MaxShoppers = rapid.IntRange(1, 8).Draw(rt, "burst"), rapid.IntRange(0, 6).Draw(rt, "cap")
			p := waitroom.ThrottlePatch{Burst: &m.throttle.Burst, MaxShoppers: &m.throttle.MaxShoppers}
			if clock != nil {
				m.throttle.RatePerMinute = rapid.IntRange(0, 6000).Draw(rt, "rate")
				p.RatePerMinute = &m.throttle.RatePerMinute
			}
			m.units = min(m.units, int64(m.throttle.Burst)*60000)
			check(rt, "throttle", r.Configure(ctx, r.event, p), "")
		},
		"open": func(rt *rapid.T) {
			if change(rt, waitroom.Open, waitroom.Scheduled, waitroom.Lobby, waitroom.Closed) {
				m.open()
			}
		},
		"pause": func(rt *rapid.T) {
			if change(rt, waitroom.Paused, waitroom.Open) {
				m.state = waitroom.Paused
			}
		},
		"resume": func(rt *rapid.T) {
			if change(rt, waitroom.Open, waitroom.Paused) {
				m.open()
			}
		},
		"drain": func(rt *rapid.T) {
			if change(rt, waitroom.Draining, waitroom.Open, waitroom.Paused) {
				m.state = waitroom.Draining
			}
		},
		"close": func(rt *rapid.T) {
			if rapid.IntRange(0, 4).Draw(rt, "really") > 0 {
				return
			}
			if change(rt, waitroom.Closed, waitroom.Open, waitroom.Paused, waitroom.Lobby, waitroom.Scheduled, waitroom.Draining) {
				m.state = waitroom.Closed
			}
		},
		"": func(rt *rapid.T) { compare(ctx, rt, r, m) },
	}
	if clock != nil {
		actions["wait"] = func(rt *rapid.T) {
			advance(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "ms")) * time.Millisecond)
		}
	}
	rt.Repeat(actions)
}

// compare holds everything that can be seen of the room against the model.
func compare(ctx context.Context, rt *rapid.T, r *room, m *model) {
	var all []string
	for i := range 12 {
		all = append(all, fmt.Sprintf("v%02d", i))
	}
	s, err := r.Survey(ctx, r.event, waitroom.Query{Front: 100, Visitors: all})
	if err != nil {
		rt.Fatal(err)
	}
	ready, shopping := 0, 0
	for _, t := range m.turns {
		if t.active && t.state == waitroom.Ready {
			ready++
		} else if t.active {
			shopping++
		}
	}
	n := s.Room
	if n.State != m.state || n.Waiting != len(m.queue)+len(m.lobby) || n.Ready != ready || n.Shopping != shopping ||
		n.Cursor != m.cursor || n.Next != m.next || n.Joined != m.joined || n.Admitted != m.admitted || n.Moving != (m.moving > 0) {
		rt.Fatalf("room %+v\nmodel %+v", n, m)
	}
	var places []int64
	for _, place := range m.queue {
		places = append(places, place)
	}
	slices.Sort(places)
	if !slices.Equal(places, s.Front) {
		rt.Fatalf("places %v, want %v", s.Front, places)
	}
	alone := rapid.IntRange(0, len(all)-1).Draw(rt, "looked up alone")
	for i, id := range all {
		state, place, ahead := m.find(id)
		if v := s.Visitors[i]; v.State != state || v.Place != place {
			rt.Fatalf("survey: %+v, want %q at %d", v, state, place)
		}
		if i != alone {
			continue
		}
		v, err := r.Visitor(ctx, r.event, id)
		if state == waitroom.Unknown {
			if !fault.Is(err, fault.UnknownVisitor) {
				rt.Fatalf("%s: %+v, %v; the model does not know them", id, v, err)
			}
			continue
		}
		if err != nil || v.State != state || v.Place != place || v.Ahead != ahead {
			rt.Fatalf("%s: %+v, %v; want %q at %d with %d ahead", id, v, err, state, place, ahead)
		}
	}
}
