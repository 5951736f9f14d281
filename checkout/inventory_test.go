package checkout_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
	"onsale/lua"
)

func TestViewCountsByTier(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	v := h.admit(time.Hour)
	if _, err := h.inventory.View(ctx, h.event); err != nil { // loads it
		t.Fatal(err)
	}
	h.hold(v, 0, 1)
	h.bought(20)
	view, err := h.inventory.Refresh(ctx, h.event)
	if err != nil {
		t.Fatal(err)
	}
	want := checkout.Counts{Total: 60, Available: 57, Held: 2, Sold: 1}
	if got := view.Stock; got.Counts != want ||
		fmt.Sprint(got.Tiers) != "[{20 18 2 0 0} {20 19 0 1 0} {20 20 0 0 0}]" {
		t.Errorf("stock is %+v by tier %v; want %+v", got.Counts, got.Tiers, want)
	}
}

// TestAuditMends lets Redis be wrong in every way it can be and looks whether
// two audits put it right, without touching what is right.
func TestAuditMends(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	h.bought(1, 2)
	holder := h.admit(time.Hour)
	h.hold(holder, 5) // a live hold: differs from Postgres and is right
	buyer := h.admit(time.Hour)
	h.order(buyer, h.hold(buyer, 7))

	wrong := map[int]string{
		1: "A", // sold in Postgres, lost in Redis
		3: "S", // sold in Redis only, as after a refund that Redis missed
		4: "H", // held by nobody
		7: "A", // claimed by an open order
	}
	for o, state := range wrong {
		if err := h.rdb.SetRange(ctx, lua.StatusKey(h.event), int64(o), state).Err(); err != nil {
			t.Fatal(err)
		}
	}
	mended, _, err := h.inventory.Audit(ctx, h.event)
	if err != nil || mended != 0 {
		t.Errorf("the first audit mended %d, %v; it should only look", mended, err)
	}
	mended, _, err = h.inventory.Audit(ctx, h.event)
	if err != nil || mended != len(wrong) {
		t.Errorf("the second audit mended %d, %v; want %d", mended, err, len(wrong))
	}
	for o, want := range map[int]string{0: "A", 1: "S", 2: "S", 3: "A", 4: "A", 5: "H", 6: "A", 7: "H"} {
		if got := h.live(o); got != want {
			t.Errorf("ticket %d is %s, want %s", o, got, want)
		}
	}
	for range 2 {
		if mended, _, err = h.inventory.Audit(ctx, h.event); err != nil || mended != 0 {
			t.Errorf("in health an audit mended %d, %v", mended, err)
		}
	}
}

// audits runs two audits, of which the second mends.
func (h *house) audits() {
	h.t.Helper()
	for range 2 {
		if _, _, err := h.inventory.Audit(h.t.Context(), h.event); err != nil {
			h.t.Fatal(err)
		}
	}
}

// TestHalfDoneAllotmentsAreMended stops between the two stores: what is kept is what
// Postgres says, whichever came first, and a code that was used up can be used again
// by whoever it was used by.
func TestHalfDoneAllotmentsAreMended(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	c, err := h.inventory.CreateChannel(ctx, h.event, "Fan club")
	if err != nil {
		t.Fatal(err)
	}
	digest := [32]byte{1}
	if err := h.inventory.Invite(ctx, h.event, c.ID, []checkout.NewInvite{{Digest: digest, Uses: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.inventory.Allot(ctx, h.event, c.ID, checkout.Selection{Ordinals: []int{0, 1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	// Kept in Redis, but not in Postgres yet; and given back in Postgres alone.
	if _, err := h.holds.Allot(ctx, h.event, c.Number, false, []int{5}); err != nil {
		t.Fatal(err)
	}
	if err := h.orders.SetChannel(ctx, h.event, "", []int{0}); err != nil {
		t.Fatal(err)
	}
	h.audits()
	for o, want := range map[int]string{0: "A", 1: "X", 3: "X", 5: "A"} {
		if got := h.live(o); got != want {
			t.Errorf("ticket %d is %s, want %s", o, got, want)
		}
	}

	fan := h.admit(time.Hour)
	if _, _, err := h.orders.UseInvite(ctx, h.event, fan, digest); err != nil { // Redis never hears of it
		t.Fatal(err)
	}
	ask := checkout.HoldRequest{Event: h.event, Visitor: fan, Ordinals: []int{1}}
	if _, err := h.Hold(ctx, ask); !fault.Is(err, fault.TicketsTaken) {
		t.Errorf("before Redis knows: %v", err)
	}
	if _, err := h.inventory.Enter(ctx, h.event, fan, digest); err != nil {
		t.Errorf("the same code again: %v", err)
	}
	hold, err := h.Hold(ctx, ask)
	if err != nil {
		t.Fatal(err)
	}
	h.order(fan, hold)
	if _, err := h.inventory.Enter(ctx, h.event, h.admit(time.Hour), digest); !fault.Is(err, fault.InviteInvalid) {
		t.Errorf("somebody else's code: %v", err)
	}
}

// TestWrongCountsAreMended: counts that do not add up are counted anew.
func TestWrongCountsAreMended(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	h.hold(h.admit(time.Hour), 5)
	if err := h.rdb.HIncrBy(ctx, lua.CountKey(h.event), lua.CountField('A', 0), 7).Err(); err != nil {
		t.Fatal(err)
	}
	h.audits()
	if s, err := h.holds.Stock(ctx, h.event); err != nil || s.Available != 59 || s.Held != 1 || s.Total != 60 {
		t.Errorf("stock is %+v, %v", s.Counts, err)
	}
}

// TestPartsGoMissing takes one key of the inventory after the other, as a Redis does
// that evicts what was not used lately, or one that an older version has filled.
// What is left is no inventory, and the next who asks loads it; live holds stay.
func TestPartsGoMissing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	h.bought(1)
	holder := h.admit(time.Hour)
	h.hold(holder, 5)
	for name, key := range map[string]string{
		"status": lua.StatusKey(h.event), "seq": lua.SeqKey(h.event), "count": lua.CountKey(h.event),
		"shape": lua.ShapeKey(h.event), "tiers": lua.TiersKey(h.event),
	} {
		for what, look := range map[string]func() (checkout.Stock, error){
			"stock": func() (checkout.Stock, error) { return h.holds.Stock(ctx, h.event) },
			"snapshot": func() (checkout.Stock, error) {
				s, err := h.holds.Snapshot(ctx, h.event)
				return s.Stock, err
			},
		} {
			if err := h.rdb.Del(ctx, key).Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := look(); !errors.Is(err, checkout.ErrNoInventory) {
				t.Errorf("%s without the %s: %v", what, name, err)
			}
			if err := h.inventory.Rebuild(ctx, h.event); err != nil {
				t.Fatal(err)
			}
			if s, err := look(); err != nil || s.Available != 58 || s.Held != 1 || s.Sold != 1 {
				t.Errorf("the %s after the %s was lost: %+v, %v", what, name, s, err)
			}
		}
	}
	h.hold(h.admit(time.Hour), 6)
}

// TestSeatsAreKeptForOthers changes which seats are accessible while an event is not on
// sale: what is loaded already follows, before anybody holds a seat again, and nothing of
// it is forgotten.
func TestSeatsAreKeptForOthers(t *testing.T) {
	t.Parallel()
	var cache *catalog.Cache
	h := newHouse(t, func(d *checkout.Deps) { cache, _ = d.Catalog.(*catalog.Cache) })
	ctx := t.Context()
	store := catalogpg.New(h.db, nil)
	// best looks what somebody would get.
	best := func(quantity, accessible int) ([]int, error) {
		v := h.admit(time.Hour)
		hold, err := h.Hold(ctx, checkout.HoldRequest{Event: h.event, Visitor: v, Best: &checkout.BestAvailable{
			Quantity: quantity, Tier: -1, Section: -1, Accessible: accessible,
		}})
		if err == nil {
			err = h.ReleaseHold(ctx, h.event, v, hold.ID)
		}
		return hold.Ordinals, err
	}
	h.bought(30)
	if _, err := best(1, 1); !fault.Is(err, fault.SoldOut) {
		t.Errorf("before, an accessible seat: %v", err)
	}
	before, err := h.holds.Snapshot(ctx, h.event)
	if err != nil {
		t.Fatal(err)
	}
	// The first two seats of the house are for who needs one, and who comes along.
	doc, err := store.EventDocument(ctx, h.event, true)
	if err != nil {
		t.Fatal(err)
	}
	marked := regexp.MustCompile(`"seat_number": ?"1"`).ReplaceAll(doc, []byte(`"attributes": ["accessible"], $0`))
	marked = regexp.MustCompile(`"seat_number": ?"2"`).ReplaceAll(marked, []byte(`"attributes": ["companion"], $0`))
	revise := func(status string) error {
		to, _, err := catalog.ParseEvent(regexp.MustCompile(`("status": ?)"\w+"`).ReplaceAll(marked, []byte(`$1"`+status+`"`)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.ReviseEvent(ctx, h.event, to, catalog.Revising{HoldsLast: time.Hour, Actor: "test"})
		cache.Changed(h.event)
		return err
	}
	if err := revise("on_sale"); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "while the event is on sale") {
		t.Errorf("on sale: %v", err)
	}
	if got, err := best(2, 0); err != nil || !slices.Equal(got, []int{0, 1}) {
		t.Errorf("before, the best two are %v, %v", got, err)
	}
	h.exec(`update events set status = 'draft' where id = $1`, h.event)
	h.exec(`update events set off_sale_at = now() - interval '61 minutes' where id = $1`, h.event)
	// On sale again by the same document.
	if err := revise("on_sale"); err != nil {
		t.Fatal(err)
	}
	if got, err := best(2, 0); err != nil || !slices.Equal(got, []int{2, 3}) {
		t.Errorf("the best two are %v, %v", got, err)
	}
	if got, err := best(2, 1); err != nil || !slices.Equal(got, []int{0, 1}) {
		t.Errorf("an accessible seat and the one beside it are %v, %v", got, err)
	}
	after, err := h.holds.Snapshot(ctx, h.event)
	if err != nil || after.Stock.Epoch != before.Stock.Epoch || after.Stock.Sold != 1 {
		t.Errorf("the inventory was loaded anew: %+v, was %+v, %v", after.Stock, before.Stock, err)
	}
	// A server that lost everything learns it with the rest.
	keys, err := h.rdb.Keys(ctx, "*{"+h.event+"}*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.rdb.Del(ctx, keys...).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := best(2, 1); err != nil || !slices.Equal(got, []int{0, 1}) {
		t.Errorf("after Redis forgot: %v, %v", got, err)
	}
}

// TestRunSweepsAndRebuilds runs the watch as a node does.
func TestRunSweepsAndRebuilds(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(d *checkout.Deps) { d.Options.HoldTTL = 500 * time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- h.inventory.Run(ctx, func(context.Context) ([]string, error) { return []string{h.event}, nil })
	}()
	v := h.admit(time.Hour)
	hold := h.hold(v, 5)
	delays := stacktest.Delays(t)
	for {
		late := time.Since(hold.ExpiresAt)
		if h.live(5) == "A" {
			break
		}
		if late -= delays(); late > time.Second {
			t.Errorf("the ticket was not freed %s after its hold's end, want within a second", late)
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}
