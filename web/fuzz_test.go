package web_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/payment"
	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/web"
)

// The fuzz targets send requests to a shop that is kept in memory and sells
// anything to anybody with the right token: what is fuzzed is the reading of
// requests.

const (
	fuzzEvent   = "0190b0a0-0000-7000-8000-000000000001"
	fuzzHold    = "0190b0a0-0000-7000-8000-000000000002"
	fuzzOrder   = "0190b0a0-0000-7000-8000-000000000003"
	fuzzTicket  = "0190b0a0-0000-7000-8000-000000000004"
	fuzzVisitor = "AAECAwQFBgcICQoLDA0ODw"
)

// willing is a catalog, a hold store and an order store that always answer.
type willing struct {
	web.Catalog
	web.Organiser
	checkout.HoldStore
	checkout.OrderStore

	layout *catalog.Layout
}

func (w *willing) Layout(_ context.Context, event string) (*catalog.Layout, error) {
	if event != fuzzEvent {
		return nil, fault.New(fault.NotFound, "no such event")
	}
	return w.layout, nil
}

func (w *willing) Event(_ context.Context, event string) (catalog.Event, error) {
	return catalog.Event{ID: event, Status: "on_sale", MaxPerBuyer: w.layout.MaxPerBuyer}, nil
}

func (w *willing) TicketEvent(_ context.Context, ticket string) (string, int, error) {
	if ordinal, ok := w.layout.Ordinal(ticket); ok {
		return fuzzEvent, ordinal, nil
	}
	return "", 0, fault.New(fault.NotFound, "no such ticket")
}

func (w *willing) Hold(_ context.Context, _, _, id string, want checkout.Wanted, ttl time.Duration, rules checkout.HoldRules) (checkout.HeldTickets, error) {
	n := len(want.Ordinals)
	for _, a := range want.Areas {
		if a.Quantity < 1 || a.Channel < 0 {
			panic("an area that makes no sense reached the store")
		}
		n += a.Quantity
	}
	if b := want.Best; b != nil {
		if b.Quantity < 1 || b.Accessible < 0 || b.Accessible > b.Quantity {
			panic("a search that makes no sense reached the store")
		}
		n += b.Quantity
	}
	if n < 1 || n > rules.Limit {
		panic("a hold of nothing, or over the limit, reached the store")
	}
	return checkout.HeldTickets{ID: id, Ordinals: want.Ordinals, Expires: time.Now().Add(ttl)}, nil
}

func (w *willing) Change(_ context.Context, c checkout.HoldChange, rules checkout.HoldRules) (checkout.HeldTickets, error) {
	if n := len(c.Add); n > rules.Limit || n+len(c.Drop) == 0 {
		panic("a change of nothing, or over the limit, reached the store")
	}
	return checkout.HeldTickets{ID: c.Hold, Ordinals: c.Add}, nil
}

func (w *willing) Channels(context.Context, string) ([]checkout.Channel, error) { return nil, nil }

func (w *willing) Get(_ context.Context, _, _, hold string) (checkout.HeldTickets, error) {
	return checkout.HeldTickets{ID: hold, Ordinals: []int{0}}, nil
}

func (w *willing) OfVisitor(context.Context, string, string) ([]checkout.HeldTickets, error) {
	return []checkout.HeldTickets{{ID: fuzzHold, Ordinals: []int{0}}}, nil
}

func (w *willing) Pin(_ context.Context, _, _, hold string, _ time.Duration) (checkout.HeldTickets, error) {
	return checkout.HeldTickets{ID: hold, Ordinals: []int{0}}, nil
}

func (w *willing) CreateOrder(_ context.Context, k checkout.Key, o checkout.NewOrder) (checkout.Order, error) {
	if k.Value == "" || o.Visitor != fuzzVisitor || o.Event != fuzzEvent || strings.ContainsAny(o.Buyer.Name+o.Buyer.Email, "\x00\r\n") {
		panic("an order that should have been refused reached the store")
	}
	return checkout.Order{ID: fuzzOrder, Event: o.Event, Status: checkout.AwaitingPayment, Buyer: o.Buyer}, nil
}

func (w *willing) Answered(_ context.Context, k checkout.Key) (checkout.Order, bool, error) {
	if k.Value == "" {
		panic("a key without a value reached the store")
	}
	return checkout.Order{}, false, nil
}

func (w *willing) Order(_ context.Context, order string) (checkout.Order, error) {
	if order != fuzzOrder {
		return checkout.Order{}, fault.New(fault.NotFound, "no such order")
	}
	return checkout.Order{ID: fuzzOrder, Event: fuzzEvent, Visitor: fuzzVisitor, Status: checkout.Cancelled}, nil
}

func (w *willing) Orders(context.Context, checkout.OrderQuery) (checkout.OrderPage, error) {
	return checkout.OrderPage{}, nil
}

func (w *willing) CancelOrder(context.Context, *checkout.Key, string, string) (checkout.Order, error) {
	return checkout.Order{ID: fuzzOrder, Event: fuzzEvent, Visitor: fuzzVisitor, Status: checkout.Cancelled}, nil
}

func (w *willing) Settle(context.Context, checkout.Settlement) error { return nil }

// OpenOrderFor finds an order that is paid, so that no gateway is asked.
func (w *willing) OpenOrderFor(context.Context, string, string) (checkout.Order, error) {
	return checkout.Order{ID: fuzzOrder, Event: fuzzEvent, Visitor: fuzzVisitor, Status: checkout.PaymentUnknown}, nil
}

// BeginPayment answers as for a key that was used before.
func (w *willing) BeginPayment(_ context.Context, k checkout.Key, _, _, _ string) (checkout.Order, checkout.Payment, bool, error) {
	if k.Value == "" {
		panic("a payment without a key reached the store")
	}
	return checkout.Order{ID: fuzzOrder, Event: fuzzEvent, Status: checkout.Declined}, checkout.Payment{}, true, nil
}

// fuzzShop returns the handler and one genuine token of each kind.
func fuzzShop(f *testing.F) (http.Handler, map[string]string) {
	f.Helper()
	log := slog.New(slog.DiscardHandler)
	w := &willing{layout: &catalog.Layout{
		Event: fuzzEvent, Currency: "EUR", MaxPerBuyer: 4, Sections: []catalog.Section{{Name: "Floor", GA: true, Count: 2}},
		Tiers: []catalog.Tier{{ID: fuzzTicket, Name: "Floor"}}, Seats: []catalog.Seat{{ID: fuzzTicket}, {ID: fuzzHold}},
	}}
	w.layout.Index()
	keys := pass.Generate()
	inventory, err := checkout.NewInventory(w, w, w, time.Now, log, nil)
	must(f, err)
	shop, err := checkout.New(checkout.Deps{
		Options: checkout.Options{HoldTTL: time.Minute, PayWithin: time.Minute, GatewayTimeout: time.Second},
		Catalog: w, Holds: w, Orders: w, Gateway: payment.NewSandbox(nil, 0), Inventory: inventory, Logger: log,
	})
	must(f, err)
	server, err := web.New(web.Deps{
		Roles: web.Roles{Shop: true}, PublicURL: &url.URL{Scheme: "http", Host: "shop.test"}, AdminToken: operator,
		Catalog: w, Organiser: w, Rooms: new(waitroom.Service), Shop: shop, Inventory: inventory, Keys: keys,
		Clock: time.Now, Logger: log, Registerer: prometheus.NewRegistry(),
	})
	must(f, err)
	now := time.Now()
	return server.Handler(), map[string]string{
		"pass":    keys.SignPass(pass.Pass{Visitor: fuzzVisitor, Event: fuzzEvent, Claimed: now, Expires: now.Add(24 * time.Hour)}),
		"visitor": keys.SignVisitor(fuzzVisitor, now.Add(24*time.Hour)),
		"order":   keys.SignOrder(fuzzOrder, now.Add(24*time.Hour)),
		"admin":   operator,
	}
}

// fuzzAsk sends a request and demands success, or a problem that is the client's.
func fuzzAsk(t *testing.T, handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	var problem struct{ Type, Detail string }
	switch {
	case w.Code >= 500:
		t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	case w.Code >= 400:
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Type == "" || problem.Detail == "" || w.Body.Len() > 4096 {
			t.Errorf("%s %s: %d, no good problem document (%v): %s", r.Method, r.URL, w.Code, err, w.Body)
		}
	case !json.Valid(w.Body.Bytes()):
		t.Errorf("%s %s: %d, no JSON: %s", r.Method, r.URL, w.Code, w.Body)
	}
	return w
}

// FuzzShopBodies holds that no body brings the shop down, and that none gets past
// its checks into the stores.
func FuzzShopBodies(f *testing.F) {
	handler, tokens := fuzzShop(f)
	routes := []struct{ method, path, token string }{
		{http.MethodPost, "/v1/events/" + fuzzEvent + "/holds", tokens["pass"]},
		{http.MethodPost, "/v1/orders", tokens["pass"]},
		{http.MethodPost, "/v1/orders/" + fuzzOrder + "/pay", tokens["order"]},
		{http.MethodPost, "/v1/orders/" + fuzzOrder + "/cancel", tokens["order"]},
		{http.MethodPost, "/reserve_ticket/", tokens["pass"]},
		{http.MethodPost, "/purchase_ticket/", tokens["pass"]},
		{http.MethodPatch, "/v1/events/" + fuzzEvent + "/holds/" + fuzzHold, tokens["pass"]},
	}
	for _, body := range []string{
		``, `{}`, `null`, `[`, `{"tickets":["` + fuzzTicket + `"]}`, `{"tickets":["` + fuzzTicket + `","` + fuzzTicket + `"]}`,
		`{"ordinals":[0,1]}`, `{"ordinals":[-1,9223372036854775807]}`, `{"best_available":{"quantity":2,"tier":"Floor","accessible":true}}`,
		`{"best_available":{"quantity":1e9}}`, `{"areas":[{"section":"Floor","quantity":2}]}`, `{"areas":[{"section":"Floor","quantity":-2}],"ordinals":[0]}`,
		`{"best_available":{"quantity":2,"accessible_seats":3,"split":true,"min_price":5,"max_price":-1}}`,
		`{"add":["` + fuzzTicket + `"],"drop_ordinals":[1]}`, `{"add_ordinals":[0,0]}`, `{"add":[],"add_ordinals":[]}`, `{"hold":"` + fuzzHold + `","buyer":{"name":"Ada","email":"ada@b.example"}}`,
		`{"hold":"` + fuzzHold + `","buyer":{"name":"A\u0000","email":"a@b.example\r\nBcc: c@d.example"}}`,
		`{"method":"tok_ok"}`, `{"ticket_id":"` + strings.ToUpper(fuzzTicket) + `","method":"tok_declined"}`, `{"ticket_id":7}`, "{\"a\":\"\xff\"}",
	} {
		for n := range routes {
			f.Add(uint8(n), "key", []byte(body))
		}
	}
	f.Add(uint8(1), "", []byte(`{"hold":"`+fuzzHold+`","buyer":{"name":"Ada","email":"ada@b.example"}}`))
	f.Add(uint8(0), strings.Repeat("k", 300), []byte(`{"ordinals":[0]}`))
	f.Fuzz(func(t *testing.T, n uint8, key string, body []byte) {
		to := routes[int(n)%len(routes)]
		r := httptest.NewRequestWithContext(t.Context(), to.method, to.path, strings.NewReader(string(body)))
		r.Header["Idempotency-Key"] = []string{key}
		r.Header.Set("Authorization", "Bearer "+to.token)
		fuzzAsk(t, handler, r)
	})
}

// FuzzCredentials holds that nobody gets in without a genuine token, whatever
// stands in the headers.
func FuzzCredentials(f *testing.F) {
	handler, tokens := fuzzShop(f)
	for _, token := range tokens {
		f.Add("Bearer "+token, "")
		f.Add("bearer  "+token+" ", "")
		f.Add("Basic "+token, "")
		f.Add("", "onsale_visitor="+token+"; onsale_pass_"+fuzzEvent+"="+token)
		f.Add("", `onsale_visitor="`+token+`"; a=b;; =; onsale_pass_=`+token)
	}
	f.Add("Bearer a.b.c", "onsale_visitor=\x00")
	f.Add("Bearer\t", ";;;=;")
	f.Add("Bearer "+strings.Repeat("x", 3000), strings.Repeat("onsale_pass_x=y; ", 100))
	asks := []struct{ method, path, body string }{
		{"GET", "/v1/events/" + fuzzEvent + "/holds", ""},
		{"GET", "/v1/orders/" + fuzzOrder, ""},
		{"POST", "/v1/orders", `{"hold":"` + fuzzHold + `","buyer":{"name":"Ada","email":"ada@b.example"}}`},
		{"GET", "/v1/admin/orders", ""},
	}
	f.Fuzz(func(t *testing.T, authorization, cookie string) {
		for _, ask := range asks {
			r := httptest.NewRequestWithContext(t.Context(), ask.method, ask.path, strings.NewReader(ask.body))
			r.Header.Set("Idempotency-Key", "key")
			if authorization != "" {
				r.Header["Authorization"] = []string{authorization}
			}
			if cookie != "" {
				r.Header["Cookie"] = []string{cookie}
			}
			if w := fuzzAsk(t, handler, r); w.Code >= 400 {
				continue
			}
			genuine := false
			for _, token := range tokens {
				genuine = genuine || strings.Contains(authorization+cookie, token)
			}
			if !genuine {
				t.Errorf("%s %s let in %q %q", ask.method, ask.path, authorization, cookie)
			}
		}
	})
}
