package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"onsale/internal/redisconn"
	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

// person is a visitor with what their page keeps.
type person struct {
	name    string
	id      string
	token   string
	receipt string
	pass    string
	last    answer
}

func (p *person) keep(a answer) {
	p.last = a
	for field, at := range map[string]*string{"visitor": &p.id, "visitor_token": &p.token, "receipt": &p.receipt, "pass": &p.pass} {
		if text := a.str(field); text != "" {
			*at = text
		}
	}
}

func (p *person) place() float64 { v, _ := p.last.body["place"].(float64); return v }

// come joins with all that the page has kept.
func (n *node) come(event string, p *person) answer {
	n.t.Helper()
	body := map[string]any{}
	if p.receipt != "" {
		body["receipt"] = p.receipt
	}
	a := n.call(http.StatusOK, "POST", "/v1/rooms/"+event+"/join", p.token, "", body)
	p.keep(a)
	return a
}

// claim takes a turn.
func (n *node) claim(event string, p *person) {
	n.t.Helper()
	p.keep(n.call(http.StatusOK, "POST", "/v1/rooms/"+event+"/claim", p.token, "", nil))
}

// about is how an operator sees a visitor.
func (n *node) about(event string, p *person) answer {
	n.t.Helper()
	return n.call(http.StatusOK, "GET", "/v1/admin/rooms/"+event+"/visitors/"+p.id, adminToken, "", nil)
}

func (n *node) patch(event string, change map[string]any) {
	n.t.Helper()
	n.call(http.StatusOK, "PATCH", "/v1/admin/rooms/"+event, adminToken, "", change)
}

func (n *node) room(event string) answer {
	n.t.Helper()
	return n.call(http.StatusOK, "GET", "/v1/admin/rooms/"+event, adminToken, "", nil)
}

func (n *node) state(event string, p *person) string { return n.about(event, p).str("state") }

func moment(t *testing.T, a answer, field string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, a.str(field))
	if err != nil {
		t.Fatalf("%s of %s: %v", field, a, err)
	}
	return at
}

// overrun says in which window more came than burst and rate allow.
func overrun(at []time.Time, ratePerMinute, burst int) error {
	slices.SortFunc(at, time.Time.Compare)
	for i := range at {
		for j := i; j < len(at); j++ {
			if w := at[j].Sub(at[i]); float64(j-i+1) > float64(burst)+float64(ratePerMinute)*w.Minutes()+0.01 {
				return fmt.Errorf("%d were admitted within %v", j-i+1, w)
			}
		}
	}
	return nil
}

// sale is a room in the middle of a sale, with somebody in every state.
type sale struct {
	event                                         string
	shopper, ready, done, expired, left, comeback *person
	waiting                                       []*person
	leaseEnds, claimBy                            time.Time
	admitted                                      []time.Time // before
}

// returnWindow is long enough for everybody to come back within it, one by one.
const returnWindow = 20 * time.Second

const (
	saleRate  = 600
	saleBurst = 5
	hello     = "Doors are open. Have your card ready."
)

// midSale brings a room into the middle of a sale.
func midSale(t *testing.T, s *site, n *node) *sale {
	t.Helper()
	e := &sale{event: n.event(200, map[string]any{
		"rate_per_minute": saleRate, "burst": saleBurst, "max_shoppers": 5, "claim_window_s": 300, "lease_s": 3600, "grace_s": 3600,
	})}
	n.until(patience, "the door is open", func() bool {
		reason, closed := n.room(e.event).body["reason"].(string)
		return !closed || reason == ""
	})
	start := func(name string) *person {
		p := &person{name: name}
		n.come(e.event, p)
		return p
	}
	turn := func(p *person) {
		n.until(patience, p.name+" has a turn", func() bool { return n.state(e.event, p) == "ready" })
	}
	e.shopper, e.done = start("shopper"), start("done")
	for _, p := range []*person{e.shopper, e.done} {
		turn(p)
		n.claim(e.event, p)
	}
	n.patch(e.event, map[string]any{"claim_window_s": 5}) // which these two will miss
	e.expired, e.comeback = start("expired"), start("comeback")
	for _, p := range []*person{e.expired, e.comeback} {
		n.until(patience, p.name+" was let in", func() bool { return n.about(e.event, p).str("admitted_at") != "" })
	}
	e.leaseEnds = moment(t, e.shopper.last, "lease_ends")
	n.hold(e.event, e.shopper.pass, 2)
	order := n.call(http.StatusCreated, "POST", "/v1/orders", e.done.pass, "order", orderBody(n.hold(e.event, e.done.pass, 6))).str("order")
	n.call(http.StatusOK, "POST", "/v1/orders/"+order+"/pay", e.done.pass, "pay", map[string]any{"method": "tok_ok"})
	n.until(patience, "the buyer is done", func() bool { return n.state(e.event, e.done) == "done" })
	n.patch(e.event, map[string]any{"claim_window_s": 300})
	e.ready = start("ready")
	turn(e.ready)
	e.claimBy = moment(t, n.me(e.event, e.ready.token), "claim_by")
	n.patch(e.event, map[string]any{"max_shoppers": 1}) // full with those two
	e.left = start("left")
	n.call(http.StatusNoContent, "DELETE", "/v1/rooms/"+e.event+"/me", e.left.token, "", nil)
	n.until(patience, "two have missed their turn", func() bool {
		return n.about(e.event, e.expired).body["missed"] == 1.0 && n.about(e.event, e.comeback).body["missed"] == 1.0
	})
	place := e.comeback.place()
	n.come(e.event, e.comeback)
	if e.comeback.last.str("state") != "waiting" || e.comeback.place() != place {
		t.Fatalf("no second chance: %s", e.comeback.last)
	}
	n.patch(e.event, map[string]any{"grace_s": 0}) // the other one has none
	for i := range 20 {
		e.waiting = append(e.waiting, start(fmt.Sprintf("waiting %d", i)))
	}
	n.call(http.StatusOK, "POST", "/v1/admin/rooms/"+e.event+"/message", adminToken, "", map[string]any{"message": hello})
	for _, p := range []*person{e.shopper, e.done, e.expired, e.comeback, e.ready} {
		if a := n.about(e.event, p); a.str("admitted_at") != "" {
			e.admitted = append(e.admitted, moment(t, a, "admitted_at"))
		}
	}
	n.until(patience, "all of it is outside Redis", func() bool {
		return query[int](t, s, `select count(*) from room_turns where event_id = $1`, e.event) == 6 &&
			query[int](t, s, `select count(*) from room_turns where event_id = $1 and visitor = $2 and until is null`, e.event, e.comeback.id) == 1 &&
			query[int](t, s, `select count(*) from rooms where event_id = $1 and message = $2`, e.event, hello) == 1
	})
	return e
}

// settings of the room that a loss keeps.
func kept(a answer) map[string]any {
	out := map[string]any{}
	for _, field := range []string{"state", "order", "throttle", "message", "invite_only", "bypass", "challenge"} {
		out[field] = a.body[field]
	}
	return out
}

func connect(t *testing.T, url string) goredis.UniversalClient {
	t.Helper()
	rdb, err := redisconn.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// TestRedisEmptiedMidSale takes everything Redis knows away in the middle of a
// sale, with a visitor in every state and newcomers arriving meanwhile (G3, G4,
// G5): order is kept, nobody is admitted twice, shoppers keep their lease with the
// same end, nobody new goes before somebody who comes back, and the throttle holds
// over any window across the loss.
func TestRedisEmptiedMidSale(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(ctx context.Context, r *stack.Redis, rdb goredis.UniversalClient) error{
		"FLUSHALL": func(ctx context.Context, _ *stack.Redis, rdb goredis.UniversalClient) error {
			return rdb.FlushAll(ctx).Err()
		},
		"restarted with nothing": func(ctx context.Context, r *stack.Redis, _ goredis.UniversalClient) error {
			if err := r.Kill(); err != nil {
				return err
			}
			return r.Restart(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := stacktest.OwnRedis(t, stack.RedisOptions{})
			s := newSite(t, redis.URL(), stacktest.Database(t, migrate))
			window := "ONSALE_WAITROOM_RETURN_WINDOW=" + returnWindow.String()
			n, two := s.start(t, window), s.start(t, window)
			e := midSale(t, s, n)
			before := kept(n.room(e.event))
			lost := time.Now()
			if err := lose(t.Context(), redis, connect(t, redis.URL())); err != nil {
				t.Fatal(err)
			}

			// Newcomers arrive all the time, and would be let in if there were room.
			var newcomers []*person
			stop := make(chan struct{})
			var arriving sync.WaitGroup
			arriving.Go(func() {
				tick := time.NewTicker(250 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
					}
					a, err := two.try("POST", "/v1/rooms/"+e.event+"/join", "", "", map[string]any{})
					switch {
					case err != nil || a.status != http.StatusOK && a.status != http.StatusServiceUnavailable:
						t.Errorf("a newcomer: %s, %v", a, err)
					case a.status == http.StatusOK:
						p := &person{name: "newcomer"}
						p.keep(a)
						newcomers = append(newcomers, p)
						if a.str("state") != "waiting" {
							t.Errorf("a newcomer is %s", a)
						}
					}
				}
			})
			n.until(patience, "the room is back and says that it waits for those who had a place", func() bool {
				a, err := n.try("GET", "/v1/admin/rooms/"+e.event, adminToken, "", nil)
				return err == nil && a.str("reason") == "restoring"
			})
			t.Logf("the room is back after %v", time.Since(lost).Round(time.Millisecond))
			if after := kept(n.room(e.event)); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("settings were\n%v and are\n%v", before, after)
			}
			n.patch(e.event, map[string]any{"max_shoppers": 1000})

			// Everybody comes back, those from the end of the line first.
			for _, p := range slices.Backward(e.waiting) {
				was := p.place()
				if a := n.come(e.event, p); a.str("state") != "waiting" || p.place() != was {
					t.Errorf("%s came back to %s, had place %v", p.name, a, was)
				}
			}
			was := e.comeback.place()
			if a := two.come(e.event, e.comeback); a.str("state") != "waiting" || e.comeback.place() != was || a.body["ahead"] != 0.0 {
				t.Errorf("the second chance: %s, had place %v", a, was)
			}
			me := func(p *person) answer {
				return n.me(e.event, p.token)
			}
			if a := me(e.shopper); a.str("state") != "shopping" || !moment(t, a, "lease_ends").Equal(e.leaseEnds) {
				t.Errorf("the shopper: %s, the lease ended at %v", a, e.leaseEnds)
			}
			if a := me(e.ready); a.str("state") != "ready" || !moment(t, a, "claim_by").Equal(e.claimBy) {
				t.Errorf("whose turn it was: %s, the window ended at %v", a, e.claimBy)
			}
			for _, p := range []*person{e.done, e.expired, e.left} { // had their turn, and have no second one early
				if a := me(p); a.str("state") != p.name {
					t.Errorf("who is %s came back to %s", p.name, a)
				}
				if n.come(e.event, p); p.place() < e.waiting[19].place() {
					t.Errorf("who is %s joined again at place %v", p.name, p.place())
				}
			}
			n.claim(e.event, e.ready)
			n.until(patience, "the shopper can hold tickets again", func() bool {
				a, err := n.try("POST", "/v1/events/"+e.event+"/holds", e.shopper.pass, "", map[string]any{"best_available": map[string]any{"quantity": 1}})
				return err == nil && a.status == http.StatusCreated
			})
			line := append([]*person{e.comeback}, e.waiting...)
			n.until(patience, "all who came back have a turn", func() bool { return n.state(e.event, line[len(line)-1]) == "ready" })
			close(stop)
			arriving.Wait()
			last := newcomers[len(newcomers)-1]
			n.until(patience, "the last newcomer has a turn", func() bool { return n.state(e.event, last) == "ready" })

			all := slices.Clone(e.admitted)
			var prior time.Time
			for _, p := range append(line, newcomers...) {
				at := moment(t, n.about(e.event, p), "admitted_at")
				if at.Before(lost.Add(returnWindow)) {
					t.Errorf("%s was let in %v after the loss, within the return window", p.name, at.Sub(lost))
				}
				if at.Before(prior) {
					t.Errorf("%s at place %v was let in before the one before", p.name, p.place())
				}
				prior = at
				all = append(all, at)
			}
			for _, p := range []*person{e.done, e.expired, e.left} {
				if a := n.about(e.event, p); a.str("state") == "ready" {
					all = append(all, moment(t, a, "admitted_at"))
				}
			}
			if err := overrun(all, saleRate, saleBurst); err != nil {
				t.Error(err)
			}
			t.Logf("%d newcomers, %d admissions", len(newcomers), len(all))
		})
	}
}

// TestRedisWithAOFRestartedMidSale kills a Redis that keeps an append-only file:
// nothing at all is lost, and nobody has to show anything.
func TestRedisWithAOFRestartedMidSale(t *testing.T) {
	t.Parallel()
	redis := stacktest.OwnRedis(t, stack.RedisOptions{Dir: t.TempDir()})
	s := newSite(t, redis.URL(), stacktest.Database(t, migrate))
	n := s.start(t)
	e := midSale(t, s, n)
	people := append([]*person{e.shopper, e.ready, e.done, e.expired, e.left, e.comeback}, e.waiting...)
	see := func() (all []string) {
		for _, p := range people {
			a := n.about(e.event, p)
			delete(a.body, "wait")
			delete(a.body, "as_of")
			delete(a.body, "explanation") // tells times
			all = append(all, fmt.Sprint(p.name, a))
		}
		return all
	}
	before, room := see(), n.room(e.event)
	// While the disk is busy, the server puts writing off for up to two seconds.
	rdb := connect(t, redis.URL())
	n.until(patience, "all of it is in the file", func() bool {
		info, err := rdb.Info(t.Context(), "persistence").Result()
		return err == nil && strings.Contains(info, "\naof_buffer_length:0\r\n")
	})
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	a, err := n.try("POST", "/v1/rooms/"+e.event+"/join", "", "", map[string]any{})
	wantRefusal(t, a, err)
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.until(patience, "the node is ready again", func() bool {
		a, err := n.try("GET", "/readyz", "", "", nil)
		return err == nil && a.status == http.StatusOK
	})
	for i, now := range see() {
		if now != before[i] {
			t.Errorf("after the restart\n%s, before\n%s", now, before[i])
		}
	}
	after := n.room(e.event)
	if fmt.Sprint(kept(after)) != fmt.Sprint(kept(room)) || after.body["joined_total"] != room.body["joined_total"] || after.body["admitted_total"] != room.body["admitted_total"] {
		t.Errorf("the room was\n%s and is\n%s", room, after)
	}
	p := &person{name: "newcomer"}
	if a := n.come(e.event, p); a.body["ahead"] != float64(len(e.waiting)+1) || p.place() > 1000 {
		t.Errorf("a newcomer: %s", a)
	}
	n.claim(e.event, e.ready)
}
