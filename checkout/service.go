package checkout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onsale/catalog"
	"onsale/checkout/payment"
)

// Catalog is what checkout reads about events.
type Catalog interface {
	Event(ctx context.Context, id string) (catalog.Event, error)
	Layout(ctx context.Context, event string) (*catalog.Layout, error)
}

// Options are the times and limits of a sale.
type Options struct {
	HoldTTL        time.Duration
	MaxExtensions  int
	PayWithin      time.Duration // from order to the end of its claim
	GatewayTimeout time.Duration
}

// Deps is what a Service is made of.
type Deps struct {
	Options    Options
	Catalog    Catalog
	Holds      HoldStore
	Orders     OrderStore
	Gateway    payment.Gateway
	Inventory  *Inventory
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Step is told the name of every step of a purchase right after it was
	// made durable, so that a test can stop the program there. May be nil.
	Step func(name string)
}

// Service sells tickets. It is safe for concurrent use and keeps no state.
type Service struct {
	opts      Options
	catalog   Catalog
	holds     HoldStore
	orders    OrderStore
	gateway   payment.Gateway
	inventory *Inventory
	log       *slog.Logger
	metrics   serviceMetrics
	step      func(string)
}

type serviceMetrics struct {
	holds    prometheus.Counter
	orders   prometheus.Counter
	sold     prometheus.Counter
	payments *prometheus.CounterVec
	// differences counts payments that the gateway's books have otherwise.
	differences prometheus.Counter
}

// New returns a Service. It does no I/O.
func New(d Deps) (*Service, error) {
	if d.Catalog == nil || d.Holds == nil || d.Orders == nil || d.Gateway == nil || d.Inventory == nil || d.Logger == nil {
		return nil, errors.New("checkout: Catalog, Holds, Orders, Gateway, Inventory and Logger are required")
	}
	o := d.Options
	if o.GatewayTimeout >= SettleAfter {
		return nil, fmt.Errorf("checkout: GatewayTimeout must be shorter than %s", SettleAfter)
	}
	if o.HoldTTL <= 0 || o.PayWithin <= 0 || o.GatewayTimeout <= 0 || o.MaxExtensions < 0 {
		return nil, errors.New("checkout: HoldTTL, PayWithin and GatewayTimeout must be positive")
	}
	s := &Service{
		opts: o, catalog: d.Catalog, holds: d.Holds, orders: d.Orders, gateway: d.Gateway,
		inventory: d.Inventory, log: d.Logger, step: d.Step,
		metrics: serviceMetrics{
			holds:  prometheus.NewCounter(prometheus.CounterOpts{Name: "onsale_holds_total", Help: "Holds made."}),
			orders: prometheus.NewCounter(prometheus.CounterOpts{Name: "onsale_orders_total", Help: "Orders created."}),
			sold:   prometheus.NewCounter(prometheus.CounterOpts{Name: "onsale_tickets_sold_total", Help: "Tickets sold."}),
			payments: prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "onsale_payments_total", Help: "Attempts to pay, by outcome.",
			}, []string{"outcome"}),
			differences: prometheus.NewCounter(prometheus.CounterOpts{
				Name: "onsale_payment_differences_total", Help: "Payments that the gateway's books had otherwise.",
			}),
		},
	}
	if s.step == nil {
		s.step = func(string) {}
	}
	if d.Registerer != nil {
		for _, c := range []prometheus.Collector{s.metrics.holds, s.metrics.orders, s.metrics.sold, s.metrics.payments, s.metrics.differences} {
			if err := d.Registerer.Register(c); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// Gateway names the payment gateway in use.
func (s *Service) Gateway() string { return s.gateway.Name() }
