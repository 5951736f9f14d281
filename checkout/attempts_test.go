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

// lastPayment is the id of an order's last attempt to pay.
func (h *house) lastPayment(o checkout.Order) string {
	h.t.Helper()
	return query[string](h, `select id::text from payments where order_id = $1 order by attempt desc limit 1`, o.ID)
}

// TestNoticeOfAnAttemptUnderWay: a gateway announces a charge that it was told about
// and that nobody has confirmed yet. The request that is about to do so goes on.
func TestNoticeOfAnAttemptUnderWay(t *testing.T) {
	t.Parallel()
	var at func()
	h := newHouse(t, func(d *checkout.Deps) {
		d.Step = func(name string) {
			if name == checkout.StepBegun {
				at()
			}
		}
	})
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1))
	at = func() {
		if err := h.Notice(ctx, payment.Notice{ID: "evt_1", Key: h.lastPayment(o)}); err != nil {
			t.Error(err)
		}
	}
	o, err := h.Pay(ctx, key(), o.ID, payment.MethodOK)
	if err != nil || o.Status != checkout.Paid {
		t.Errorf("pay: %s, %v; want paid", o.Status, err)
	}
	h.work()
	h.checkInvariants()
}

// meddler does something once, after a charge was looked up or before it is voided.
type meddler struct {
	payment.Gateway
	looked, voids func(key string)
}

func (m *meddler) Lookup(ctx context.Context, key string) (payment.Result, error) {
	r, err := m.Gateway.Lookup(ctx, key)
	once(&m.looked, key)
	return r, err
}

func (m *meddler) Void(ctx context.Context, key string) error {
	once(&m.voids, key)
	return m.Gateway.Void(ctx, key)
}

func once(do *func(string), key string) {
	if f := *do; f != nil {
		*do = nil
		f(key)
	}
}

// TestPaidWhileTheGatewayWasAsked lets an attempt fail at the gateway, and somebody
// else end it and pay with another one before the first request is answered: it is not
// told that nothing was paid.
func TestPaidWhileTheGatewayWasAsked(t *testing.T) {
	t.Parallel()
	m := &meddler{}
	h := newHouse(t, func(d *checkout.Deps) { m.Gateway, d.Gateway = d.Gateway, m })
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1))
	m.looked = func(id string) {
		if err := h.SettlePayment(ctx, id); err != nil {
			t.Error(err)
		}
		if o, err := h.Pay(ctx, key(), o.ID, payment.MethodOK); err != nil || o.Status != checkout.Paid {
			t.Errorf("the other request: %s, %v", o.Status, err)
		}
	}
	got, err := h.Pay(ctx, key(), o.ID, payment.MethodError)
	if err != nil || got.Status != checkout.Paid {
		t.Errorf("the first request: %s, %v; want paid", got.Status, err)
	}
	h.work()
	h.checkInvariants()
}

// TestLateAuthorisationIsNotSold lets an attempt that was lost arrive just before it is
// voided, with a webhook about it: no sale is committed on it that the void would undo.
func TestLateAuthorisationIsNotSold(t *testing.T) {
	t.Parallel()
	m := &meddler{}
	h := newHouse(t, func(d *checkout.Deps) { m.Gateway, d.Gateway = d.Gateway, m })
	ctx := t.Context()
	visitor := h.admit(time.Hour)
	o := h.order(visitor, h.hold(visitor, 1))
	h.gateway.set("authorise", errors.New("the line is dead"), false)
	m.voids = func(id string) {
		_, err := h.gateway.Gateway.Authorise(ctx, payment.Charge{Key: id, Order: o.ID, Amount: 4500, Currency: "EUR", Method: payment.MethodOK})
		if err != nil {
			t.Error(err)
		}
		if err := h.Notice(ctx, payment.Notice{ID: "evt_1", Key: id}); err != nil {
			t.Error(err)
		}
		if o, err := h.Order(ctx, o.ID); err != nil || o.Status != checkout.AwaitingPayment {
			t.Errorf("with the void on its way the order is %s, %v", o.Status, err)
		}
	}
	if _, err := h.Pay(ctx, key(), o.ID, payment.MethodOK); !fault.Is(err, fault.GatewayUnavailable) {
		t.Errorf("the request: %v", err)
	}
	h.work()
	if _, theirs := h.payment(o); theirs != "voided" {
		t.Errorf("at the gateway it is %s", theirs)
	}
	h.gateway.set("authorise", nil, false)
	if o, err := h.Pay(ctx, key(), o.ID, payment.MethodOK); err != nil || o.Status != checkout.Paid {
		t.Errorf("another attempt: %s, %v", o.Status, err)
	}
	h.work()
	h.checkInvariants()
}
