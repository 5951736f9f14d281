package checkout_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
)

func TestPurchase(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	visitor := h.admit(time.Hour)
	hold := h.hold(visitor, 3, 4)
	if hold.Total.Amount != 9000 || hold.Total.Currency != "EUR" || len(hold.Tickets) != 2 {
		t.Errorf("hold = %+v", hold)
	}
	o := h.order(visitor, hold)
	if o.Status != checkout.AwaitingPayment || o.Total.Amount != 9000 || len(o.Items) != 2 {
		t.Fatalf("order = %+v", o)
	}
	if n := query[int](h, `select count(*) from tickets where status = 'reserved' and order_id = $1`, o.ID); n != 2 {
		t.Errorf("%d tickets are reserved, want 2", n)
	}
	o, err := h.Pay(t.Context(), key(), o.ID, payment.MethodOK)
	if err != nil || o.Status != checkout.Paid {
		t.Fatalf("pay: %s, %v", o.Status, err)
	}
	if h.live(3) != "S" || h.live(4) != "S" {
		t.Errorf("live states are %s%s, want SS", h.live(3), h.live(4))
	}
	h.work()
	o, err = h.Order(t.Context(), o.ID)
	if err != nil || o.Status != checkout.Fulfilled || o.Items[0].Code == "" || o.Items[0].Code == o.Items[1].Code {
		t.Errorf("order = %+v, %v", o, err)
	}
	if _, theirs := h.payment(o); theirs != "captured" {
		t.Errorf("the gateway has the payment as %s", theirs)
	}
	var history []checkout.OrderStatus
	for _, c := range o.History {
		history = append(history, c.Status)
	}
	want := []checkout.OrderStatus{checkout.AwaitingPayment, checkout.PaymentUnknown, checkout.Paid, checkout.Fulfilled}
	if len(history) != len(want) {
		t.Errorf("history = %v, want %v", history, want)
	}
	h.checkInvariants()
}

// TestManyBuyersOneSeat is G1 at its sharpest: however many want the seat at
// once, by whichever way, one gets it.
func TestManyBuyersOneSeat(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const buyers = 100
	visitors := make([]string, buyers)
	for i := range visitors {
		visitors[i] = h.admit(time.Hour)
	}
	var sold, refused atomic.Int32
	var wg sync.WaitGroup
	for _, visitor := range visitors {
		wg.Go(func() {
			ctx := t.Context()
			hold, err := h.Hold(ctx, checkout.HoldRequest{Event: h.event, Visitor: visitor, Ordinals: []int{7}})
			if err != nil {
				if !fault.Is(err, fault.TicketsTaken) {
					t.Errorf("hold: %v", err)
				}
				refused.Add(1)
				return
			}
			o, err := h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer})
			if err != nil {
				t.Errorf("order: %v", err)
				return
			}
			if o, err = h.Pay(ctx, key(), o.ID, payment.MethodOK); err != nil || o.Status != checkout.Paid {
				t.Errorf("pay: %s, %v", o.Status, err)
			}
			sold.Add(1)
		})
	}
	wg.Wait()
	if sold.Load() != 1 || refused.Load() != buyers-1 {
		t.Errorf("%d sold, %d refused; want 1 and %d", sold.Load(), refused.Load(), buyers-1)
	}
	h.work()
	h.checkInvariants()
}

// TestRedisForgetsHolds shows that Redis is a filter and not the truth: when it
// loses every hold, each seat is still sold once.
func TestRedisForgetsHolds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	first := h.admit(time.Hour)
	mine := h.hold(first, 5, 6)
	o := h.order(first, mine)
	// Redis loses the event.
	keys, err := h.rdb.Keys(ctx, "*{"+h.event+"}*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.rdb.Del(ctx, keys...).Err(); err != nil {
		t.Fatal(err)
	}
	second := h.admit(time.Hour)
	// The rebuilt inventory knows about the open order.
	_, err = h.Hold(ctx, checkout.HoldRequest{Event: h.event, Visitor: second, Ordinals: []int{6}})
	if !fault.Is(err, fault.TicketsTaken) {
		t.Errorf("a ticket of an open order could be held: %v", err)
	}
	o, err = h.Pay(ctx, key(), o.ID, payment.MethodOK)
	if err != nil || o.Status != checkout.Paid {
		t.Fatalf("pay: %s, %v", o.Status, err)
	}
	if h.live(5) != "S" {
		t.Errorf("live state is %s, want S", h.live(5))
	}
	h.work()
	h.checkInvariants()
}

// TestPostgresDecides lets Redis promise a seat that Postgres has sold.
func TestPostgresDecides(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	h.bought(8)
	// Redis is wrong: as after a failover to a replica that missed the sale.
	err := h.holds.Settle(ctx, checkout.Settlement{Event: h.event, Ordinals: []int{8}, To: checkout.Available})
	if err != nil {
		t.Fatal(err)
	}
	visitor := h.admit(time.Hour)
	hold := h.hold(visitor, 8, 9)
	_, err = h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer})
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.TicketsTaken {
		t.Fatalf("got %v, want tickets-taken", err)
	}
	taken, _ := f.Members["taken"].([]string)
	if len(taken) != 1 || taken[0] != h.layout.Seats[8].ID {
		t.Errorf("taken = %v, want the sold ticket alone", f.Members["taken"])
	}
	if h.live(8) != "S" || h.live(9) != "A" {
		t.Errorf("after the refusal the live states are %s%s, want SA", h.live(8), h.live(9))
	}
	h.checkInvariants()
}

func TestGateway(t *testing.T) {
	t.Parallel()
	broken := errors.New("the line is dead")
	for name, tc := range map[string]struct {
		method   string
		arrange  func(h *house)
		err      fault.Code
		status   checkout.OrderStatus // right after Pay
		mend     func(h *house)
		final    checkout.OrderStatus
		ours     string
		theirs   string
		payAgain bool // another method works afterwards
	}{
		"ok":       {method: payment.MethodOK, status: checkout.Paid, final: checkout.Fulfilled, ours: "captured", theirs: "captured"},
		"slow":     {method: payment.MethodSlow, status: checkout.Paid, final: checkout.Fulfilled, ours: "captured", theirs: "captured"},
		"declined": {method: payment.MethodDeclined, status: checkout.Declined, final: checkout.Declined, ours: "declined", theirs: "declined", payAgain: true},
		"the answer is lost": {
			method: payment.MethodTimeout, status: checkout.Paid, final: checkout.Fulfilled, ours: "captured", theirs: "captured",
		},
		"an error before any effect": {
			method: payment.MethodError, err: fault.GatewayUnavailable, final: checkout.AwaitingPayment, ours: "failed", theirs: "voided", payAgain: true,
		},
		"the first capture fails": {
			method: payment.MethodCaptureFailsOnce, status: checkout.Paid, final: checkout.Fulfilled, ours: "captured", theirs: "captured",
		},
		"answer and look-up are lost": {
			method:  payment.MethodTimeout,
			arrange: func(h *house) { h.gateway.set("lookup", broken, false) },
			status:  checkout.PaymentUnknown,
			mend:    func(h *house) { h.gateway.set("lookup", nil, false) },
			final:   checkout.Fulfilled, ours: "captured", theirs: "captured",
		},
		"the gateway is down, and then was never reached": {
			method: payment.MethodOK,
			arrange: func(h *house) {
				h.gateway.set("authorise", broken, false)
				h.gateway.set("lookup", broken, false)
			},
			status: checkout.PaymentUnknown,
			mend: func(h *house) {
				h.gateway.set("authorise", nil, false)
				h.gateway.set("lookup", nil, false)
			},
			final: checkout.AwaitingPayment, ours: "failed", theirs: "voided", payAgain: true,
		},
		"the capture's answer is lost": {
			method:  payment.MethodOK,
			arrange: func(h *house) { h.gateway.set("capture", broken, true) },
			status:  checkout.Paid,
			mend:    func(h *house) { h.work(); h.gateway.set("capture", nil, false); h.soon() },
			final:   checkout.Fulfilled, ours: "captured", theirs: "captured",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			if tc.arrange != nil {
				tc.arrange(h)
			}
			visitor := h.admit(time.Hour)
			o := h.order(visitor, h.hold(visitor, 1, 2))
			got, err := h.Pay(t.Context(), key(), o.ID, tc.method)
			if fault.CodeOf(err) != tc.err || got.Status != tc.status {
				t.Fatalf("pay: %q, %v; want %q, %q", got.Status, err, tc.status, tc.err)
			}
			if tc.mend != nil {
				tc.mend(h)
			}
			h.work()
			o, err = h.Order(t.Context(), o.ID)
			if err != nil || o.Status != tc.final {
				t.Errorf("the order ended %s, %v; want %s", o.Status, err, tc.final)
			}
			if ours, theirs := h.payment(o); ours != tc.ours || theirs != tc.theirs {
				t.Errorf("payment is %s here and %s at the gateway; want %s and %s", ours, theirs, tc.ours, tc.theirs)
			}
			if tc.payAgain {
				if o, err = h.Pay(t.Context(), key(), o.ID, payment.MethodOK); err != nil || o.Status != checkout.Paid {
					t.Errorf("another method: %s, %v", o.Status, err)
				}
				h.work()
			}
			h.checkInvariants()
		})
	}
}

func TestRequiresAction(t *testing.T) {
	t.Parallel()
	for name, approve := range map[string]bool{"approved": true, "refused": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			visitor := h.admit(time.Hour)
			o := h.order(visitor, h.hold(visitor, 1))
			o, err := h.Pay(t.Context(), key(), o.ID, payment.MethodRequiresAction)
			if err != nil || o.Status != checkout.AwaitingPayment || o.Payment.NextAction == nil {
				t.Fatalf("pay: %+v, %v", o, err)
			}
			id := query[string](h, `select id::text from payments where order_id = $1`, o.ID)
			if o.Payment.NextAction.URL != payment.ActionPath(id) {
				t.Errorf("the buyer is sent to %q", o.Payment.NextAction.URL)
			}
			sandbox, _ := h.gateway.Gateway.(*payment.Sandbox)
			if err := sandbox.Act(t.Context(), id, approve); err != nil {
				t.Fatal(err)
			}
			if err := h.SettlePayment(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			h.work()
			want := checkout.Declined
			if approve {
				want = checkout.Fulfilled
			}
			if o, err = h.Order(t.Context(), o.ID); err != nil || o.Status != want {
				t.Errorf("the order is %s, %v; want %s", o.Status, err, want)
			}
			h.checkInvariants()
		})
	}
}

func TestOrderIsIdempotent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	hold := h.hold(visitor, 1, 2)
	r := checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: buyer}
	k := key()
	first, err := h.CreateOrder(ctx, k, r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.CreateOrder(ctx, k, r)
	if err != nil || again.ID != first.ID {
		t.Errorf("the same key gave %s, %v; want %s", again.ID, err, first.ID)
	}
	other := k
	other.Fingerprint = "g"
	if _, err := h.CreateOrder(ctx, other, r); !fault.Is(err, fault.KeyReused) {
		t.Errorf("another body under the key: %v", err)
	}
	tab, err := h.CreateOrder(ctx, key(), r)
	if err != nil || tab.ID != first.ID {
		t.Errorf("a second tab with a key of its own got %s, %v; want %s", tab.ID, err, first.ID)
	}
	if _, err := h.CreateOrder(ctx, checkout.Key{Scope: "s"}, r); !fault.Is(err, fault.KeyMissing) {
		t.Errorf("no key: %v", err)
	}
	if n := query[int](h, `select count(*) from orders`); n != 1 {
		t.Errorf("there are %d orders, want 1", n)
	}
}

func TestPayIsIdempotent(t *testing.T) {
	t.Parallel()
	var paid, inFlight atomic.Int32
	h := newHouse(t, func(d *checkout.Deps) {
		d.Step = func(name string) {
			if name != checkout.StepBegun {
				return
			}
			// The first goes on only when another has come.
			for end := time.Now().Add(time.Minute); inFlight.Load() == 0 && time.Now().Before(end); {
				<-time.After(time.Millisecond)
			}
		}
	})
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1, 2))
	k := key()
	var wg sync.WaitGroup
	for range 20 { // a double click, twenty times over
		wg.Go(func() {
			got, err := h.Pay(t.Context(), k, o.ID, payment.MethodSlow)
			switch {
			case err == nil && got.Status == checkout.Paid:
				paid.Add(1)
			case fault.Is(err, fault.KeyInFlight):
				inFlight.Add(1)
			default:
				t.Errorf("pay: %s, %v", got.Status, err)
			}
		})
	}
	wg.Wait()
	if paid.Load() < 1 || inFlight.Load() < 1 {
		t.Errorf("%d paid, %d in flight", paid.Load(), inFlight.Load())
	}
	got, err := h.Pay(t.Context(), k, o.ID, payment.MethodSlow)
	if err != nil || got.Status != checkout.Paid {
		t.Errorf("the stored answer is %s, %v", got.Status, err)
	}
	got, err = h.Pay(t.Context(), key(), o.ID, payment.MethodOK)
	if err != nil || got.Status != checkout.Paid {
		t.Errorf("a fresh key for a paid order: %s, %v", got.Status, err)
	}
	if n := query[int](h, `select count(*) from sandbox_payments`); n != 1 {
		t.Errorf("the gateway was charged %d times", n)
	}
}

func TestLostClaimIsVoided(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	slow := h.admit(time.Hour)
	o := h.order(slow, h.hold(slow, 1, 2))
	// The attempt has begun, and takes longer than the claim lasts.
	_, p, _, err := h.orders.BeginPayment(ctx, key(), o.ID, payment.MethodOK, "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.gateway.Authorise(ctx, payment.Charge{Key: p.ID, Order: o.ID, Amount: 9000, Currency: "EUR", Method: payment.MethodOK}); err != nil {
		t.Fatal(err)
	}
	h.exec(`update tickets set reserved_until = now() - interval '1 second' where order_id = $1`, o.ID)
	// Meanwhile Redis has freed ticket 2 and somebody else buys it.
	if err := h.holds.Settle(ctx, checkout.Settlement{Event: h.event, Hold: o.Hold, Visitor: slow, Ordinals: []int{1, 2}, To: checkout.Available}); err != nil {
		t.Fatal(err)
	}
	_, quick := h.bought(2)
	if err := h.SettlePayment(ctx, p.ID); err != nil {
		t.Fatal(err)
	}
	h.work()
	if o, err = h.Order(ctx, o.ID); err != nil || o.Status != checkout.Cancelled {
		t.Errorf("the slow order is %s, %v; want cancelled", o.Status, err)
	}
	if ours, theirs := h.payment(o); ours != "voided" || theirs != "voided" {
		t.Errorf("the slow payment is %s here and %s at the gateway; want voided", ours, theirs)
	}
	if quick, err = h.Order(ctx, quick.ID); err != nil || quick.Status != checkout.Fulfilled {
		t.Errorf("the quick order is %s, %v; want fulfilled", quick.Status, err)
	}
	h.checkInvariants()
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1, 2))
	if ended, err := h.Expire(ctx, o.ID); err != nil || ended {
		t.Errorf("an order with time left: ended = %t, %v", ended, err)
	}
	h.exec(`update orders set pay_by = now() - interval '1 minute' where id = $1`, o.ID)
	if _, err := h.Pay(ctx, key(), o.ID, payment.MethodOK); !fault.Is(err, fault.Conflict) {
		t.Errorf("paying too late: %v", err)
	}
	h.work()
	o, err := h.Order(ctx, o.ID)
	if err != nil || o.Status != checkout.Expired {
		t.Errorf("the order is %s, %v; want expired", o.Status, err)
	}
	if h.live(1) != "A" || h.live(2) != "A" {
		t.Errorf("live states are %s%s, want AA", h.live(1), h.live(2))
	}
	h.bought(1, 2)
	h.checkInvariants()
}

func TestCancelAndRefund(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1))
	if o, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID}); err != nil || o.Status != checkout.Cancelled || h.live(1) != "A" {
		t.Errorf("cancel: %s, %v, live %s", o.Status, err, h.live(1))
	}
	if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: o.ID}); err != nil {
		t.Errorf("cancelling twice: %v", err)
	}

	_, early := h.bought(2) // not captured yet: the authorisation is voided
	if _, err := h.refund(early); err != nil {
		t.Fatal(err)
	}
	_, late := h.bought(3)
	h.work()
	if _, err := h.Cancel(ctx, nil, checkout.CancelRequest{Order: late.ID}); !fault.Is(err, fault.Conflict) {
		t.Errorf("cancelling a fulfilled order: %v", err)
	}
	for range 2 { // refunding twice gives the money back once
		if _, err := h.refund(late); err != nil {
			t.Fatal(err)
		}
	}
	h.work()
	if _, theirs := h.payment(early); theirs != "voided" {
		t.Errorf("the early refund left the payment %s", theirs)
	}
	if ours, _ := h.payment(late); ours != "refunded" {
		t.Errorf("the late refund left the payment %s", ours)
	}
	if n := query[int](h, `select coalesce(sum(amount), 0)::int from sandbox_refunds`); n != 4500 {
		t.Errorf("%d were given back, want 4500", n)
	}
	if h.live(2) != "A" || h.live(3) != "A" {
		t.Errorf("live states are %s%s, want AA", h.live(2), h.live(3))
	}
	h.bought(2, 3)
	h.work()
	h.checkInvariants()
}

// TestCaptureMeetsRefund refunds an order while its capture is under way.
func TestCaptureMeetsRefund(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	_, o := h.bought(1)
	id := query[string](h, `select id::text from payments where order_id = $1`, o.ID)
	if err := h.gateway.Capture(ctx, id); err != nil { // the capture's worker stops here
		t.Fatal(err)
	}
	if _, err := h.refund(o); err != nil {
		t.Fatal(err)
	}
	h.work()
	if n := query[int](h, `select refunded::int from sandbox_payments where id = $1`, id); n != 4500 {
		t.Errorf("%d were given back, want 4500", n)
	}
	if err := h.Capture(ctx, id); err != nil { // and its worker wakes up
		t.Errorf("late capture: %v", err)
	}
	h.checkInvariants()
}

func TestLimitCountsPurchases(t *testing.T) {
	t.Parallel()
	h := newHouse(t) // at most 4 per buyer
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1, 2, 3))
	if _, err := h.Pay(ctx, key(), o.ID, payment.MethodOK); err != nil {
		t.Fatal(err)
	}
	_, err := h.Hold(ctx, checkout.HoldRequest{Event: h.event, Visitor: visitor, Ordinals: []int{4, 5}})
	if !fault.Is(err, fault.LimitReached) {
		t.Errorf("Redis let a buyer of three hold two more: %v", err)
	}
	h.hold(visitor, 4)

	// And Postgres holds the line when Redis has forgotten what was bought.
	keys, err := h.rdb.Keys(ctx, "inv:{"+h.event+"}:bought").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("bought: %v, %v", keys, err)
	}
	if err := h.rdb.Del(ctx, keys...).Err(); err != nil {
		t.Fatal(err)
	}
	more := h.hold(visitor, 6, 7)
	_, err = h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: more.ID, Buyer: buyer})
	if !fault.Is(err, fault.LimitReached) {
		t.Errorf("Postgres let a buyer of three buy two more: %v", err)
	}
}

// TestLapsedClaimCounts: tickets whose claim has run out while the gateway is asked may
// still become the buyer's, and so count against their limit.
func TestLapsedClaimCounts(t *testing.T) {
	t.Parallel()
	for _, account := range []bool{false, true} {
		h := newHouse(t) // at most 4 per buyer
		ctx := t.Context()
		visitor := h.admit(time.Hour)
		o := h.order(visitor, h.hold(visitor, 1, 2, 3, 4))
		again := visitor
		if account {
			again = h.admit(time.Hour)
			h.exec(`insert into accounts (id, email) values ('01990000-0000-7000-8000-00000000000a', 'a@example.org')`)
			h.exec(`insert into users (id, visitor, name, email) values ('01990000-0000-7000-8000-00000000000b', $1, '', '')`, again)
			h.exec(`update users set account_id = '01990000-0000-7000-8000-00000000000a'`)
		}
		broken := errors.New("the line is dead")
		h.gateway.set("authorise", broken, true)
		h.gateway.set("lookup", broken, false)
		if o, err := h.Pay(ctx, key(), o.ID, payment.MethodOK); err != nil || o.Status != checkout.PaymentUnknown {
			t.Fatalf("pay: %s, %v", o.Status, err)
		}
		h.exec(`update tickets set reserved_until = now() - interval '1 second' where order_id = $1`, o.ID)
		quote := checkout.NewQuote(h.layout, []int{10}, nil)
		_, err := h.orders.CreateOrder(ctx, key(), checkout.NewOrder{
			ID: uuid.Must(uuid.NewV7()).String(), Event: h.event, Visitor: again, Hold: uuid.NewString(), Fence: 1 << 60,
			Items: checkout.ItemsOf(h.layout, []int{10}, quote), Quote: quote, Buyer: buyer, PayWithin: time.Minute, MaxPerBuyer: 4,
		})
		if !fault.Is(err, fault.LimitReached) {
			t.Errorf("with an account %t, a fifth ticket: %v", account, err)
		}
		h.gateway.set("authorise", nil, false)
		h.gateway.set("lookup", nil, false)
		h.work()
		if n := query[int](h, `select count(*) from tickets where status = 'purchased'`); n != 4 {
			t.Errorf("with an account %t, %d tickets were sold, want 4", account, n)
		}
		h.checkInvariants()
	}
}

func TestBuyerIsChecked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	visitor := h.admit(time.Hour)
	hold := h.hold(visitor, 1)
	for name, b := range map[string]checkout.Buyer{
		"no name":      {Email: "a@example.org"},
		"no e-mail":    {Name: "A"},
		"no address":   {Name: "A", Email: "example"},
		"two lines":    {Name: "A\r\nBcc: x@example.org", Email: "a@example.org"},
		"display name": {Name: "A", Email: "A <a@example.org>"},
	} {
		_, err := h.CreateOrder(t.Context(), key(), checkout.OrderRequest{Event: h.event, Visitor: visitor, Hold: hold.ID, Buyer: b})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForeignHold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := t.Context()
	owner, thief := h.admit(time.Hour), h.admit(time.Hour)
	hold := h.hold(owner, 1)
	_, err := h.CreateOrder(ctx, key(), checkout.OrderRequest{Event: h.event, Visitor: thief, Hold: hold.ID, Buyer: buyer})
	if !fault.Is(err, fault.Forbidden) {
		t.Errorf("order: %v", err)
	}
	if err := h.ReleaseHold(ctx, h.event, thief, hold.ID); !fault.Is(err, fault.Forbidden) {
		t.Errorf("release: %v", err)
	}
	if _, err := h.ExtendHold(ctx, h.event, thief, hold.ID); !fault.Is(err, fault.Forbidden) {
		t.Errorf("extend: %v", err)
	}
	if _, err := h.GetHold(ctx, h.event, owner, hold.ID); err != nil {
		t.Errorf("the owner's hold: %v", err)
	}
}
