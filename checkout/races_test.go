package checkout_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// TestEndingTwice ends orders again whose seats somebody else has bought in
// the meantime: the live inventory must go on saying that they are sold.
func TestEndingTwice(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	cancelled := h.order(visitor, h.hold(visitor, 1))
	_, refunded := h.bought(2)
	for buyers := range 2 {
		if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: cancelled.ID}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.refund(refunded); err != nil {
			t.Fatal(err)
		}
		if buyers == 0 {
			h.bought(1, 2)
		}
	}
	if h.live(1) != "S" || h.live(2) != "S" {
		t.Errorf("live states are %s%s, want SS", h.live(1), h.live(2))
	}
}

// TestExpiryAfterTheClaim expires an order so late that its claim had run out
// and somebody else bought one of its seats.
func TestExpiryAfterTheClaim(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1, 2))
	h.exec(`update orders set pay_by = now() - interval '10 minutes' where id = $1`, o.ID)
	h.exec(`update tickets set reserved_until = now() - interval '8 minutes' where order_id = $1`, o.ID)
	// The hold lapsed as well.
	if err := h.holds.Settle(ctx, checkout.Settlement{
		Event: h.event, Hold: o.Hold, Visitor: visitor, Ordinals: []int{1, 2}, To: checkout.Available,
	}); err != nil {
		t.Fatal(err)
	}
	h.bought(2)
	if _, err := h.Expire(ctx, o.ID); err != nil {
		t.Fatal(err)
	}
	if h.live(1) != "A" || h.live(2) != "S" {
		t.Errorf("live states are %s%s, want AS", h.live(1), h.live(2))
	}
	h.checkInvariants()
}

// TestRefundOvertakesTheRequest lets the settle job commit a sale and an
// operator refund it while the buyer's own request still has to record it.
func TestRefundOvertakesTheRequest(t *testing.T) {
	t.Parallel()
	var at func()
	h := newHouse(t, func(d *checkout.Deps) {
		d.Step = func(name string) {
			if do := at; name == checkout.StepAuthorised && do != nil {
				at = nil
				do()
			}
		}
	})
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1))
	at = func() {
		id := query[string](h, `select id::text from payments where order_id = $1`, o.ID)
		if err := h.SettlePayment(ctx, id); err != nil {
			t.Error(err)
		}
		if _, err := h.refund(o); err != nil {
			t.Error(err)
		}
	}
	o, err := h.Pay(ctx, key(), o.ID, payment.MethodOK)
	if err != nil || o.Status != checkout.Refunded {
		t.Errorf("pay: %s, %v; want refunded", o.Status, err)
	}
	if h.live(1) != "A" {
		t.Errorf("live state is %s, want A", h.live(1))
	}
	h.hold(visitor, 1, 2, 3, 4) // nothing counts as bought
}

// TestLostClaimFreesTheRest loses one of two seats: the other one is for sale
// again at once, not when the hold lapses.
func TestLostClaimFreesTheRest(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	slow, quick := h.admit(time.Hour), h.admit(time.Hour)
	o := h.order(slow, h.hold(slow, 1, 2))
	_, p, _, err := h.orders.BeginPayment(ctx, key(), o.ID, payment.MethodOK, "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.gateway.Authorise(ctx, payment.Charge{Key: p.ID, Order: o.ID, Amount: 9000, Currency: "EUR", Method: payment.MethodOK}); err != nil {
		t.Fatal(err)
	}
	h.exec(`update tickets set reserved_until = now() - interval '1 second' where order_id = $1`, o.ID)
	quote := checkout.NewQuote(h.layout, []int{2}, nil)
	_, err = h.orders.CreateOrder(ctx, key(), checkout.NewOrder{
		ID: "01990000-0000-7000-8000-000000000001", Event: h.event, Visitor: quick, Hold: "elsewhere", Fence: 1 << 60,
		Items: checkout.ItemsOf(h.layout, []int{2}, quote), Quote: quote, Buyer: buyer, PayWithin: time.Minute, MaxPerBuyer: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.SettlePayment(ctx, p.ID); err != nil {
		t.Fatal(err)
	}
	if h.live(1) != "A" || h.live(2) != "H" {
		t.Errorf("live states are %s%s, want AH", h.live(1), h.live(2))
	}
	h.hold(quick, 1)
	h.work()
	h.checkInvariants()
}

// TestCaptureLostForgetsThePurchase: who lost their tickets because the money
// was gone may buy as many again.
func TestCaptureLostForgetsThePurchase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	visitor, o := h.bought(1, 2, 3, 4)
	id := query[string](h, `select id::text from payments where order_id = $1`, o.ID)
	if err := h.gateway.Void(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	h.work()
	if o, err := h.Order(t.Context(), o.ID); err != nil || o.Status != checkout.Cancelled {
		t.Fatalf("the order is %s, %v; want cancelled", o.Status, err)
	}
	h.hold(visitor, 1, 2, 3, 4)
	h.checkInvariants()
}

// TestEventCancelledWhilePaying cancels the event before and during an attempt.
func TestEventCancelledWhilePaying(t *testing.T) {
	t.Parallel()
	for _, step := range []string{checkout.StepOrdered, checkout.StepBegun, checkout.StepAuthorised} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			var h *house
			h = newHouse(t, func(d *checkout.Deps) {
				d.Step = func(name string) {
					if name == step {
						h.exec(`update events set status = 'cancelled' where id = $1`, h.event)
					}
				}
			})
			visitor := h.admit(time.Hour)
			o := h.order(visitor, h.hold(visitor, 1))
			got, err := h.Pay(t.Context(), key(), o.ID, payment.MethodOK)
			if step == checkout.StepOrdered {
				if !fault.Is(err, fault.Conflict) || query[int](h, `select count(*) from sandbox_payments`) != 0 {
					t.Errorf("pay: %s, %v; want a conflict and no charge", got.Status, err)
				}
				return
			}
			if err != nil || got.Status != checkout.Cancelled || h.live(1) != "A" {
				t.Errorf("pay: %s, %v, live %s; want the order cancelled", got.Status, err, h.live(1))
			}
			h.work()
			if ours, theirs := h.payment(o); ours != "voided" || theirs != "voided" {
				t.Errorf("the payment is %s here and %s at the gateway; want voided", ours, theirs)
			}
			h.checkInvariants()
		})
	}
}

// TestHoldEndsWithItsOrder stops one tab's request for an order while the other tab
// orders, cancels, and somebody else holds the seat: the request must not claim it
// for a hold that is over.
func TestHoldEndsWithItsOrder(t *testing.T) {
	t.Parallel()
	var pinned func()
	h := newHouse(t, func(d *checkout.Deps) {
		d.Step = func(name string) {
			if do := pinned; name == checkout.StepPinned && do != nil {
				pinned = nil
				do()
			}
		}
	})
	ctx := t.Context()
	visitor, other := h.admit(time.Hour), h.admit(time.Hour)
	hold := h.hold(visitor, 1)
	var theirs checkout.Hold
	pinned = func() {
		if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: h.order(visitor, hold).ID}); err != nil {
			t.Error(err)
		}
		theirs = h.hold(other, 1)
	}
	o, err := h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer})
	if !fault.Is(err, fault.HoldLapsed) {
		t.Errorf("order: %s, %v; want the hold to be over", o.Status, err)
	}
	o = h.order(other, theirs)
	if o, err = h.Pay(ctx, key(), o.ID, payment.MethodOK); err != nil || o.Status != checkout.Paid {
		t.Errorf("whose seat it is pays: %s, %v", o.Status, err)
	}
	h.checkInvariants()
}

// TestHoldOfAnEndedOrderIsGivenBack cancels an order without Redis hearing of it: who
// orders again by its hold is told to choose anew, and can.
func TestHoldOfAnEndedOrderIsGivenBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	hold := h.hold(visitor, 1)
	if _, err := h.orders.CancelOrder(ctx, nil, h.order(visitor, hold).ID, ""); err != nil {
		t.Fatal(err)
	}
	_, err := h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer})
	if !fault.Is(err, fault.HoldLapsed) {
		t.Errorf("order: %v; want the hold to be over", err)
	}
	h.order(visitor, h.hold(visitor, 1))
}

// TestReusedKeyLeavesTheOrderItsHold sends another body under the key of an
// order: the refusal must not loosen the order's hold.
func TestReusedKeyLeavesTheOrderItsHold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	hold := h.hold(visitor, 1)
	r := checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer}
	k := key()
	if _, err := h.CreateOrder(ctx, k, r); err != nil {
		t.Fatal(err)
	}
	k.Fingerprint = "g"
	if _, err := h.CreateOrder(ctx, k, r); !fault.Is(err, fault.KeyReused) {
		t.Errorf("another body under the key: %v", err)
	}
	if err := h.ReleaseHold(ctx, h.event, visitor, hold.ID); !fault.Is(err, fault.Conflict) {
		t.Errorf("the hold of an open order could be released: %v", err)
	}
}

// TestFreeOrderCapturedThenVoided: there is nothing to give back for tickets
// that cost nothing, and no refund of nothing may keep the payment open.
func TestFreeOrderCapturedThenVoided(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	h.exec(`update tickets set price_amount = 0 where event_id = $1`, h.event)
	_, o := h.bought(1)
	id := query[string](h, `select id::text from payments where order_id = $1`, o.ID)
	if err := h.gateway.Capture(ctx, id); err != nil { // the capture's worker stops here
		t.Fatal(err)
	}
	if _, err := h.refund(o); err != nil {
		t.Fatal(err)
	}
	h.work()
	if ours, _ := h.payment(o); ours != "voided" {
		t.Errorf("the payment is still %s", ours)
	}
	h.checkInvariants()
}

// hung is a gateway that never answers a look-up.
type hung struct{ payment.Gateway }

func (hung) Lookup(ctx context.Context, _ string) (payment.Result, error) {
	<-ctx.Done()
	return payment.Result{}, ctx.Err()
}

// TestHungGatewayKeepsNoTickets: the tickets of late orders are freed while
// reconciliation waits for a gateway that does not answer.
func TestHungGatewayKeepsNoTickets(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(d *checkout.Deps) { d.Gateway = hung{d.Gateway}; d.Options.GatewayTimeout = 14 * time.Second })
	a, b := h.admit(time.Hour), h.admit(time.Hour)
	waiting, late := h.order(a, h.hold(a, 1)), h.order(b, h.hold(b, 2))
	if _, _, _, err := h.orders.BeginPayment(t.Context(), key(), waiting.ID, payment.MethodOK, "sandbox"); err != nil {
		t.Fatal(err)
	}
	h.exec(`update orders set pay_by = now() - interval '1 minute' where id = $1`, late.ID)
	ctx, giveUp := context.WithCancel(t.Context())
	start, swept := time.Now(), make(chan error, 1)
	go func() {
		_, err := h.Sweep(ctx, 20*time.Second)
		swept <- err
	}()
	for late.Status != checkout.Expired {
		if waited := time.Since(start); waited > time.Minute {
			t.Fatalf("the late order is %s after %s", late.Status, waited)
		}
		<-time.After(10 * time.Millisecond)
		var err error
		if late, err = h.Order(t.Context(), late.ID); err != nil {
			t.Fatal(err)
		}
	}
	giveUp()
	if err := <-swept; !errors.Is(err, context.Canceled) {
		t.Errorf("the sweep that was given up: %v", err)
	}
}

// TestAttemptsEnd: an order is no place to try out cards.
func TestAttemptsEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1))
	for range 20 {
		if got, err := h.Pay(t.Context(), key(), o.ID, payment.MethodDeclined); err != nil || got.Status != checkout.Declined {
			t.Fatalf("pay: %s, %v", got.Status, err)
		}
	}
	if _, err := h.Pay(t.Context(), key(), o.ID, payment.MethodOK); !fault.Is(err, fault.Conflict) {
		t.Errorf("the 21st attempt: %v", err)
	}
}
