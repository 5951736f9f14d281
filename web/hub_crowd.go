package web

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// crowd is everyone who waits for one event at this node.
type crowd struct {
	event string

	mu     sync.Mutex
	guests map[string]*guest
	all    []*guest // in no order; swept in passing
	line   []*guest // those who wait, by place, unless stale
	stale  bool
	asked  []*guest // to be looked up by the next tick
	swept  int
	sight  *sight // the room when last looked at
	urgent bool   // there are news
	vague  bool   // somebody in line has a place and no number yet
	ticks  uint64
	missed uint64   // news of visitors who are not here, or were not yet
	away   []string // whose last connection dropped since the last tick
}

// sight is a room as the hub saw it, with what all visitors are told of it.
// It is not changed once made.
type sight struct {
	room waitroom.Room
	info waitroom.RoomInfo
	json []byte
}

// guest is one visitor at this node. It is guarded by crowd.mu.
type guest struct {
	v      waitroom.Visitor
	peers  *peer
	count  int       // of peers
	index  int       // in crowd.all
	asked  bool      // in crowd.asked
	lined  bool      // in crowd.line
	looked uint64    // crowd.ticks when looked up last
	placed uint64    // crowd.ticks when their place was found
	told   int       // the number ahead that was told last
	toldAt time.Time // zero: must be told now
	due    time.Time // when they may be told the next number
	guess  guess
}

// guess is the first wait a visitor was told for their place, kept until their
// turn shows whether it was true.
type guess struct {
	at        int64 // unix seconds; 0: none was told
	low, high int32 // seconds
}

func newCrowd(event string) *crowd {
	return &crowd{event: event, guests: make(map[string]*guest)}
}

// admit adds a connection of the visitor v, as just looked up.
func (c *crowd) admit(p *peer, v waitroom.Visitor, most int) bool {
	g := c.guests[v.ID]
	if g == nil {
		g = &guest{v: v, index: len(c.all)}
		c.guests[v.ID] = g
		c.all = append(c.all, g)
		c.enlist(g)
	} else {
		if g.count >= most {
			return false
		}
		c.update(g, v, v.Ahead)
		g.v.Ahead = min(g.v.Ahead, v.Ahead)
	}
	p.guest, p.sibling = g, g.peers
	g.peers = p
	g.count++
	return true
}

// remove forgets a connection, and the visitor with their last one.
func (c *crowd) remove(p *peer) {
	g := p.guest
	if g == nil { // was not admitted
		return
	}
	for at := &g.peers; *at != nil; at = &(*at).sibling {
		if *at == p {
			*at = p.sibling
			g.count--
			break
		}
	}
	if g.peers != nil || c.guests[g.v.ID] != g {
		return
	}
	delete(c.guests, g.v.ID)
	if g.v.State == waitroom.Waiting || g.v.State == waitroom.InLobby {
		c.away = append(c.away, g.v.ID)
	}
	last := c.all[len(c.all)-1]
	c.all[g.index], last.index = last, g.index
	c.all[len(c.all)-1] = nil
	c.all = c.all[:len(c.all)-1]
	if g.lined {
		c.stale = true
	}
}

// ask has a guest looked up by the next tick.
func (c *crowd) ask(g *guest) {
	if !g.asked {
		g.asked = true
		c.asked = append(c.asked, g)
	}
}

// enlist puts a guest who waits into the line.
func (c *crowd) enlist(g *guest) {
	if g.v.State == waitroom.Waiting && !g.lined {
		g.lined = true
		c.line = append(c.line, g)
		c.stale = true
	}
}

// notKnown is the number ahead of somebody whose new place was found by a tick.
// The next tick asks for it: the places around were not sampled before, and a
// number once told too low would stay.
const notKnown = math.MaxInt

// update takes in what the store says of a guest; ahead is their number in a
// new place.
func (c *crowd) update(g *guest, v waitroom.Visitor, ahead int) {
	if v.State == g.v.State && v.Score == g.v.Score && v.Until.Equal(g.v.Until) {
		return
	}
	moved := v.Score != g.v.Score || v.State != waitroom.Waiting || g.v.State != waitroom.Waiting
	if g.lined && moved {
		c.stale = true
	}
	if v.Place != g.v.Place {
		g.guess = guess{}
	}
	v.Receipt, v.Pass = "", ""
	if v.Score == g.v.Score && v.Epoch == g.v.Epoch {
		v.Receipt = g.v.Receipt
	}
	if moved {
		v.Ahead = ahead
		g.placed = c.ticks
		c.vague = c.vague || ahead == notKnown
	} else {
		v.Ahead = g.v.Ahead
	}
	g.v = v
	g.toldAt = time.Time{}
	c.enlist(g)
}

// tidy sorts the line and drops from it who does not wait any more.
func (c *crowd) tidy() {
	if !c.stale {
		return
	}
	c.stale = false
	c.line = slices.DeleteFunc(c.line, func(g *guest) bool {
		g.lined = g.v.State == waitroom.Waiting && c.guests[g.v.ID] == g
		return !g.lined
	})
	slices.SortFunc(c.line, func(a, b *guest) int { return cmp.Compare(a.v.Score, b.v.Score) })
}

// question is what the next tick asks the store.
func (c *crowd) question(o hubOptions) (q waitroom.Query, who []*guest) {
	c.tidy()
	c.ticks++
	take := func(g *guest) {
		if c.guests[g.v.ID] == g && g.looked != c.ticks {
			g.looked = c.ticks
			who = append(who, g)
		}
	}
	for len(c.asked) > 0 && len(who) < o.lookups {
		g := c.asked[0]
		c.asked[0] = nil
		c.asked = c.asked[1:]
		g.asked = false
		take(g)
	}
	if c.sight != nil {
		// Whose turn should have come, and whose turn should be over.
		for _, g := range c.line {
			if g.v.Score > c.sight.room.Served || len(who) >= o.lookups {
				break
			}
			take(g)
		}
	}
	for range min(o.sweep, len(c.all)) {
		c.swept = (c.swept + 1) % len(c.all)
		if len(who) < o.lookups {
			take(c.all[c.swept])
		}
	}
	for _, g := range who {
		q.Visitors = append(q.Visitors, g.v.ID)
	}
	if len(c.line) == 0 {
		return q, who
	}
	if c.vague || c.line[0].v.Ahead < 2*o.front {
		q.Front = o.front
	}
	if c.vague {
		q.Scores = spread(c.line, o.samples)
		return q, who
	}
	behind := sort.Search(len(c.line), func(i int) bool { return c.line[i].v.Ahead >= o.front-o.front/10 })
	q.Scores = sample(c.line[min(behind, len(c.line)-1):], o.samples)
	return q, who
}

// spread picks the places of up to n guests, evenly, with the first and last.
func spread(line []*guest, n int) []int64 {
	n = min(n, len(line))
	places := make([]int64, n)
	for i := range places {
		at := 0
		if n > 1 {
			at = i * (len(line) - 1) / (n - 1)
		}
		places[i] = line[at].v.Score
	}
	return places
}

// sample picks the places of up to n guests, with the first and last, at numbers
// ahead that grow by the same factor: an error matters by the number it is in.
func sample(line []*guest, n int) []int64 {
	if len(line) <= n {
		return spread(line, n)
	}
	places := make([]int64, 0, n)
	low, high := float64(line[0].v.Ahead+1), float64(line[len(line)-1].v.Ahead+1)
	at := 0
	for i := range n - 1 {
		want := int(low * math.Pow(high/low, float64(i)/float64(n-1)))
		at += sort.Search(len(line)-at, func(j int) bool { return line[at+j].v.Ahead+1 >= want })
		if at >= len(line)-1 {
			break
		}
		places = append(places, line[at].v.Score)
		at++
	}
	return append(places, line[len(line)-1].v.Score)
}

// positions finds the number ahead of places from a survey: exactly at the
// front, by interpolation between the sampled places behind it.
type positions struct {
	front  []int64
	whole  bool // front is the whole line
	places []int64
	ahead  []int
}

func newPositions(q waitroom.Query, s waitroom.Survey) positions {
	p := positions{front: s.Front, whole: q.Front > 0 && len(s.Front) < q.Front}
	if n := len(s.Front); n > 0 {
		p.places, p.ahead = append(p.places, s.Front[n-1]), append(p.ahead, n-1)
	}
	for i, place := range q.Scores {
		if n := len(p.places); n == 0 || place > p.places[n-1] {
			p.places, p.ahead = append(p.places, place), append(p.ahead, s.Ahead[i])
		}
	}
	return p
}

func (p *positions) before(place int64) int {
	if n := len(p.front); p.whole || n > 0 && place <= p.front[n-1] {
		at, _ := slices.BinarySearch(p.front, place)
		if at == n {
			return notKnown // was not there yet: has joined since, behind others who have
		}
		return at
	}
	i, exact := slices.BinarySearch(p.places, place)
	switch {
	case len(p.places) == 0:
		return notKnown
	case exact || i == 0:
		return p.ahead[min(i, len(p.ahead)-1)]
	case i == len(p.places):
		return notKnown // stands behind all who were asked for
	}
	from, to := p.places[i-1], p.places[i]
	return p.ahead[i-1] + int(int64(p.ahead[i]-p.ahead[i-1])*(place-from)/(to-from))
}

// tick looks at the room and decides whom to tell.
func (h *Hub) tick(ctx context.Context, c *crowd) error {
	start := time.Now()
	c.mu.Lock()
	c.urgent = false
	q, who := c.question(h.o)
	before := c.sight
	away := c.departed()
	c.mu.Unlock()
	h.depart(ctx, c.event, away)
	if len(q.Visitors) == 0 { // the last one has gone
		return nil
	}

	survey, err := h.rooms.Survey(ctx, c.event, q)
	if err != nil {
		c.mu.Lock()
		for _, g := range who { // asked in vain
			c.ask(g)
		}
		c.mu.Unlock()
		if fault.Is(err, fault.NotFound) {
			_, err = h.rooms.Room(ctx, c.event) // has it rebuilt, if it can be
		}
		return err
	}
	info := survey.Room.Info()
	encoded, err := json.Marshal(info)
	if err != nil {
		return err
	}
	s := &sight{room: survey.Room, info: info, json: encoded}
	reborn := before != nil && !before.room.Born.Equal(s.room.Born)

	var missing []*guest
	var back []string
	c.mu.Lock()
	c.sight = s
	for i, g := range who {
		switch v := survey.Visitors[i]; v.State {
		case waitroom.Unknown:
			missing = append(missing, g)
		case waitroom.Away: // passed over, though they are here
			back = append(back, g.v.ID)
			c.ask(g)
		default:
			if took := g.guess.of(&v); took != 0 && g.v.State == waitroom.Waiting {
				h.rooms.Estimated(int(g.guess.low), int(g.guess.high), took)
				g.guess = guess{}
			}
			c.update(g, v, notKnown)
		}
	}
	if reborn { // the line was lost: look everyone up, the front first
		for _, g := range c.line {
			c.ask(g)
		}
		for _, g := range c.all {
			c.ask(g)
		}
	}
	c.tidy()
	at := newPositions(q, survey)
	c.vague = false
	for _, g := range c.line {
		ahead := at.before(g.v.Score)
		if g.v.Ahead == notKnown && (g.placed == c.ticks || ahead == notKnown) {
			c.vague = true
			continue
		}
		// The number told never goes up, though who comes back with a receipt
		// stands before us again.
		g.v.Ahead = min(g.v.Ahead, ahead)
		if g.v.Score <= s.room.Served && g.looked != c.ticks {
			c.ask(g)
		}
	}
	lost := h.lost(c.event, missing)
	h.announce(c, before, s)
	more := len(c.asked) > 0 || c.vague
	c.urgent = c.urgent || more
	c.mu.Unlock()
	h.looks.Observe(time.Since(start).Seconds())
	if more {
		h.hurryUp()
	}
	h.restore(ctx, c, lost)
	for _, id := range back {
		if _, err := h.rooms.Present(ctx, c.event, id); err != nil {
			return err
		}
	}
	return nil
}

// of is how long it took until the turn of v came, 0 when nothing was told or it
// has not come.
func (g guess) of(v *waitroom.Visitor) time.Duration {
	if g.at == 0 || v.State != waitroom.Ready {
		return 0
	}
	return max(v.Admitted.Sub(time.Unix(g.at, 0)), 1)
}

// departed takes those who have gone since the last tick and not come back.
func (c *crowd) departed() []string {
	away := slices.DeleteFunc(c.away, func(id string) bool { return c.guests[id] != nil })
	c.away = nil
	return away
}

// depart notes whose last connection here dropped; not while everybody is being
// sent to other nodes. What fails is not tried again: whoever is not known to be
// away has a turn that they miss, and a second one.
func (h *Hub) depart(ctx context.Context, event string, away []string) {
	h.mu.Lock()
	closing := h.closing
	h.mu.Unlock()
	if len(away) == 0 || closing {
		return
	}
	if err := h.rooms.Gone(ctx, event, away); err != nil && ctx.Err() == nil {
		h.log.LogAttrs(ctx, slog.LevelDebug, "who has gone could not be noted", slog.String("event", event), slog.Any("error", err))
	}
}

// announce pushes to those who should be told something.
func (h *Hub) announce(c *crowd, before, now *sight) {
	at := h.now()
	moved := now.room.State != waitroom.Scheduled && now.room.State != waitroom.Lobby && now.room.State != waitroom.Closed && !now.room.Moving
	changed := before == nil || visiblyDiffer(&before.info, &now.info)
	for _, g := range c.all {
		if turn := g.v.State == waitroom.Ready || g.v.State == waitroom.Shopping; turn && !g.v.Until.After(now.room.AsOf) {
			c.ask(g) // it should be over
		}
		if moved && g.v.State == waitroom.InLobby && g.looked != c.ticks {
			c.ask(g) // they should have a place
		}
		over := now.room.State == waitroom.Closed && (g.v.State == waitroom.Waiting || g.v.State == waitroom.InLobby)
		var w wants
		switch {
		case g.v.State == waitroom.Waiting && g.v.Ahead == notKnown: // in a moment
		case changed, g.toldAt.IsZero():
			w = wantNews
		case !at.Before(g.due) && (g.v.State == waitroom.Waiting && g.v.Ahead != g.told || at.Sub(g.toldAt) >= h.o.calm):
			w = wantNews
		}
		if w != 0 {
			h.note(g, now, at)
		}
		if over {
			w |= wantOver
		}
		for p := g.peers; p != nil; p = p.sibling {
			if ask := w | h.pulse(&p.socket, at); ask != 0 {
				h.out.push(&p.socket, ask)
			}
		}
	}
}

// note takes down what a guest is told now, of a room as last seen (nil: not yet),
// and when they may be told the next number.
func (h *Hub) note(g *guest, s *sight, at time.Time) {
	pulse := h.o.calm
	if g.v.State == waitroom.Waiting {
		pulse = waitroom.Pulse(g.v.Ahead)
		if g.guess.at == 0 && s != nil {
			if wait := s.room.Wait(g.v.Ahead); wait != nil {
				g.guess = guess{s.room.AsOf.Unix(), int32(wait.Low), int32(wait.High)}
			}
		}
	}
	g.told, g.toldAt = g.v.Ahead, at
	// Half a tick is taken off, so that every second does not become every other;
	// jitter keeps a crowd from being told all at once.
	g.due = at.Add(time.Duration(float64(pulse)*(0.8+0.4*rand.Float64())) - h.o.tick/2)
}

// visiblyDiffer reports whether something changed that everybody must know at
// once. Numbers that change all the time do not count.
func visiblyDiffer(a, b *waitroom.RoomInfo) bool {
	return a.State != b.State || a.Name != b.Name ||
		differ(a.Reason, b.Reason) || differ(a.ClosedReason, b.ClosedReason) || differ(a.Message, b.Message) ||
		differTime(a.OpensAt, b.OpensAt) || differTime(a.LobbyOpensAt, b.LobbyOpensAt)
}

func differ[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a != b
	}
	return *a != *b
}

func differTime(a, b *time.Time) bool {
	if a == nil || b == nil {
		return a != b
	}
	return !a.Equal(*b)
}

// lost says who of the missing can be given their place back, and has the
// others' connections closed: their wait or turn was over anyway.
func (h *Hub) lost(event string, missing []*guest) []waitroom.JoinRequest {
	var back []waitroom.JoinRequest
	for _, g := range missing {
		r := waitroom.JoinRequest{Visitor: g.v.ID}
		switch g.v.State {
		case waitroom.Waiting, waitroom.Ready, waitroom.Shopping:
			if r.Receipt = g.v.Receipt; r.Receipt == "" {
				r.Receipt = h.keys.SignReceipt(pass.Receipt{Visitor: g.v.ID, Event: event, Place: g.v.Place, Lane: int(g.v.Lane), Epoch: g.v.Epoch})
			}
			back = append(back, r)
		case waitroom.InLobby:
			r.Receipt = h.keys.SignReceipt(pass.Receipt{Visitor: g.v.ID, Event: event, Lane: int(g.v.Lane), Index: g.v.Index, Epoch: g.v.Epoch})
			back = append(back, r)
		default:
			for p := g.peers; p != nil; p = p.sibling {
				h.out.push(&p.socket, wantGone)
			}
		}
	}
	return back
}

// restore joins anew for visitors the store has lost.
func (h *Hub) restore(ctx context.Context, c *crowd, lost []waitroom.JoinRequest) {
	if len(lost) == 0 {
		return
	}
	var g errgroup.Group
	g.SetLimit(h.o.restores)
	for _, r := range lost {
		g.Go(func() error {
			r.Event = c.event
			_, err := h.rooms.Join(ctx, r)
			c.mu.Lock()
			defer c.mu.Unlock()
			visitor := c.guests[r.Visitor]
			if visitor == nil {
				return nil
			}
			if err == nil {
				c.urgent = true
			}
			if fault.Is(err, fault.RoomClosed) {
				for p := visitor.peers; p != nil; p = p.sibling {
					h.out.push(&p.socket, wantOver)
				}
				return nil
			}
			c.ask(visitor) // shows the place they have now, or tries again
			return nil
		})
	}
	_ = g.Wait()
	c.mu.Lock()
	urgent := c.urgent
	c.mu.Unlock()
	if urgent {
		h.hurryUp()
	}
}
