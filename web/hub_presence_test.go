package web

import (
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"onsale/waitroom"
)

// eventuallyTrue polls for something that others bring about.
func eventuallyTrue(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func (h *hall) lookUp(visitor string) waitroom.Visitor {
	h.t.Helper()
	v, err := h.rooms.LookUp(h.t.Context(), testEvent, visitor)
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// Whose last page is closed is away, with the second last one they are not; whoever
// opens one again is there.
func TestHubNotesWhoIsAway(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	j := h.join()
	first, second := h.connect(j.Visitor), h.connect(j.Visitor)
	first.next()
	second.next()
	_ = first.ws.Close()
	other := h.join() // somebody who comes and goes in the meantime
	c := h.connect(other.Visitor)
	c.next()
	_ = c.ws.Close()
	eventuallyTrue(t, "the other to be away", func() bool { return !h.lookUp(other.Visitor).Gone.IsZero() })
	if v := h.lookUp(j.Visitor); !v.Gone.IsZero() {
		t.Errorf("away with one page open: %+v", v)
	}
	_ = second.ws.Close()
	eventuallyTrue(t, "both to be away", func() bool { return !h.lookUp(j.Visitor).Gone.IsZero() })
	h.connect(j.Visitor).next()
	if v := h.lookUp(j.Visitor); !v.Gone.IsZero() {
		t.Errorf("away though connected again: %+v", v)
	}
}

// Another node thought a visitor away, and they were passed over: the hub that they
// are connected to brings them back to the front.
func TestHubBringsBackWhoWasPassedOver(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	now := time.Now()
	h.redis.SetTime(now)
	j, other := h.join(), h.join()
	c := h.connect(j.Visitor)
	c.next()
	if err := h.rooms.Gone(t.Context(), testEvent, []string{j.Visitor}); err != nil {
		t.Fatal(err)
	}
	h.redis.SetTime(now.Add(5 * time.Minute))
	h.shopOpens()
	if v := h.lookUp(other.Visitor); v.State != waitroom.Ready {
		t.Fatalf("the next one: %+v", v)
	}
	eventuallyTrue(t, "the place to be back", func() bool { return h.lookUp(j.Visitor).State != waitroom.Away })
	if v := h.lookUp(j.Visitor); v.State != waitroom.Waiting || v.Place != *j.Place || v.Ahead != 0 {
		t.Errorf("brought back to %+v", v)
	}
	h.redis.SetTime(now.Add(5*time.Minute + time.Second))
	h.shopOpens()
	c.until("the turn", func(me waitroom.Me) bool { return me.State == waitroom.Ready && *me.Place == *j.Place })
}

// Somebody whom an operator moves to another lane is told so at once.
func TestHubTellsOfAnotherLane(t *testing.T) {
	t.Parallel()
	h := newHall(t, func(o *hubOptions) { o.calm = time.Hour })
	h.join()
	j := h.join()
	c := h.connect(j.Visitor)
	c.until("the place", func(me waitroom.Me) bool { return *me.Lane == "general" && *me.Ahead == 1 })
	if _, err := h.rooms.SetLane(t.Context(), testEvent, j.Visitor, waitroom.Staff); err != nil {
		t.Fatal(err)
	}
	c.until("the better lane", func(me waitroom.Me) bool { return *me.Lane == "staff" && *me.Ahead == 0 && *me.Place == *j.Place })
	if _, err := h.rooms.SetLane(t.Context(), testEvent, j.Visitor, waitroom.Suspect); err != nil {
		t.Fatal(err)
	}
	c.until("the worse lane", func(me waitroom.Me) bool { return *me.Lane == "suspect" && *me.Ahead == 1 })
}

// estimates counts the waits that came to their end.
func (h *hall) estimates() (n float64) {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "onsale_room_wait_estimates_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// How often the wait that was told is true can be measured.
func TestHubMeasuresItsEstimates(t *testing.T) {
	t.Parallel()
	h := newHall(t, nil)
	rate := 60
	now := time.Now()
	h.redis.SetTime(now) // so that nothing comes into the bucket between the two who join
	h.shopOpens()
	one := 1
	if err := h.rooms.Configure(t.Context(), testEvent, waitroom.Patch{Throttle: waitroom.ThrottlePatch{RatePerMinute: &rate, Burst: &one}}); err != nil {
		t.Fatal(err)
	}
	h.join() // takes what is in the bucket
	c := h.connect(h.join().Visitor)
	c.until("a wait", func(me waitroom.Me) bool { return me.Wait != nil })
	eventuallyTrue(t, "the turn", func() bool {
		now = now.Add(100 * time.Millisecond)
		h.redis.SetTime(now)
		h.shopOpens()
		return h.estimates() > 0
	})
}

// One network address cannot take all connections of a node.
func TestHubLimitsConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	h := newHall(t, func(o *hubOptions) { o.perAddress = 3 })
	var open []*client
	for range 3 {
		c := h.connect(h.join().Visitor)
		c.next()
		open = append(open, c)
	}
	if _, resp, err := (&websocket.Dialer{}).Dial(h.url+"?visitor="+h.join().Visitor, nil); err == nil || resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		t.Errorf("one more than allowed: %v, %v", resp, err)
	}
	if n := metric(t, h.hub.crowded); n != 1 {
		t.Errorf("%v refusals are counted", n)
	}
	_ = open[0].ws.Close()
	eventuallyTrue(t, "the connection to be forgotten", func() bool { return h.hub.Connections() == 2 })
	h.connect(h.join().Visitor).next()
}
