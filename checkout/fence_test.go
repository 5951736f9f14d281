package checkout_test

import (
	"testing"
	"time"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
	"onsale/lua"
)

// lose makes Redis forget the event's inventory and one hold, as a failover to a
// replica that heard nothing of them does. Who may shop is remembered.
func (h *house) lose(hold checkout.Hold) {
	h.t.Helper()
	keys := []string{
		lua.StatusKey(h.event), lua.SeqKey(h.event), lua.CountKey(h.event), lua.ShapeKey(h.event), lua.TiersKey(h.event),
		lua.BoughtKey(h.event), lua.HoldExpiryKey(h.event), lua.HoldsKey(h.event), lua.HoldersKey(h.event),
	}
	for _, o := range hold.Ordinals {
		keys = append(keys, lua.HoldTicketKey(h.event, o))
	}
	if err := h.rdb.Del(h.t.Context(), keys...).Err(); err != nil {
		h.t.Fatal(err)
	}
}

// staleClaim stops a request for an order right after it has read its hold, until
// Redis has lost the hold and somebody else held the seat, ordered it and gave it up.
// Then the request claims the seat, which nobody has.
func staleClaim(t *testing.T, fenced bool) (h *house, o checkout.Order, err error) {
	t.Helper()
	var pinned func()
	h = newHouse(t, func(d *checkout.Deps) {
		d.Step = func(name string) {
			if do := pinned; name == checkout.StepPinned && do != nil {
				pinned = nil
				do()
			}
		}
	})
	if !fenced { // no claim leaves a trace on its ticket
		h.exec(`create function unfenced() returns trigger language plpgsql as
			'begin new.fence := 0; return new; end'`)
		h.exec(`create trigger unfenced before update on tickets for each row execute function unfenced()`)
	}
	ctx := t.Context()
	slow, quick := h.admit(time.Hour), h.admit(time.Hour)
	hold := h.hold(slow, 1)
	old, err := h.holds.Get(ctx, h.event, slow, hold.ID)
	if err != nil {
		t.Fatal(err)
	}
	pinned = func() {
		h.lose(hold)
		newer := h.hold(quick, 1)
		if got, err := h.holds.Get(ctx, h.event, quick, newer.ID); err != nil || got.Fence <= old.Fence {
			t.Errorf("the newer hold has fence %d, the older %d; %v", got.Fence, old.Fence, err)
		}
		if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: h.order(quick, newer).ID}); err != nil {
			t.Error(err)
		}
		if state := query[string](h, `select status from tickets where event_id = $1 and ordinal = 1`, h.event); state != "available" {
			t.Errorf("the ticket is %s; want it to be anybody's to claim", state)
		}
	}
	o, err = h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: slow, Hold: hold.ID, Buyer: buyer})
	return h, o, err
}

// TestStaleClaimIsRefused: the fence of a newer hold keeps an older one out, and
// nobody else.
func TestStaleClaimIsRefused(t *testing.T) {
	t.Parallel()
	h, o, err := staleClaim(t, true)
	if !fault.Is(err, fault.TicketsTaken) {
		t.Errorf("the stale claim: order %s, %v; want the tickets to be taken", o.Status, err)
	}
	if live := h.live(1); live != "A" {
		t.Errorf("the ticket is %s, want A", live)
	}
	visitor := h.admit(time.Hour)
	again := h.order(visitor, h.hold(visitor, 1))
	if o, err := h.Pay(t.Context(), key(), again.ID, payment.MethodOK); err != nil || o.Status != checkout.Paid {
		t.Errorf("pay: %s, %v", o.Status, err)
	}
	h.checkInvariants()
}

// TestStaleClaimWithoutTheFence is the same without what refuses it: then the claim
// gets through, so that the test above tests the fence.
func TestStaleClaimWithoutTheFence(t *testing.T) {
	t.Parallel()
	_, o, err := staleClaim(t, false)
	if err != nil || o.Status != checkout.AwaitingPayment {
		t.Errorf("the stale claim: order %s, %v; want that nothing else refuses it", o.Status, err)
	}
}
