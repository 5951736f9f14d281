package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"onsale/checkout"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
)

// page is the page of somebody who buys, with what it keeps.
type page struct {
	*person
	t        *testing.T
	at, tab  *node // where it asks, and where its second tab does
	event    string
	seats    []string
	hold     string
	orderKey string
	payKey   string
	order    string
	tickets  []string // that it got
	lapsed   int      // how often its hold was not known any more
	taken    []string // what somebody else has, as it was told
	refusals *atomic.Int64
}

// post sends a request as a page does: again, with the same key, until it has a
// clear answer.
func (p *page) post(at *node, path, key string, body any) (a answer) {
	poll(patience, func() bool {
		var err error
		if a, err = at.try("POST", path, p.pass, key, body); err != nil {
			p.t.Errorf("%s: POST %s: %v", p.name, path, err)
			return true
		}
		if a.status == http.StatusServiceUnavailable {
			wantRefusal(p.t, a, nil)
			p.refusals.Add(1)
			return false
		}
		return a.code() != "idempotency-in-flight"
	})
	return a
}

// choose holds the page's seats. It reports whether they were to be had.
func (p *page) choose() bool {
	a := p.post(p.at, "/v1/events/"+p.event+"/holds", uuid.NewString(), map[string]any{"tickets": p.seats})
	switch {
	case a.status == http.StatusCreated:
		p.hold, p.orderKey, p.payKey = a.str("hold"), uuid.NewString(), uuid.NewString()
		return true
	case a.code() == "tickets-taken":
		p.told(a)
	default:
		p.t.Errorf("%s: hold: %s", p.name, a)
	}
	return false
}

// told notes which tickets a refusal names.
func (p *page) told(a answer) {
	list, _ := a.body["taken"].([]any)
	p.taken = make([]string, len(list))
	for i := range list {
		p.taken[i], _ = list[i].(string)
	}
}

// reserve orders what the page holds. Where the hold has lapsed, it tries for the
// same seats again. It reports whether there is an order.
func (p *page) reserve() bool {
	for range 5 {
		a := p.post(p.at, "/v1/orders", p.orderKey, orderBody(p.hold))
		switch {
		case a.status == http.StatusCreated:
			p.order = a.str("order")
			return true
		case a.code() == "tickets-taken":
			p.told(a)
			return false
		case a.code() != "hold-lapsed":
			p.t.Errorf("%s: order: %s", p.name, a)
			return false
		}
		p.lapsed++
		if !p.choose() {
			return false
		}
	}
	p.t.Errorf("%s: holds lapse again and again", p.name)
	return false
}

// ask sends a request once and demands a problem.
func (p *page) ask(status int, code, method, path, token string, body any) {
	p.t.Helper()
	if a, err := p.at.try(method, path, token, uuid.NewString(), body); err != nil || a.status != status || a.code() != code {
		p.t.Errorf("%s: %s %s: %s, %v; want %d %s", p.name, method, path, a, err, status, code)
	}
}

// buy goes on from the hold to the tickets. It asks for the order once more than
// needed, and pays in two tabs at once. Whoever has an order has to get its
// tickets.
func (p *page) buy() {
	had := p.order
	if !p.reserve() {
		return
	}
	if had != "" && p.order != had {
		p.t.Errorf("%s: the order was %s and is %s", p.name, had, p.order)
	}
	if a := p.post(p.tab, "/v1/orders", p.orderKey, orderBody(p.hold)); a.status != http.StatusCreated || a.str("order") != p.order {
		p.t.Errorf("%s: ordering again with the same key: %s, had %s", p.name, a, p.order)
	}
	var tabs sync.WaitGroup
	for _, n := range []*node{p.at, p.tab} {
		tabs.Go(func() {
			if a := p.post(n, "/v1/orders/"+p.order+"/pay", p.payKey, map[string]any{"method": "tok_ok"}); a.status != http.StatusOK {
				p.t.Errorf("%s: pay: %s", p.name, a)
			}
		})
	}
	tabs.Wait()
	var a answer
	var err error
	fulfilled := poll(patience, func() bool {
		a, err = p.at.try("GET", "/v1/orders/"+p.order+"/tickets", p.pass, "", nil)
		return err != nil || a.str("status") == "fulfilled"
	})
	if err != nil || !fulfilled {
		p.t.Errorf("%s: the tickets: %s, %v", p.name, a, err)
		return
	}
	list, _ := a.body["tickets"].([]any)
	for _, t := range list {
		ticket, _ := t.(map[string]any)
		if ticket["code"] == "" {
			p.t.Errorf("%s: a ticket without a code: %v", p.name, ticket)
		}
		id, _ := ticket["ticket"].(string)
		p.tickets = append(p.tickets, id)
	}
}

// seatMap is the event's live map as a node tells it: a number by ordinal.
func (n *node) seatMap(event string) []byte {
	n.t.Helper()
	a := n.call(http.StatusOK, "GET", "/v1/events/"+event+"/availability", "", "", nil)
	packed, err := base64.StdEncoding.DecodeString(a.str("status"))
	total, _ := a.body["total"].(float64)
	if err != nil || len(packed) != (int(total)+3)/4 {
		n.t.Fatalf("the live map: %s, %v", a, err)
	}
	states := make([]byte, int(total))
	for o := range states {
		states[o] = packed[o/4] >> (o % 4 * 2) & 3
	}
	return states
}

// What a live map says of a seat.
const (
	seatFree byte = iota
	seatHeld
	seatSold
)

// contest is two buyers who were both told that a seat is theirs for now.
type contest struct{ first, rival *page }

// seats are those that both want.
func (c contest) seats() (both []string) {
	for _, s := range c.first.seats {
		if slices.Contains(c.rival.seats, s) {
			both = append(both, s)
		}
	}
	return both
}

// contests are of one kind.
type contests []contest

func (list contests) firsts() (pages []*page) {
	for _, c := range list {
		pages = append(pages, c.first)
	}
	return pages
}

func (list contests) rivals() (pages []*page) {
	for _, c := range list {
		pages = append(pages, c.rival)
	}
	return pages
}

// settled demands one winner, and a loser who never had an order and was told
// which seats somebody else has.
func (c contest) settled(t *testing.T) (winner, loser *page) {
	t.Helper()
	winner, loser = c.first, c.rival
	if winner.order == "" {
		winner, loser = loser, winner
	}
	if loser.order != "" || !slices.Equal(loser.taken, c.seats()) {
		t.Errorf("%s lost, has order %q and was told that %v are taken, want %v", loser.name, loser.order, loser.taken, c.seats())
	}
	return winner, loser
}

// stalls is an event with its pages, at two nodes.
type stalls struct {
	t        *testing.T
	nodes    [2]*node
	event    string
	free     []string // seats that nobody thought of yet, in order
	ordinal  map[string]int
	pages    []*page
	refusals atomic.Int64
	buying   sync.WaitGroup
}

func newStalls(t *testing.T, nodes [2]*node) *stalls {
	t.Helper()
	n := nodes[0]
	s := &stalls{t: t, nodes: nodes, ordinal: make(map[string]int)}
	s.event = n.call(http.StatusCreated, "POST", "/v1/admin/events", adminToken, "", map[string]any{
		"name": "Night " + uuid.NewString(), "starts_at": "2031-05-01T19:00:00Z", "venue": map[string]any{"name": "Hall"},
		"currency": "EUR", "max_per_buyer": 6, "prices": map[string]any{"Stalls": map[string]any{"amount": 2500}},
		"generate": map[string]any{"kind": "rows", "sections": []any{map[string]any{"name": "Stalls", "rows": 10, "seats_per_row": 20}}},
		"room":     map[string]any{"rate_per_minute": 60000, "burst": 500, "max_shoppers": 500, "claim_window_s": 300},
	}).str("id")
	list, _ := n.call(http.StatusOK, "GET", "/v1/events/"+s.event+"/tickets?limit=200", "", "", nil).body["tickets"].([]any)
	for i := range list {
		ticket, _ := list[i].(map[string]any)
		id, _ := ticket["id"].(string)
		s.ordinal[id] = len(s.free)
		s.free = append(s.free, id)
	}
	n.until(patience, "the door is open", func() bool {
		reason, closed := n.room(s.event).body["reason"].(string)
		return !closed || reason == ""
	})
	t.Cleanup(s.buying.Wait)
	return s
}

func (s *stalls) next(count int) (seats []string) {
	seats, s.free = s.free[:count:count], s.free[count:]
	return seats
}

// admit brings somebody through the queue who wants the seats.
func (s *stalls) admit(name string, seats []string) *page {
	s.t.Helper()
	i := len(s.pages) % 2
	p := &page{
		person: &person{name: name}, t: s.t, at: s.nodes[i], tab: s.nodes[1-i], event: s.event, seats: seats, refusals: &s.refusals,
	}
	p.at.come(s.event, p.person)
	s.turn(p)
	s.pages = append(s.pages, p)
	return p
}

// turn takes a page's turn when it comes.
func (s *stalls) turn(p *page) {
	s.t.Helper()
	p.at.until(patience, p.name+" has a turn", func() bool { return p.at.state(s.event, p.person) == "ready" })
	p.at.claim(s.event, p.person)
}

// crowd admits people who want two seats each that nobody else wants.
func (s *stalls) crowd(name string, count int) (list []*page) {
	s.t.Helper()
	for i := range count {
		list = append(list, s.admit(fmt.Sprintf("%s %d", name, i), s.next(2)))
	}
	return list
}

// contests admits pairs of people who want the same seats, or one seat in common.
func (s *stalls) contests(name string, count int) (list contests) {
	s.t.Helper()
	for i, first := range s.crowd(name, count) {
		wanted := first.seats
		if i%2 == 1 {
			wanted = append(slices.Clone(wanted[1:]), s.next(1)...)
		}
		list = append(list, contest{first, s.admit(fmt.Sprintf("rival of %s %d", name, i), wanted)})
	}
	return list
}

// hold has pages hold their seats, which nobody else has.
func (s *stalls) hold(pages ...*page) {
	s.t.Helper()
	for _, p := range pages {
		if !p.choose() {
			s.t.Fatalf("%s could not hold %v: %v are taken", p.name, p.seats, p.taken)
		}
	}
}

// buy lets pages go on from their holds, all at once.
func (s *stalls) buy(pages ...*page) {
	for _, p := range pages {
		s.buying.Go(p.buy)
	}
}

// heldAt counts how many of the pages' seats a Redis knows as held, and all of them.
func (s *stalls) heldAt(rdb goredis.UniversalClient, pages ...*page) (held, all int) {
	s.t.Helper()
	status, err := rdb.Get(s.t.Context(), lua.StatusKey(s.event)).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range pages {
		for _, seat := range p.seats {
			all++
			if status[s.ordinal[seat]] == byte(checkout.Held) {
				held++
			}
		}
	}
	return held, all
}

// wantHeld demands that a Redis knows all of the pages' seats as held, or none.
func (s *stalls) wantHeld(what string, rdb goredis.UniversalClient, want bool, pages ...*page) {
	s.t.Helper()
	if held, all := s.heldAt(rdb, pages...); want && held != all || !want && held != 0 {
		s.t.Fatalf("%s knows of %d of %d held seats, want all: %t", what, held, all, want)
	}
}

// onMap reports whether a node's live map shows all of the pages' seats so.
func (s *stalls) onMap(n *node, state byte, pages ...*page) bool {
	s.t.Helper()
	states := n.seatMap(s.event)
	for _, p := range pages {
		for _, seat := range p.seats {
			if states[s.ordinal[seat]] != state {
				return false
			}
		}
	}
	return true
}

// TestHoldsLostInAFailover kills a Redis master that has acknowledged holds of
// which its replica never heard, and promotes the replica: it gives the same seats
// to others. Postgres decides who has them, and whoever does not is told before
// anything is paid (G1, G2). Who was let in meanwhile has their turn or place by
// what they kept (G5).
func TestHoldsLostInAFailover(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const each = 12 // contests of each kind
	pair := stacktest.NewPair(t)
	s := newSite(t, pair.URL(), stacktest.Database(t, migrate))
	nodes := [2]*node{s.start(t, within(true)...), s.start(t, within(true)...)}
	n := nodes[0]
	e := newStalls(t, nodes)
	total := len(e.free)

	// Named by what the failover leaves of them: the hold; an order without it, whose
	// seats somebody else goes for, or nobody; an order that is being written;
	// nothing, and somebody else goes for the seats, or nobody.
	kept := e.crowd("kept", 4)
	ordered, unrivalled := e.contests("ordered", each), e.crowd("unrivalled", 4)
	caught := e.contests("caught", each)
	lost, alone := e.contests("lost", each), e.crowd("alone", 3)

	// This the replica knows.
	e.hold(kept...)
	const late = 2 // who will be let in later
	n.patch(e.event, map[string]any{"max_shoppers": len(e.pages) + late})
	master, replica := connect(t, pair.Master.URL()), connect(t, pair.Replica.URL())
	n.until(patience, "the replica has heard of the last change", func() bool {
		most, err := replica.HGet(ctx, lua.RoomKey(e.event), "cap").Int()
		return err == nil && most == len(e.pages)+late
	})
	e.wantHeld("the replica", replica, true, kept...)

	// From here on it hears nothing more.
	pair.Copying.Set(stacktest.Faults{HoldReplies: true})
	acknowledged := slices.Concat(ordered.firsts(), unrivalled, caught.firsts(), lost.firsts(), alone)
	e.hold(acknowledged...)
	for _, p := range slices.Concat(ordered.firsts(), unrivalled) {
		if !p.reserve() {
			t.Fatalf("%s has no order", p.name)
		}
	}
	byPass, byReceipt := e.admit("late with a pass", e.next(2)), e.admit("late with a receipt", e.next(2))
	e.hold(byPass, byReceipt)
	acknowledged = append(acknowledged, byPass, byReceipt)
	var behind []*person
	for i := range 3 {
		p := &person{name: fmt.Sprintf("behind %d", i)}
		if a := nodes[i%2].come(e.event, p); a.str("state") != "waiting" || a.body["ahead"] != float64(i) {
			t.Fatalf("behind a full shop somebody is %s", a)
		}
		behind = append(behind, p)
	}
	e.wantHeld("the master", master, true, acknowledged...)
	e.wantHeld("the replica", replica, false, acknowledged...)

	// Some orders have pinned their hold, and wait to be written, when the master dies.
	gate, err := s.db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gate.Rollback(context.WithoutCancel(ctx)) }() // usually over already
	if _, err := gate.Exec(ctx, `lock table orders in share mode`); err != nil {
		t.Fatal(err)
	}
	atTheGate := func() int {
		return query[int](t, s, `select count(*) from pg_locks where not granted and relation = 'orders'::regclass
			and database = (select oid from pg_database where datname = current_database())`)
	}
	e.buy(caught.firsts()...)
	// The first at each node waits for the lock, the others to go with it.
	n.until(patience, "their orders are about to be written", func() bool {
		for _, p := range caught.firsts() {
			a, err := p.at.try("GET", "/v1/events/"+e.event+"/holds/"+p.hold, p.pass, "", nil)
			if err != nil || a.body["pinned"] != true {
				return false
			}
		}
		return atTheGate() > 0
	})
	pair.Kill(t)
	killed := time.Now()

	// Others go for the same seats at once: they are refused while there is no
	// master, and have the seats when there is one.
	var choosing sync.WaitGroup
	for _, p := range slices.Concat(caught.rivals(), ordered.rivals(), lost.rivals()) {
		choosing.Go(func() { p.choose() })
	}
	n.until(patience, "somebody was refused", func() bool { return e.refusals.Load() > 0 })
	pair.TakeOver(t)
	choosing.Wait()
	t.Logf("seats are held again after %v; %d calls were refused", time.Since(killed).Round(time.Millisecond), e.refusals.Load())
	for _, p := range slices.Concat(caught.rivals(), lost.rivals()) {
		if p.hold == "" {
			t.Errorf("%s could not hold seats of which nobody knows: %v", p.name, p.taken)
		}
	}
	other := lost[0].rival
	other.ask(http.StatusConflict, "tickets-taken", "POST", "/v1/events/"+e.event+"/holds", other.pass, map[string]any{"tickets": kept[0].seats})

	// All go on at once; who has no hold was told already that an order has the seats.
	holding := func(pages []*page) []*page {
		return slices.DeleteFunc(pages, func(p *page) bool { return p.hold == "" })
	}
	e.buy(holding(caught.rivals())...)
	poll(2*time.Second, func() bool { return atTheGate() > 1 })
	t.Logf("%d orders for the same seats are written at once", atTheGate())
	if err := gate.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	e.buy(ordered.firsts()...)
	e.buy(holding(ordered.rivals())...)
	e.buy(lost.firsts()...)
	e.buy(holding(lost.rivals())...)
	e.buy(slices.Concat(kept, alone)...)

	// Of those who were late the replica knows nothing, and says so.
	for _, p := range []*page{byPass, byReceipt} {
		p.ask(http.StatusForbidden, "pass-lapsed", "POST", "/v1/events/"+e.event+"/holds", p.pass, map[string]any{"tickets": p.seats})
		p.ask(http.StatusConflict, "hold-lapsed", "POST", "/v1/orders", p.pass, orderBody(p.hold))
		p.ask(http.StatusUnauthorized, "unknown-visitor", "GET", "/v1/rooms/"+e.event+"/me", p.token, nil)
	}
	place, ends := byPass.place(), moment(t, byPass.last, "lease_ends")
	byPass.token = byPass.pass // which tells whole seconds
	if a := byPass.tab.come(e.event, byPass.person); a.str("state") != "shopping" || byPass.place() != place ||
		!moment(t, a, "lease_ends").Equal(ends.Truncate(time.Second)) {
		t.Errorf("%s: %s; had place %v and a lease until %v", byPass.name, a, place, ends)
	}
	place = byReceipt.place()
	if a := byReceipt.tab.come(e.event, byReceipt.person); a.str("state") != "waiting" || byReceipt.place() != place || a.body["ahead"] != 0.0 {
		t.Errorf("%s: %s; had place %v", byReceipt.name, a, place)
	}
	e.turn(byReceipt)
	e.hold(byPass, byReceipt)
	e.buy(byPass, byReceipt)
	for _, p := range slices.Backward(behind) {
		place := p.place()
		if a := n.come(e.event, p); a.str("state") != "waiting" || p.place() != place {
			t.Errorf("%s: %s; had place %v", p.name, a, place)
		}
	}
	newcomer := &person{name: "newcomer"}
	n.come(e.event, newcomer)
	for i, p := range append(behind, newcomer) {
		if a := n.about(e.event, p); a.str("state") != "waiting" || a.body["ahead"] != float64(i) {
			t.Errorf("%s: %s; want %d ahead", p.name, a, i)
		}
	}

	// An order keeps its seats off the maps, and its buyer pays in peace.
	for _, at := range nodes {
		at.until(patience, "seats that have an order are held", func() bool {
			held, all := e.heldAt(replica, unrivalled...)
			return held == all && e.onMap(at, seatHeld, unrivalled...)
		})
	}
	t.Logf("seats that have an order are held after %v", time.Since(killed).Round(time.Millisecond))
	e.buy(unrivalled...)
	e.buying.Wait()

	winners := slices.Concat(kept, unrivalled, alone, []*page{byPass, byReceipt})
	var losers []*page
	firsts := make(map[string]int)
	for kind, list := range map[string]contests{"ordered": ordered, "caught": caught, "lost": lost} {
		for _, c := range list {
			winner, loser := c.settled(t)
			winners, losers = append(winners, winner), append(losers, loser)
			if winner == c.first {
				firsts[kind]++
			}
		}
	}
	t.Logf("of %d each, who came first won: %v", each, firsts)
	if firsts["ordered"] != each || firsts["lost"] != 0 {
		t.Errorf("an order outlives its hold, and a hold without an order does not: %v", firsts)
	}
	for _, p := range alone {
		if p.lapsed != 1 {
			t.Errorf("%s was told %d times that the hold is gone", p.name, p.lapsed)
		}
	}
	truth, count := make([]byte, total), 0
	for _, p := range winners {
		if p.order == "" || !slices.Equal(p.tickets, p.seats) {
			t.Errorf("%s has tickets %v, want %v", p.name, p.tickets, p.seats)
		}
		for _, ticket := range p.tickets {
			truth[e.ordinal[ticket]] = seatSold
			count++
		}
	}
	var who []string
	for _, p := range losers {
		who = append(who, p.id)
		if p.hold != "" { // usually given back with the refusal
			p.at.call(http.StatusNoContent, "DELETE", "/v1/events/"+e.event+"/holds/"+p.hold, p.pass, "", nil)
		}
	}

	s.checkBooksSoon(t, n)
	if n := query[int](t, s, `select count(*) from tickets where event_id = $1 and status = 'purchased'`, e.event); n != count {
		t.Errorf("%d tickets are sold and %d were given out", n, count)
	}
	if n := query[int](t, s, `select count(*) from orders where visitor = any($1)`, who); n != 0 {
		t.Errorf("there are %d orders of those who were refused", n)
	}
	if n := query[int](t, s, `select count(*) from sandbox_payments where status <> 'captured'`); n != 0 {
		t.Errorf("the gateway has %d payments that came to nothing", n)
	}
	for _, at := range nodes {
		want := fmt.Sprint(map[string]any{
			"total": total, "available": total - count, "held": 0, "sold": count, "blocked": 0, "availability": "available",
		})
		var shown string
		if !poll(patience, func() bool {
			shown = fmt.Sprint(at.call(http.StatusOK, "GET", "/v1/events/"+e.event, "", "", nil).body["tickets"])
			return shown == want && slices.Equal(at.seatMap(e.event), truth)
		}) {
			t.Errorf("in the end %s shows %s and the map %v, want %s and %v", at.url, shown, at.seatMap(e.event), want, truth)
		}
	}
}
