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
	"onsale/lua"
	"onsale/waitroom"
	"onsale/waitroom/redisstore"
)

const (
	modelAway = 2 * time.Second
	// With more, turns are given in expectation of no-shows, which has tests of
	// its own.
	mostOutcomes = 49
)

// model is a waiting room in plain Go, for one caller at a time. Times are ms.
type model struct {
	now       int64
	state     waitroom.State
	byStock   bool
	order     waitroom.Order
	cutoff    int64 // score; 0 for none
	throttle  waitroom.Throttle
	units     int64 // 1/60000 admission
	refilled  int64
	next      int64
	cursor    int64
	lobby     map[string]int64 // scores
	lobbyNext int64
	drawn     bool
	base      int64
	moving    bool
	queue     map[string]int64 // scores
	turns     map[string]turn
	gone      map[string]int64
	shop      int64 // well until
	available int
	held      int
	joined    int64
	admitted  int64
	outcomes  int
}

type turn struct {
	state  waitroom.VisitorState
	score  int64
	until  int64
	missed int
	active bool // has not been reaped
	unused bool // ended without a claim
}

func place(score int64) int64 {
	_, p := lua.LanePlace(score)
	return p
}

func score(lane waitroom.Lane, place int64) int64 { return lua.Score(int(lane), place) }

func (m *model) count(state waitroom.VisitorState) int {
	n := 0
	for _, t := range m.turns {
		if t.active && t.state == state {
			n++
		}
	}
	return n
}

// line is the queue from its head.
func line(of map[string]int64) []string {
	ids := make([]string, 0, len(of))
	for id := range of {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int {
		if of[a] != of[b] {
			return int(of[a] - of[b])
		}
		return map[bool]int{true: -1, false: 1}[a < b]
	})
	return ids
}

func (m *model) find(id string) (state waitroom.VisitorState, score int64, ahead int) {
	if s, ok := m.queue[id]; ok {
		return waitroom.Waiting, s, slices.Index(line(m.queue), id)
	}
	if t, ok := m.turns[id]; ok {
		if t.active && t.until <= m.now {
			return waitroom.Expired, t.score, 0
		}
		return t.state, t.score, 0
	}
	if s, ok := m.lobby[id]; ok {
		return waitroom.InLobby, s, 0
	}
	return waitroom.Unknown, 0, 0
}

func (m *model) refill() {
	m.units = min(int64(m.throttle.Burst)*60000, m.units+(m.now-m.refilled)*int64(m.throttle.RatePerMinute))
	m.refilled = m.now
}

func (m *model) stock() int {
	if m.available < 0 {
		return -1
	}
	return m.available + m.held
}

func (m *model) moves() bool {
	return m.state == waitroom.Open || m.state == waitroom.Paused || m.state == waitroom.Draining
}

func (m *model) free() int {
	if m.state != waitroom.Open && m.state != waitroom.Draining || m.moving || m.throttle.RatePerMinute == 0 || m.shop <= m.now || m.available == 0 {
		return 0
	}
	n := m.throttle.MaxShoppers - m.count(waitroom.Ready) - m.count(waitroom.Shopping)
	if m.units < 0 {
		return 0
	}
	n = min(n, int(m.units/60000))
	if m.available > 0 {
		n = min(n, m.available)
	}
	return max(n, 0)
}

func (m *model) admit(id string, score int64) {
	m.turns[id] = turn{waitroom.Ready, score, m.now + m.throttle.ClaimWindow.Milliseconds(), m.turns[id].missed, true, false}
	m.units -= 60000
	m.admitted++
	if lane, p := lua.LanePlace(score); lane >= int(waitroom.General) {
		m.cursor = max(m.cursor, p)
	}
}

func (m *model) comeBack(id string, t turn) {
	m.queue[id] = t.score
	if t.missed > 0 {
		m.turns[id] = turn{state: waitroom.Expired, score: t.score, missed: t.missed, unused: true}
	} else {
		delete(m.turns, id)
	}
}

// end ends the active turn of id.
func (m *model) end(id string, t turn) turn {
	if t.state == waitroom.Ready {
		t.missed++
		t.unused = true
		m.outcomes++
	}
	t.state, t.active = waitroom.Expired, false
	m.turns[id] = t
	return t
}

// join returns the code of the fault, if any.
func (m *model) join(id string, lane waitroom.Lane, receipt int64) fault.Code {
	state, _, _ := m.find(id)
	if state == waitroom.Waiting || state == waitroom.InLobby {
		delete(m.gone, id)
	}
	t := m.turns[id]
	switch state {
	case waitroom.InLobby, waitroom.Waiting, waitroom.Ready, waitroom.Shopping:
		return ""
	case waitroom.Away:
		if m.moves() {
			m.comeBack(id, t)
		}
		return ""
	case waitroom.Unknown:
		gathering := m.state == waitroom.Scheduled || m.state == waitroom.Lobby
		if receipt > 0 && !gathering && m.state != waitroom.Closed {
			m.queue[id] = score(lane, receipt)
			m.next = max(m.next, receipt)
			m.joined++
			return ""
		}
		if m.state == waitroom.Closed || m.state == waitroom.Draining {
			return fault.RoomClosed
		}
		m.place(id, lane)
		return ""
	}
	second := t.unused || t.active && t.state == waitroom.Ready
	if m.state == waitroom.Closed || m.state == waitroom.Draining && !second {
		return ""
	}
	if t.active {
		t = m.end(id, t)
	}
	if t.unused && t.state == waitroom.Expired && t.missed == 1 && m.now < t.until+m.throttle.Grace.Milliseconds() {
		m.comeBack(id, t)
		return ""
	}
	if m.state == waitroom.Draining {
		return ""
	}
	delete(m.turns, id)
	m.place(id, lane)
	return ""
}

func (m *model) place(id string, lane waitroom.Lane) {
	m.joined++
	if m.state == waitroom.Scheduled || m.state == waitroom.Lobby {
		m.lobbyNext++
		m.lobby[id] = score(lane, m.lobbyNext)
		return
	}
	m.next++
	mine := score(lane, m.next)
	if m.state == waitroom.Open && len(m.queue) == 0 {
		units, refilled := m.units, m.refilled
		m.refill()
		if m.free() > 0 {
			m.admit(id, mine)
			return
		}
		m.units, m.refilled = units, refilled
	}
	m.queue[id] = mine
}

// present is the visitor asking for themselves.
func (m *model) present(id string) fault.Code {
	state, _, _ := m.find(id)
	delete(m.gone, id)
	switch {
	case state == waitroom.Unknown:
		return fault.UnknownVisitor
	case state == waitroom.Away && m.moves():
		m.comeBack(id, m.turns[id])
	}
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
		m.outcomes++
		return ""
	}
	return fault.NotYourTurn
}

func (m *model) leave(id string) fault.Code {
	state, at, _ := m.find(id)
	t := m.turns[id]
	switch state {
	case waitroom.Unknown:
		return fault.UnknownVisitor
	case waitroom.Waiting, waitroom.Away:
		delete(m.queue, id)
		delete(m.gone, id)
		m.turns[id] = turn{state: waitroom.Left, score: at}
	case waitroom.InLobby:
		delete(m.lobby, id)
		delete(m.gone, id)
		m.turns[id] = turn{state: waitroom.Left}
	case waitroom.Ready, waitroom.Shopping:
		m.turns[id] = turn{state: waitroom.Left, score: at, until: t.until, missed: t.missed}
	case waitroom.Expired:
		if t.active {
			if m.end(id, t); t.state == waitroom.Ready {
				m.outcomes-- // leaving is not counted as missing
			}
		}
	}
	return ""
}

func (m *model) finish(id string) fault.Code {
	switch state, at, _ := m.find(id); state {
	case waitroom.Unknown:
		return fault.UnknownVisitor
	case waitroom.Ready, waitroom.Shopping, waitroom.Expired:
		m.turns[id] = turn{state: waitroom.Done, score: at}
	}
	return ""
}

func (m *model) setLane(id string, lane waitroom.Lane) fault.Code {
	switch state, at, _ := m.find(id); state {
	case waitroom.Waiting:
		m.queue[id] = score(lane, place(at))
	case waitroom.InLobby:
		m.lobby[id] = score(lane, place(at))
	default:
		return fault.UnknownVisitor
	}
	return ""
}

func (m *model) open() {
	m.state, m.byStock = waitroom.Open, false
	if m.lobbyNext > 0 && !m.drawn {
		m.drawn, m.moving, m.base = true, true, m.next
		m.next += m.lobbyNext
	}
}

func (m *model) close(byStock bool) { m.state, m.byStock = waitroom.Closed, byStock }

// drawnPlace stands for the permutation of a draw: everybody in reverse.
func (m *model) drawnPlace(index int64) int64 { return m.base + m.lobbyNext + 1 - index }

func (m *model) bring(ids []string, at func(int64) int64) {
	for _, id := range ids {
		lane, index := lua.LanePlace(m.lobby[id])
		m.queue[id] = score(waitroom.Lane(lane), at(index))
		delete(m.lobby, id)
	}
}

// tick returns how many were admitted and skipped.
func (m *model) tick(batch, move, forced int) (admitted, skipped int) {
	for id, t := range m.turns {
		if t.active && t.until <= m.now {
			m.end(id, t)
		}
	}
	if m.moving && m.order == waitroom.FIFO {
		all := line(m.lobby)
		m.bring(all[:min(move, len(all))], func(index int64) int64 { return m.base + index })
	}
	m.moving = m.moving && len(m.lobby) > 0
	m.refill()
	limit := min(m.free(), batch)
	if forced > 0 {
		limit = 0
		if !m.moving && m.stock() != 0 && m.moves() {
			limit = min(forced, m.throttle.MaxShoppers-m.count(waitroom.Ready)-m.count(waitroom.Shopping), batch)
		}
	}
	beyond := func(id string) bool {
		return m.state == waitroom.Draining && m.cutoff > 0 && m.queue[id] > m.cutoff
	}
	for _, id := range line(m.queue) {
		if admitted >= limit || beyond(id) {
			break
		}
		at := m.queue[id]
		delete(m.queue, id)
		since, away := m.gone[id]
		delete(m.gone, id)
		if away && since <= m.now-modelAway.Milliseconds() {
			t := m.turns[id]
			m.turns[id] = turn{state: waitroom.Away, score: at, until: t.until, missed: t.missed}
			skipped++
			continue
		}
		m.admit(id, at)
		admitted++
	}
	if first := line(m.queue); m.state == waitroom.Draining && !m.moving && (len(first) == 0 || beyond(first[0])) {
		m.close(false)
	}
	return admitted, skipped
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
		now: 1_800_000_000_000, queue: make(map[string]int64), lobby: make(map[string]int64), turns: make(map[string]turn),
		gone: make(map[string]int64), available: -1, held: -1,
		state: rapid.SampledFrom([]waitroom.State{waitroom.Open, waitroom.Lobby, waitroom.Scheduled}).Draw(rt, "state"),
		order: rapid.SampledFrom([]waitroom.Order{waitroom.FIFO, waitroom.DrawOrder}).Draw(rt, "order"),
		throttle: waitroom.Throttle{
			Burst: rapid.IntRange(1, 8).Draw(rt, "burst"), MaxShoppers: rapid.IntRange(0, 6).Draw(rt, "cap"),
			Lease: time.Hour, ClaimWindow: time.Hour, Grace: time.Hour, RatePerMinute: 1,
		},
	}
	advance := func(d time.Duration) {
		m.now += d.Milliseconds()
		clock.SetTime(time.UnixMilli(m.now))
	}
	o := redisstore.Options{Batch: 3, Move: 4, AwayAfter: time.Hour}
	if clock != nil {
		m.throttle.RatePerMinute = rapid.IntRange(0, 600).Draw(rt, "rate")
		m.throttle.Lease = time.Duration(rapid.IntRange(1, 5000).Draw(rt, "lease")) * time.Millisecond
		m.throttle.ClaimWindow = time.Duration(rapid.IntRange(1, 5000).Draw(rt, "window")) * time.Millisecond
		m.throttle.Grace = time.Duration(rapid.IntRange(0, 5000).Draw(rt, "grace")) * time.Millisecond
		o.AwayAfter = modelAway
		advance(0)
	}
	m.units, m.refilled = int64(m.throttle.Burst)*60000, m.now
	s := wide()
	s.State, s.Order, s.Throttle = m.state, m.order, m.throttle
	r := newRoom(t, rdb, s, o)

	who := rapid.Custom(func(rt *rapid.T) string { return fmt.Sprintf("v%02d", rapid.IntRange(0, 11).Draw(rt, "n")) })
	lanes := rapid.SampledFrom([]waitroom.Lane{waitroom.General, waitroom.General, waitroom.General, waitroom.Staff, waitroom.Fan, waitroom.Suspect})
	check := func(rt *rapid.T, what string, err error, want fault.Code) {
		rt.Helper()
		if fault.CodeOf(err) != want {
			rt.Fatalf("%s: %v, want %q", what, err, want)
		}
	}
	change := func(rt *rapid.T, to waitroom.State, cutoff int64, from ...waitroom.State) bool {
		allowed := slices.Contains(from, m.state)
		changed, before, err := r.Change(ctx, r.event, to, "", cutoff, from)
		if err != nil || changed != allowed || before != m.state {
			rt.Fatalf("%s from %v = %v, %q, %v; the model is %q", to, from, changed, before, err, m.state)
		}
		return changed
	}
	actions := map[string]func(*rapid.T){
		"join": func(rt *rapid.T) {
			id, receipt, lane := who.Draw(rt, "who"), int64(0), lanes.Draw(rt, "lane")
			if rapid.IntRange(0, 3).Draw(rt, "with receipt") == 0 {
				receipt = rapid.Int64Range(1, 30).Draw(rt, "place")
			}
			_, _, err := r.Join(ctx, r.event, waitroom.Join{Visitor: id, Lane: lane, Place: receipt, ReceiptLane: lane, Epoch: 1})
			check(rt, "join", err, m.join(id, lane, receipt))
		},
		"present": func(rt *rapid.T) {
			id := who.Draw(rt, "who")
			_, err := r.Visitor(ctx, r.event, id, true)
			check(rt, "present", err, m.present(id))
		},
		"gone": func(rt *rapid.T) {
			id := who.Draw(rt, "who")
			if state, _, _ := m.find(id); state == waitroom.Waiting || state == waitroom.InLobby {
				m.gone[id] = m.now
			}
			check(rt, "gone", r.Gone(ctx, r.event, []string{id}), "")
		},
		"lane": func(rt *rapid.T) {
			id, lane := who.Draw(rt, "who"), lanes.Draw(rt, "lane")
			_, err := r.SetLane(ctx, r.event, id, lane, waitroom.NoLane)
			check(rt, "lane", err, m.setLane(id, lane))
		},
		"claim": func(rt *rapid.T) {
			id := who.Draw(rt, "who")
			if m.outcomes >= mostOutcomes {
				rt.Skip("enough turns have ended to expect no-shows")
			}
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
			want, skipped := m.tick(o.Batch, o.Move, 0)
			if err != nil || got.Admitted != want || got.Skipped != skipped || got.Moving != m.moving {
				rt.Fatalf("tick = %+v, %v; the model admitted %d and skipped %d", got, err, want, skipped)
			}
		},
		"admit now": func(rt *rapid.T) {
			n := rapid.IntRange(1, 4).Draw(rt, "n")
			got, err := r.AdmitNow(ctx, r.event, n)
			want, skipped := m.tick(o.Batch, o.Move, n)
			if err != nil || got.Admitted != want || got.Skipped != skipped {
				rt.Fatalf("admit %d now = %+v, %v; the model admitted %d and skipped %d", n, got, err, want, skipped)
			}
		},
		"bring drawn places": func(rt *rapid.T) {
			if m.order != waitroom.DrawOrder || !m.moving {
				rt.Skip("nothing is drawn")
			}
			list, err := r.Gathered(ctx, r.event, rapid.IntRange(1, 4).Draw(rt, "n"))
			check(rt, "gathered", err, "")
			var ids []string
			for i, v := range list {
				ids = append(ids, v.ID)
				list[i].Place = m.drawnPlace(v.Index)
			}
			if all := line(m.lobby); !slices.Equal(ids, all[:len(ids)]) {
				rt.Fatalf("gathered %v of %v", ids, all)
			}
			check(rt, "place", r.Place(ctx, r.event, list), "")
			check(rt, "place again", r.Place(ctx, r.event, list), "")
			m.bring(ids, m.drawnPlace)
		},
		"shop": func(rt *rapid.T) {
			available, held := rapid.IntRange(-1, 3).Draw(rt, "available"), rapid.IntRange(0, 2).Draw(rt, "held")
			if available >= 0 {
				m.available, m.held = available, held
			}
			good := time.Duration(0)
			if rapid.Bool().Draw(rt, "well") {
				good = time.Hour
			}
			m.shop = m.now + good.Milliseconds()
			r.sell(good, available, held)
			switch {
			case available < 0: // what was known before stays
			case m.stock() == 0 && m.moves():
				m.close(true)
			case m.stock() > 0 && m.state == waitroom.Closed && m.byStock:
				m.open()
			}
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
			check(rt, "throttle", r.Configure(ctx, r.event, waitroom.Patch{Throttle: p}, ""), "")
		},
		"open": func(rt *rapid.T) {
			if change(rt, waitroom.Open, 0, waitroom.Scheduled, waitroom.Lobby, waitroom.Closed) {
				m.open()
			}
		},
		"pause": func(rt *rapid.T) {
			if change(rt, waitroom.Paused, 0, waitroom.Open) {
				m.state, m.byStock = waitroom.Paused, false
			}
		},
		"resume": func(rt *rapid.T) {
			if change(rt, waitroom.Open, 0, waitroom.Paused) {
				m.open()
			}
		},
		"drain": func(rt *rapid.T) {
			cutoff := rapid.Int64Range(0, 6).Draw(rt, "cutoff")
			if change(rt, waitroom.Draining, cutoff, waitroom.Open, waitroom.Paused) {
				m.state, m.byStock, m.cutoff = waitroom.Draining, false, 0
				if cutoff > 0 {
					m.cutoff = score(waitroom.General, cutoff)
				}
			}
		},
		"close": func(rt *rapid.T) {
			if rapid.IntRange(0, 4).Draw(rt, "really") > 0 {
				rt.Skip("not this time")
			}
			if change(rt, waitroom.Closed, 0, waitroom.Open, waitroom.Paused, waitroom.Lobby, waitroom.Scheduled, waitroom.Draining) {
				m.close(false)
			}
		},
		"": func(rt *rapid.T) { compare(ctx, rt, r, m) },
	}
	if clock != nil {
		actions["wait"] = func(rt *rapid.T) {
			if m.outcomes+m.count(waitroom.Ready) >= mostOutcomes {
				rt.Skip("enough turns have ended to expect no-shows")
			}
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
	n := s.Room
	if n.State != m.state || n.Waiting != len(m.queue)+len(m.lobby) || n.Ready != m.count(waitroom.Ready) ||
		n.Shopping != m.count(waitroom.Shopping) || n.Away != len(m.gone) || n.ByStock != m.byStock ||
		n.Cursor != m.cursor || n.Next != m.next || n.Joined != m.joined || n.Admitted != m.admitted || n.Moving != m.moving {
		rt.Fatalf("room %+v\nmodel %+v", n, m)
	}
	var scores []int64
	for _, id := range line(m.queue) {
		scores = append(scores, m.queue[id])
	}
	if !slices.Equal(scores, s.Front) {
		rt.Fatalf("line %v, want %v", s.Front, scores)
	}
	alone := rapid.IntRange(0, len(all)-1).Draw(rt, "looked up alone")
	for i, id := range all {
		state, at, ahead := m.find(id)
		if v := s.Visitors[i]; v.State != state || v.Score != at {
			rt.Fatalf("survey: %+v, want %q at %d", v, state, at)
		}
		if i != alone {
			continue
		}
		v, err := r.see(ctx, r.event, id)
		if state == waitroom.Unknown {
			if !fault.Is(err, fault.UnknownVisitor) {
				rt.Fatalf("%s: %+v, %v; the model does not know them", id, v, err)
			}
			continue
		}
		if err != nil || v.State != state || v.Score != at || v.Ahead != ahead {
			rt.Fatalf("%s: %+v, %v; want %q at %d with %d ahead", id, v, err, state, at, ahead)
		}
	}
}
