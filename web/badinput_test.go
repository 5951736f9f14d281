package web_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"onsale/checkout/messages"
	"onsale/waitroom/pass"
	"onsale/web"
)

// credential is what a route asks for.
type credential int

const (
	openToAll credential = iota
	maybeVisitor
	aVisitor
	aPass
	anOrder
	aHolder
	aPassForTicket
	aSession
	anAdmin
)

// row is a good request to a route. TestBadInput spoils it in every way that the
// document suggests, and in the row's own.
type row struct {
	path string // with what the placeholders stand for
	body string
	form bool // the body is a form
	need credential

	queries []string // bad queries that the document does not tell
	bodies  []bad    // bad bodies that the document does not tell
	keyed   string   // an Idempotency-Key used before, with another body
	socket  bool
	spared  string // "ids": what does not exist is no error; "size": bodies may be as large as they like
}

// bad is a spoiled body, and what the answer's detail must name.
type bad struct{ body, named string }

// cast is who and what the rows are about.
type cast struct {
	*stage

	buyer     me // shops at the event
	rival     me // too
	foreigner me // shops at another event
	idle      me // waits for another event
	elsewhere string
	hold      hold
	channel   string // that the buyer is no member of
	code      string // for it
	webhook   string
	delivery  string // to it, that failed
	email     string // that was skipped
	venue     string // of the event, as the next three
	artist    string
	plan      string
	tier      string
	promo     string // id of the code SPRING
	series    string // of two dates
	open      order  // awaits payment; one attempt was declined
	done      order  // fulfilled
	payment   string // of done
	admission string // of its ticket
	holder    string // the token of who holds it
	account   string // of the buyer
	session   string // its
}

// seriesDocument is the document of its series, as one line.
func (c *cast) seriesDocument() string {
	c.t.Helper()
	return strings.TrimSpace(string(c.get("/v1/admin/series/"+c.series+"/document", asOperator).body))
}

const someHolder = `{"name":"Ada","email":"ada@friends.example"}`

func newCast(t *testing.T) *cast {
	c := &cast{stage: newStage(t, stageOptions{messages: messages.Options{WebhookWaits: []time.Duration{}}})}
	c.webhook = c.brokenWebhook()
	c.buyer, c.rival = c.admitted(c.event), c.admitted(c.event)
	c.elsewhere = c.newEvent("Elsewhere", "on_sale")
	c.foreigner = c.admitted(c.elsewhere)
	c.post("/v1/admin/rooms/"+c.elsewhere+"/pause", "", asOperator).ok(200, nil)
	c.idle = c.join(c.elsewhere)
	c.done = c.paid(c.ordered(c.buyer.Pass, c.held(c.event, c.buyer.Pass, c.tickets[0])), "tok_ok")
	c.open = c.paid(c.ordered(c.buyer.Pass, c.held(c.event, c.buyer.Pass, c.tickets[1])), "tok_declined")
	c.hold = c.held(c.event, c.buyer.Pass, c.tickets[2])
	c.channel, c.code = c.newChannel("Fan club", 1)
	c.series = c.newSeries("Weekly", "FREQ=WEEKLY;COUNT=2").ID
	var dates seriesAnswer
	c.get("/v1/series/"+c.series).ok(200, &dates)
	for _, d := range dates.Dates { // or they do something by themselves meanwhile
		c.post("/v1/admin/rooms/"+d.Event+"/pause", "", asOperator).ok(200, nil)
	}
	c.promo = c.newPromo(c.event, `{"code":"SPRING","percent":10}`)
	eventually(t, "fulfilled", func() order { return c.orderNow(c.done) }, func(o order) bool { return o.Status == "fulfilled" })
	var money struct {
		Payments []struct{ Payment string }
	}
	c.get("/v1/admin/orders/"+c.done.Order, asOperator).ok(200, &money)
	c.payment = money.Payments[0].Payment
	c.admission = query[string](c.stage, `select id::text from admissions where order_id = $1`, c.done.Order)
	c.holder = c.keys.SignHolder(c.admission, time.Now().Add(time.Hour))
	c.delivery = eventually(t, "a delivery fails", func() string {
		return query[string](c.stage, `select coalesce((select id::text from webhook_deliveries where status = 'failed'), '')`)
	}, func(id string) bool { return id != "" })
	c.account = query[string](c.stage, `insert into accounts (id, email, session_epoch) values (gen_random_uuid(), 'ada@buyers.example', 2) returning id::text`)
	c.session = c.sessionOf(2, time.Hour)
	c.email = query[string](c.stage, `select id::text from emails where order_id = $1`, c.done.Order)
	c.venue = query[string](c.stage, `select venue_id::text from events where id = $1`, c.event)
	c.artist = query[string](c.stage, `select artist_id::text from event_artists where event_id = $1`, c.event)
	c.plan = query[string](c.stage, `select plan_id::text from events where id = $1`, c.event)
	c.tier = query[string](c.stage, `select id::text from price_tiers where event_id = $1 and position = 0`, c.event)
	return c
}

func (c *cast) sessionOf(epoch int64, life time.Duration) string {
	return c.keys.SignSession(pass.Session{Account: c.account, Epoch: epoch, Expires: time.Now().Add(life)})
}

// brokenWebhook is told of paid orders, and refuses to hear of them.
func (c *cast) brokenWebhook() string {
	c.t.Helper()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	c.t.Cleanup(broken.Close)
	var made struct{ ID string }
	c.post("/v1/admin/webhooks", `{"url":"`+broken.URL+`","types":["order.paid"]}`, asOperator).ok(201, &made)
	return made.ID
}

// rows has one row for every route but the pages'.
func (c *cast) rows() map[string]row {
	event, room, admin := "/v1/events/"+c.event, "/v1/rooms/"+c.event, "/v1/admin/rooms/"+c.event
	open, done := "/v1/orders/"+c.open.Order, "/v1/orders/"+c.done.Order
	ticket := `{"ticket_id":"` + c.tickets[5] + `"}`
	var planOf struct {
		URL string `json:"plan_url"`
	}
	c.get(event).ok(200, &planOf)
	unknownTicket := bad{`{"ticket_id":"` + uuid.NewString() + `"}`, "no such ticket"}
	lists := []string{"cursor=x", "cursor=%00", "q=%ff", "q=%00", "limit=0", "limit=201"}
	times := []string{"from=yesterday", "to=2027-13-01", "from=2027-02-01&to=2027-01-01", "cursor=x", "cursor=%00", "name=%ff", "name=%zz", "limit=1e2",
		"q=%25%25", "q=-jazz", "q=%00", "q=a%0Ab", "q=" + strings.Repeat("a+", 50), "q=" + strings.Repeat("x", 10_000), "sort=price", "sort=relevance", "series=1", "series=%00"}
	tickets := []string{"cursor=x", "cursor=dDEuLTE", "status=sold", "section=%00", "attribute=soft", "limit=-1"}
	throttle := `{"rate_per_minute":1}`
	admission, moment := "/v1/admissions/"+c.admission, time.Now().UTC().Format(time.RFC3339)
	badHolders := []bad{
		{`{}`, "name"}, {``, "name"}, {`{"name":"A"}`, "email"}, {`{"name":"","email":"a@b.example"}`, "name"}, {`{"name":"A\u0000","email":"a@b.example"}`, "name"},
		{`{"name":"A","email":"a"}`, "email"}, {`{"name":"A","email":"A <a@b.example>"}`, "email"}, {`{"name":"` + strings.Repeat("ä", 201) + `","email":"a@b.example"}`, "name"},
	}
	newEvent := fmt.Sprintf(stageEvent, "Never", "draft")
	selections := []bad{
		{`{}`, "which"}, {`{"ordinals":[]}`, "which"}, {`{"ordinals":[60]}`, "60"}, {`{"ordinals":[7,7]}`, "twice"}, {`{"tickets":["x"]}`, `"x"`},
		{`{"ordinals":[7],"all":true}`, "which"}, {`{"section":"Loge"}`, "Loge"}, {`{"tier":"Loge"}`, "Loge"}, {`{"row":"1"}`, "section"},
		{`{"section":"Stalls","row":"99"}`, "no ticket"}, {`{"section":"Stalls","quantity":-1}`, "quantity"},
	}
	hook := "/v1/admin/webhooks/" + c.webhook
	webhooks := []bad{
		{`{"url":""}`, "url"}, {`{"url":"hooks"}`, "url"}, {`{"url":"ftp://hooks.example/"}`, "https"}, {`{"url":"https://u:p@hooks.example/"}`, "password"},
		{`{"url":"https://hooks.example/#x"}`, "url"}, {`{"url":"https://hooks.example/a b"}`, "url"}, {`{"url":"https://hooks.example/` + strings.Repeat("x", 2000) + `"}`, "url"},
		{`{"url":"https://hooks.example/","types":["order.lost"]}`, "types[0]"}, {`{"url":"https://hooks.example/","types":["order.paid","order.paid"]}`, "twice"},
		{`{"url":"https://hooks.example/","types":"order.paid"}`, "types"}, {`{"url":"https://hooks.example/","types":[7]}`, "types"},
		{`{"url":"https://hooks.example/","note":"` + strings.Repeat("n", 501) + `"}`, "note"}, {`{"url":"https://hooks.example/","note":"a\u0007"}`, "note"},
		{`{"url":"https://hooks.example/","secret":"whsec_x"}`, "secret"},
	}
	return map[string]row{
		"GET /healthz":                     {path: "/healthz"},
		"GET /robots.txt":                  {path: "/robots.txt"},
		"GET /sitemap.xml":                 {path: "/sitemap.xml"},
		"GET /sitemaps/:part":              {path: "/sitemaps/events-1.xml"},
		"GET /readyz":                      {path: "/readyz"},
		"GET /metrics":                     {path: "/metrics"},
		"GET /openapi.json":                {path: "/openapi.json"},
		"GET /docs":                        {path: "/docs"},
		"GET /.well-known/jwks.json":       {path: "/.well-known/jwks.json"},
		"GET /v1/events":                   {path: "/v1/events", queries: times},
		"GET /v1/events/:id":               {path: event},
		"GET /v1/series/:id":               {path: "/v1/series/" + c.series},
		"GET /v1/events/:id/tickets":       {path: event + "/tickets", queries: tickets},
		"GET /v1/events/:id/plan":          {path: event + "/plan"},
		"GET /v1/events/:id/plan/:version": {path: planOf.URL},
		"GET /v1/events/:id/event.ics":     {path: event + "/event.ics"},
		"GET /v1/events.ics":               {path: "/v1/events.ics", queries: append(slices.Clone(times), "to=2001-01-01")},
		"GET /v1/events/:id/live":          {path: event + "/live", socket: true},
		"GET /event/:id":                   {path: "/event/" + c.event, queries: tickets},
		"GET /event/search":                {path: "/event/search", queries: []string{"date_range=2027", "date_range=..x", "date_range=2027-02-01..2027-01-01", "cursor=x"}},
		"GET /sandbox/actions/:payment":    {path: "/sandbox/actions/" + uuid.NewString(), spared: "ids"},
		"POST /sandbox/actions/:payment": {
			path: "/sandbox/actions/" + uuid.NewString(), body: "answer=approve", form: true,
			bodies: []bad{{"", "answer"}, {"answer=perhaps", "answer"}, {"answer=%zz", "form"}},
		},
		"GET /v1/events/:id/availability": {path: event + "/availability"},
		"POST /v1/webhooks/:gateway":      {path: "/v1/webhooks/sandbox"}, // what is wrong with bodies: TestWebhooks

		"POST /v1/rooms/:event/join":     {path: room + "/join", body: `{"receipt":"x"}`, need: maybeVisitor},
		"GET /v1/rooms/:event/me":        {path: room + "/me", need: aVisitor},
		"DELETE /v1/rooms/:event/me":     {path: room + "/me", need: aVisitor},
		"POST /v1/rooms/:event/claim":    {path: room + "/claim", body: `{}`, need: aVisitor},
		"GET /v1/rooms/:event/ws":        {path: room + "/ws", queries: []string{"join=", "join=0", "join=true", "join=01"}, need: maybeVisitor, socket: true},
		"GET /v1/rooms/:event/check":     {path: room + "/check", queries: []string{"mode=x", "mode=Redirect"}, need: aPass},
		"GET /v1/rooms/:event/enter":     {path: room + "/enter", need: maybeVisitor},
		"GET /v1/rooms/:event/draw":      {path: room + "/draw", need: maybeVisitor},
		"POST /v1/rooms/:event/handover": {path: room + "/handover", body: `{}`, need: aVisitor},
		"POST /v1/rooms/:event/appeal": {
			path: room + "/appeal", body: `{"challenge":{"token":"x","answer":"1"}}`, need: aVisitor,
			bodies: []bad{{`{"challenge":7}`, "challenge"}, {`{"challenge":{"token":7}}`, "challenge.token"}},
		},

		"POST /v1/events/:id/holds": {
			path: event + "/holds", body: `{"tickets":["` + c.tickets[6] + `"]}`, need: aPass,
			bodies: []bad{
				{`{}`, "exactly one"}, {`null`, "exactly one"}, {``, "exactly one"},
				{`{"tickets":[]}`, "no ticket"}, {`{"tickets":["x"]}`, `"x"`}, {`{"tickets":[7]}`, "tickets"}, {`{"tickets":[null]}`, "no ticket"},
				{`{"tickets":["` + uuid.NewString() + `"]}`, "no ticket"},
				{`{"tickets":["` + c.tickets[6] + `","` + c.tickets[6] + `"]}`, "twice"},
				{`{"tickets":["` + strings.Join(c.tickets[6:11], `","`) + `"]}`, "at most 4"},
				{`{"tickets":["` + strings.Repeat(c.tickets[6]+`","`, 200) + `"]}`, "at most 4"},
				{`{"tickets":["` + c.tickets[6] + `"],"ordinals":[6]}`, "exactly one"},
				{`{"ordinals":[]}`, "no ticket"}, {`{"ordinals":[-1]}`, "-1"}, {`{"ordinals":[60]}`, "60"}, {`{"ordinals":[1.5]}`, "ordinals"}, {`{"ordinals":[1e300]}`, "ordinals"},
				{`{"best_available":{}}`, "quantity"}, {`{"best_available":{"quantity":0}}`, "quantity"}, {`{"best_available":{"quantity":-2}}`, "quantity"},
				{`{"best_available":{"quantity":5}}`, "at most 4"}, {`{"best_available":{"quantity":99999999999999999999}}`, "quantity"},
				{`{"best_available":{"quantity":"2"}}`, "quantity"}, {`{"best_available":{"quantity":1,"tier":"Loge"}}`, "Loge"},
				{`{"best_available":{"quantity":1,"tier":7}}`, "tier"}, {`{"best_available":{"quantity":1,"accessible":"yes"}}`, "accessible"},
				{`{"best_available":{"quantity":1,"together":true}}`, "together"},
				{`{"best_available":{"quantity":1,"section":"Loge"}}`, "Loge"}, {`{"best_available":{"quantity":1,"accessible_seats":2}}`, "accessible_seats"},
				{`{"best_available":{"quantity":2,"accessible":true,"split":true}}`, "split"}, {`{"best_available":{"quantity":1,"min_price":5,"max_price":4}}`, "max_price"},
				{`{"best_available":{"quantity":1,"channel":"Fans"}}`, "Fans"},
				{`{"areas":[]}`, "exactly one"}, {`{"areas":[{}]}`, "areas[0].section"}, {`{"areas":[{"section":"Stalls","quantity":1}]}`, "areas[0].section"},
				{`{"areas":[{"section":"Floor"}]}`, "areas[0].quantity"}, {`{"areas":[{"section":"Floor","quantity":5}]}`, "at most 4"},
				{`{"areas":[{"section":"Floor","quantity":1,"channel":"Fans"}]}`, "Fans"},
				{`{"areas":[{"section":"Floor","quantity":3}],"ordinals":[7,8]}`, "at most 4"},
			},
		},
		"GET /v1/events/:id/channels": {path: event + "/channels", need: aVisitor},
		"POST /v1/events/:id/channels": {
			path: event + "/channels", body: `{"code":"` + c.code + `"}`, need: aVisitor,
			bodies: []bad{{`{}`, "code"}, {`{"code":""}`, "code"}, {`{"code":7}`, "code"}, {`{"code":"` + strings.Repeat("A", 65) + `"}`, "code"}},
		},
		"GET /v1/events/:id/holds":       {path: event + "/holds", need: aPass},
		"GET /v1/events/:id/holds/:hold": {path: event + "/holds/" + c.hold.Hold, need: aPass},
		"PATCH /v1/events/:id/holds/:hold": {
			path: event + "/holds/" + c.hold.Hold, body: `{"add":["` + c.tickets[6] + `"]}`, need: aPass,
			bodies: []bad{
				{`{}`, "nothing"}, {``, "nothing"}, {`{"add":[]}`, "no ticket"}, {`{"add":["x"]}`, `"x"`}, {`{"drop_ordinals":[60]}`, "60"}, {`{"add_ordinals":[7,7]}`, "twice"},
				{`{"add":["` + c.tickets[6] + `"],"add_ordinals":[7]}`, "either"}, {`{"add_ordinals":[6,7,8,9,10]}`, "at most 4"}, {`{"add_ordinals":[6,7,8,9]}`, "at most 4"},
				{`{"drop":["` + c.tickets[2] + `"]}`, "nothing would be left"}, {`{"swap":[]}`, "swap"},
			},
		},
		"DELETE /v1/events/:id/holds/:hold": {path: event + "/holds/" + c.hold.Hold, need: aPass, spared: "ids"},
		"POST /v1/events/:id/holds/:hold/price": {
			path: event + "/holds/" + c.hold.Hold + "/price", body: `{"promo":"spring"}`, need: aPass,
			bodies: []bad{{`{"promo":7}`, "promo"}, {`{"promo":"` + strings.Repeat("x", 65) + `"}`, "promo"}, {`{"promo":"NO"}`, "no such promo code"}, {`{"code":"SPRING"}`, "code"}},
		},
		"POST /v1/events/:id/holds/:hold/extend": {path: event + "/holds/" + c.hold.Hold + "/extend", body: `{}`, need: aPass},
		"POST /v1/orders": {
			path: "/v1/orders", body: `{"hold":"` + c.hold.Hold + `",` + someBuyer + `}`, need: aPass,
			keyed: "order " + c.orderedHold(c.open),
			bodies: []bad{
				{`{"hold":"` + c.hold.Hold + `","promo":7,` + someBuyer + `}`, "promo"}, {`{"hold":"` + c.hold.Hold + `","promo":"` + strings.Repeat("x", 65) + `",` + someBuyer + `}`, "promo"},
				{`{"hold":"` + c.hold.Hold + `"}`, "buyer.name"}, {`{` + someBuyer + `}`, "hold"}, {`{"hold":"1",` + someBuyer + `}`, `"1"`},
				{`{"hold":"` + strings.ToUpper(strings.ReplaceAll(c.hold.Hold, "-", "")) + `",` + someBuyer + `}`, "hold"},
				{`{"hold":"` + uuid.NewString() + `",` + someBuyer + `}`, "hold"},
				{c.buys(`{"name":"","email":"a@b.example"}`), "buyer.name"}, {c.buys(`{"name":"A\u0000B","email":"a@b.example"}`), "buyer.name"},
				{c.buys(`{"name":"` + strings.Repeat("ä", 201) + `","email":"a@b.example"}`), "buyer.name"},
				{c.buys(`{"name":"A","email":"a"}`), "buyer.email"}, {c.buys(`{"name":"A","email":"A <a@b.example>"}`), "buyer.email"},
				{c.buys(`{"name":"A","email":"a@b.example\r\nBcc: x@y.example"}`), "buyer.email"},
				{c.buys(`{"name":"A","email":"` + strings.Repeat("a", 250) + `@b.example"}`), "buyer.email"},
				{c.buys(`{"name":"A","email":7}`), "buyer.email"}, {c.buys(`{"name":"A","email":"a@b.example","phone":"1"}`), "phone"}, {c.buys(`"A"`), "buyer"},
			},
		},
		"POST /v1/orders/:id/email": {path: done + "/email", body: `{}`, need: anOrder},
		"GET /v1/admin/webhooks":    {path: "/v1/admin/webhooks", need: anAdmin},
		"POST /v1/admin/webhooks": {
			path: "/v1/admin/webhooks", body: `{"url":"https://hooks.example/"}`, need: anAdmin,
			bodies: append(webhooks, bad{`{}`, "url"}, bad{``, "url"}, bad{`null`, "url"}, bad{`{"note":"x"}`, "url"}, bad{`{"url":7}`, "url"}),
		},
		"GET /v1/admin/webhooks/:id":    {path: hook, need: anAdmin},
		"DELETE /v1/admin/webhooks/:id": {path: hook, need: anAdmin},
		"PATCH /v1/admin/webhooks/:id": {
			path: hook, body: `{"note":"Other"}`, need: anAdmin,
			bodies: append(webhooks, bad{`{}`, "nothing"}, bad{``, "nothing"}, bad{`{"active":"yes"}`, "active"}, bad{`{"rotate_secret":1}`, "rotate_secret"}, bad{`{"rotate_secret":false}`, "nothing"}),
		},
		"POST /v1/admin/webhooks/:id/test":      {path: hook + "/test", body: `{}`, need: anAdmin},
		"GET /v1/admin/webhooks/:id/deliveries": {path: hook + "/deliveries", need: anAdmin, queries: []string{"status=lost", "cursor=x", "cursor=%00", "limit=0"}},
		"GET /v1/admin/webhooks/:id/replay": {
			path: hook + "/replay", need: anAdmin, queries: []string{
				"from=2031-05-01T19:00:00Z", "to=2031-05-01T19:00:00Z", "from=soon&to=2031-05-01T20:00:00Z", "from=2031-05-01T19:00:00Z&to=1",
				"from=2031-05-01T20:00:00Z&to=2031-05-01T20:00:00Z", "from=2031-05-01T19:00:00Z&to=2031-05-01T20:00:00Z&failed_only=yes",
			},
		},
		"POST /v1/admin/webhooks/:id/replay": {
			path: hook + "/replay", body: `{"from":"2031-05-01T19:00:00Z","to":"2031-05-01T20:00:00Z"}`, need: anAdmin,
			bodies: []bad{
				{`{}`, "from"}, {`{"to":"2031-05-01T20:00:00Z"}`, "from"}, {`{"from":"2031-05-01T20:00:00Z"}`, "to"}, {`{"from":"soon"}`, "soon"}, {`{"from":7}`, "time"},
				{`{"from":"2031-05-01T20:00:00Z","to":"2031-05-01T20:00:00Z"}`, "before"}, {`{"from":"2031-05-01T20:00:00Z","to":"2031-05-01T21:00:00Z","failed_only":"yes"}`, "failed_only"},
			},
		},
		"POST /v1/admin/webhooks/deliveries/:delivery/replay": {path: "/v1/admin/webhooks/deliveries/" + c.delivery + "/replay", body: `{}`, need: anAdmin},

		"POST /v1/account/code": {
			path: "/v1/account/code", body: `{"email":"ada@buyers.example"}`,
			bodies: []bad{
				{`{}`, "email"}, {``, "email"}, {`{"email":""}`, "email"}, {`{"email":"ada"}`, "email"}, {`{"email":"A <a@b.example>"}`, "email"},
				{`{"email":"a@b.example\u0000"}`, "email"}, {`{"email":"` + strings.Repeat("a", 250) + `@b.example"}`, "email"}, {`{"email":"a@b.example,c@d.example"}`, "email"},
			},
		},
		"POST /v1/account/session": {
			path: "/v1/account/session", body: `{"email":"ada@buyers.example","code":"7K3M-Q2XB"}`, need: maybeVisitor,
			bodies: []bad{
				{`{}`, "id_token"}, {``, "id_token"}, {`{"email":"ada@buyers.example"}`, "code"}, {`{"code":"7K3M-Q2XB"}`, "email"}, {`{"email":"ada@buyers.example","code":"7K3M"}`, "code"},
				{`{"email":"ada@buyers.example","code":"` + strings.Repeat("7", 65) + `"}`, "code"}, {`{"id_token":"` + strings.Repeat("x", 8193) + `"}`, "id_token"},
				{`{"email":"ada@buyers.example","code":"7K3M-Q2XB","id_token":"x"}`, "id_token"}, {`{"id_token":"a.b.c"}`, "not a way"},
			},
		},
		"GET /v1/account/oidc": {path: "/v1/account/oidc", queries: []string{
			"return=https://evil.example/", "return=//evil.example/", "return=%2F%5Cevil.example", "return=events", "return=/%09/evil.example", "return=/v1/account/oidc", "return=/x/../v1/events",
		}},
		"GET /v1/account/oidc/callback": {path: "/v1/account/oidc/callback"}, // sends everybody on: TestSignInAtIssuer
		"DELETE /v1/account/session":    {path: "/v1/account/session", body: `{"everywhere":true}`, need: aSession},
		"GET /v1/account":               {path: "/v1/account", need: aSession},
		"PATCH /v1/account": {
			path: "/v1/account", body: `{"name":"Ada"}`, need: aSession,
			bodies: []bad{{`{}`, "name"}, {``, "name"}, {`{"name":null}`, "name"}, {`{"name":"` + strings.Repeat("ä", 201) + `"}`, "name"}, {`{"name":"a\u0007"}`, "name"}},
		},
		"DELETE /v1/account":          {path: "/v1/account", body: `{"even_with_tickets":true}`, need: aSession, bodies: []bad{{`{}`, "open"}}},
		"GET /v1/account/orders":      {path: "/v1/account/orders", need: aSession, queries: []string{"cursor=x", "cursor=%00", "limit=101"}},
		"GET /v1/account/export":      {path: "/v1/account/export", need: aSession},
		"POST /v1/orders/:id/erase":   {path: open + "/erase", body: `{"even_with_tickets":true}`, need: anOrder, bodies: []bad{{`{}`, "open"}, {``, "open"}}},
		"GET /v1/admin/people/export": {path: "/v1/admin/people/export", need: anAdmin, queries: []string{"email=", "email=x", "email=%00", "email=a@b.example,c@d.example"}},
		"POST /v1/admin/people/erase": {
			path: "/v1/admin/people/erase", body: `{"email":"ada@buyers.example"}`, need: anAdmin,
			bodies: []bad{{`{}`, "email"}, {``, "email"}, {`{"email":"x"}`, "email"}, {`{"email":"nobody@elsewhere.example"}`, "nothing"}, {`{"email":"ada@buyers.example","even_with_tickets":true}`, "open"}},
		},
		"GET /v1/admin/emails":             {path: "/v1/admin/emails", need: anAdmin, queries: []string{"status=lost", "order=x", "cursor=x", "cursor=%00", "limit=201"}},
		"POST /v1/admin/emails/:id/resend": {path: "/v1/admin/emails/" + c.email + "/resend", body: `{}`, need: anAdmin},

		"GET /v1/orders/:id": {path: open, need: anOrder},
		"POST /v1/orders/:id/pay": {
			path: open + "/pay", body: `{"method":"tok_ok"}`, need: anOrder, keyed: "pay " + c.open.Order + "tok_declined",
			bodies: []bad{{`{}`, "method"}, {``, "method"}, {`{"method":"tok_gold"}`, "method"}, {`{"method":"` + strings.Repeat("x", 1000) + `"}`, "method"}},
		},
		"GET /v1/orders/:id/cancel":   {path: open + "/cancel", need: anOrder, queries: []string{"ticket=" + c.tickets[0] + "&ticket=" + c.tickets[0]}},
		"POST /v1/orders/:id/cancel":  {path: open + "/cancel", body: `{}`, need: anOrder, bodies: []bad{{`{"tickets":["x"]}`, "tickets[0]"}, {`{"tickets":["` + c.tickets[0] + `"]}`, "single tickets"}}},
		"GET /v1/orders/:id/exchange": {path: done + "/exchange", need: anOrder},
		"POST /v1/orders/:id/exchange/hold": {
			path: done + "/exchange/hold", body: `{"tickets":["` + c.tickets[0] + `"],"ordinals":[9]}`, need: anOrder,
			bodies: []bad{
				{`{"tickets":["x"],"ordinals":[9]}`, "tickets[0]"}, {`{"tickets":["` + c.tickets[0] + `"]}`, "areas"},
				{`{"tickets":["` + c.tickets[0] + `"],"ordinals":[9],"to":["` + c.tickets[1] + `"]}`, "exactly one"},
				{`{"tickets":["` + c.tickets[0] + `"],"ordinals":[-1]}`, "ordinal"}, {`{"tickets":["` + c.tickets[0] + `"],"areas":[{"section":"Nowhere","quantity":1}]}`, "areas[0]"},
			},
		},
		"DELETE /v1/orders/:id/exchange/hold":           {path: done + "/exchange/hold", need: anOrder},
		"POST /v1/orders/:id/exchange":                  {path: done + "/exchange", body: `{"tickets":["` + c.tickets[0] + `"],"hold":"` + c.hold.Hold + `"}`, need: anOrder, bodies: []bad{{`{"tickets":["x"]}`, "tickets[0]"}, {`{"tickets":[],"hold":"x"}`, "hold"}}},
		"GET /v1/orders/:id/tickets":                    {path: done + "/tickets", need: anOrder},
		"GET /v1/orders/:id/tickets/:ticket/qr.png":     {path: done + "/tickets/" + c.tickets[0] + "/qr.png", need: anOrder},
		"GET /v1/orders/:id/tickets.pdf":                {path: done + "/tickets.pdf", need: anOrder},
		"GET /v1/orders/:id/tickets/:ticket/ticket.pdf": {path: done + "/tickets/" + c.tickets[0] + "/ticket.pdf", need: anOrder},
		"POST /v1/orders/:id/tickets/:ticket/transfer":  {path: done + "/tickets/" + c.tickets[0] + "/transfer", body: someHolder, need: anOrder, bodies: badHolders},
		"GET /v1/admissions/:id":                        {path: admission, need: aHolder},
		"GET /v1/admissions/:id/ticket.pdf":             {path: admission + "/ticket.pdf", need: aHolder},
		"POST /v1/admissions/:id/transfer":              {path: admission + "/transfer", body: someHolder, need: aHolder, bodies: badHolders},

		"POST /v1/admin/scan": {
			path: "/v1/admin/scan", body: `{"code":"x"}`, need: anAdmin,
			bodies: []bad{
				{`{}`, "code"}, {``, "code"}, {`{"code":""}`, "code"}, {`{"code":"` + strings.Repeat("A", 257) + `"}`, "code"},
				{`{"code":"x","gate":"` + strings.Repeat("g", 65) + `"}`, "gate"}, {`{"code":"x","gate":"a\u0007"}`, "gate"},
				{`{"code":"x","event":"1"}`, "event"}, {`{"code":"x","id":"` + strings.Repeat("i", 65) + `"}`, "id"}, {`{"code":"x","id":"a\u0000"}`, "id"},
				{`{"code":"x","scanned_at":"2001-01-01T00:00:00Z"}`, "scanned_at"}, {`{"code":"x","scanned_at":"2999-01-01T00:00:00Z"}`, "scanned_at"},
				{`{"code":"x","scanned_at":"soon"}`, "soon"},
			},
		},
		"POST /v1/admin/scan/batch": {
			path: "/v1/admin/scan/batch", body: `{"scans":[{"id":"1","code":"x","scanned_at":"` + moment + `"}]}`, need: anAdmin, spared: "size",
			bodies: []bad{
				{`{}`, "scans"}, {`{"scans":[]}`, "scans"}, {`{"scans":[{}]}`, "scans[0].id"}, {`{"scans":[{"id":"1","code":"x"}]}`, "scans[0].scanned_at"},
				{`{"scans":[{"id":"1","code":"","scanned_at":"` + moment + `"}]}`, "scans[0]: code"}, {`{"scans":[{"id":"1","code":"x","scanned_at":"2001-01-01T00:00:00Z"}]}`, "scans[0]: scanned_at"},
				{`{"gate":"` + strings.Repeat("g", 65) + `","scans":[{"id":"1","code":"x","scanned_at":"` + moment + `"}]}`, "gate"},
				{`{"event":"x","scans":[{"id":"1","code":"x","scanned_at":"` + moment + `"}]}`, "event"}, {`{"scans":[` + strings.Repeat(`{},`, 1000) + `{}]}`, "1000"},
			},
		},
		"GET /v1/admin/events/:id/document": {path: "/v1/admin/events/" + c.event + "/document", need: anAdmin, queries: []string{"plan=1", "plan=yes", "format=yaml"}},
		"GET /v1/admin/series/:id/document": {path: "/v1/admin/series/" + c.series + "/document", need: anAdmin, queries: []string{"plan=1", "plan=yes", "format=yaml"}},
		"GET /v1/admin/events/:id/scanlist": {path: "/v1/admin/events/" + c.event + "/scanlist", need: anAdmin, queries: []string{"format=xml", "format=JSON"}},

		"POST /reserve_ticket":   {path: "/reserve_ticket", body: ticket, need: aPassForTicket, bodies: []bad{{`{}`, "ticket"}, {`{"ticket_id":"1"}`, "ticket"}, unknownTicket}},
		"POST /reserve_ticket/":  {path: "/reserve_ticket/", body: ticket, need: aPassForTicket, bodies: []bad{{`{}`, "ticket"}, {``, "ticket"}, unknownTicket}},
		"POST /purchase_ticket":  {path: "/purchase_ticket", body: ticket, need: aPassForTicket, bodies: []bad{{`{}`, "ticket"}, {ticket, "reserve"}, unknownTicket}},
		"POST /purchase_ticket/": {path: "/purchase_ticket/", body: ticket, need: aPassForTicket, bodies: []bad{{`{"ticket_id":"` + c.tickets[2] + `","method":"tok_gold"}`, "method"}, unknownTicket}},

		"GET /v1/admin/rooms":        {path: "/v1/admin/rooms", need: anAdmin},
		"GET /v1/admin/rooms/:event": {path: admin, need: anAdmin},
		"PATCH /v1/admin/rooms/:event": {
			path: admin, body: throttle, need: anAdmin,
			bodies: []bad{
				{`{"rate_per_minute":-1}`, "rate_per_minute"}, {`{"rate_per_minute":1000001}`, "rate_per_minute"}, {`{"burst":0}`, "burst"},
				{`{"max_shoppers":1.5}`, "max_shoppers"}, {`{"lease_s":9}`, "lease"}, {`{"lease_s":9223372036854775807}`, "lease"}, {`{"claim_window_s":3601}`, "claim_window"},
				{`{"burst":50,"lease_s":1}`, "lease"}, {`{"grace_s":-1}`, "grace"}, {`{"order":"lifo"}`, "order"}, {`{"challenge":"riddle"}`, "challenge"},
				{`{"opens_at":"soon"}`, "soon"}, {`{"opens_at":7}`, "time"}, {`{"closes_at":"1999-01-01T00:00:00Z"}`, "closes_at"},
				{`{"public_source":"a\u0007"}`, "public_source"}, {`{"autopilot":{"min_rate_per_minute":0}}`, "min_rate"},
				{`{"autopilot":{"target_p95_ms":1}}`, "target_p95_ms"}, {`{"autopilot":{"max_error_share":2}}`, "max_error_share"},
				{`{"autopilot":{"max_pool_share":0}}`, "max_pool_share"}, {`{"autopilot":{"speed":1}}`, "speed"}, {`{"bypass":"yes"}`, "bypass"},
			},
		},
		"POST /v1/admin/rooms/:event/:action": {
			path: admin + "/pause", body: `{"message":"Stop"}`, need: anAdmin,
			bodies: []bad{
				{`{"reason":"late"}`, "reason"}, {`{"cutoff":1}`, "cutoff"}, {`{"count":1}`, "count"}, {`{"public_value":"1"}`, "public_value"},
				{`{"message":"` + strings.Repeat("m", 501) + `"}`, "message"}, {`{"message":"a\u0007"}`, "message"},
			},
		},
		"POST /v1/admin/rooms/:event/invites": {
			path: admin + "/invites", body: `{"lane":"fan","count":1,"expires_at":"2099-01-01T00:00:00Z"}`, need: anAdmin,
			bodies: []bad{
				{`{}`, "lane"}, {`{"lane":"suspect","count":1,"expires_at":"2099-01-01T00:00:00Z"}`, "lane"}, {`{"lane":"fan","count":1}`, "expires_at"},
				{`{"lane":"fan","expires_at":"2099-01-01T00:00:00Z"}`, "number"}, {`{"lane":"fan","count":10001,"expires_at":"2099-01-01T00:00:00Z"}`, "number"},
				{`{"lane":"fan","emails":["nobody"],"expires_at":"2099-01-01T00:00:00Z"}`, "emails[0]"},
				{`{"lane":"fan","count":2,"emails":["a@b.example"],"expires_at":"2099-01-01T00:00:00Z"}`, "count"},
			},
		},
		"GET /v1/admin/rooms/:event/visitors/:visitor": {path: admin + "/visitors/" + pass.NewVisitor(), need: anAdmin, spared: "ids"},
		"POST /v1/admin/rooms/:event/visitors/:visitor": {
			path: admin + "/visitors/" + pass.NewVisitor(), body: `{"lane":"general"}`, need: anAdmin, spared: "ids",
			bodies: []bad{{`{}`, "lane"}, {`{"lane":"first"}`, "lane"}},
		},
		"GET /v1/admin/events":  {path: "/v1/admin/events", need: anAdmin, queries: times},
		"POST /v1/admin/events": {path: "/v1/admin/events", body: newEvent, need: anAdmin, spared: "size", bodies: []bad{{``, "event"}, {`null`, "object"}, {`{}`, "problems"}, {strings.Replace(newEvent, "{", `{"repeat":"FREQ=HOURLY;COUNT=2",`, 1), "$.repeat"}, {strings.Replace(newEvent, "{", `{"dates":[7],`, 1), "$.dates[0]"}}},
		"PATCH /v1/admin/events/:id": {
			path: "/v1/admin/events/" + c.event, body: `{"name":"Other"}`, need: anAdmin, queries: []string{"notify=1", "notify=no"},
			bodies: []bad{{`{}`, "nothing"}, {`{"name":"a\u0000"}`, "$.name"}, {`{"starts_at":"soon"}`, "soon"}, {`{"max_per_buyer":101}`, "$.max_per_buyer"}, {`{"status":"sold"}`, "$.status"}, {`{"single_seats":"never"}`, "$.single_seats"},
				{`{"fees":{}}`, "$.fees"}, {`{"fees":{"per_ticket":-1}}`, "$.fees.per_ticket"}, {`{"fees":{"per_order":1.5}}`, "fees.per_order"}, {`{"fees":{"per_row":1}}`, "per_row"},
				{`{"tax":{}}`, "$.tax.percent"}, {`{"tax":{"name":"VAT","percent":"100.001"}}`, "percent"}, {`{"tax":{"name":"VAT","percent":[]}}`, "percent"}, {`{"tax":{"percent":19}}`, "$.tax.name"},
				{`{"tax":{"name":7,"percent":19}}`, "name"}, {`{"tax":{"name":"VAT","percent":19,"code":1}}`, "code"}, {`{"tax":"19"}`, "object"},
				{`{"cancellation":{}}`, "until_hours"}, {`{"cancellation":{"until_hours":8761}}`, "until_hours"}, {`{"cancellation":{"until_hours":"48"}}`, "until_hours"},
				{`{"cancellation":{"until_hours":1,"fee":1}}`, "fee"},
			},
		},
		"GET /v1/admin/events/:id/promos": {
			path: "/v1/admin/events/" + c.event + "/promos", need: anAdmin,
			queries: []string{"cursor=x", "cursor=%27", "limit=1001", "code=%00", "code=" + strings.Repeat("x", 65), "used=1"},
		},
		"POST /v1/admin/events/:id/promos": {
			path: "/v1/admin/events/" + c.event + "/promos", body: `{"code":"AUTUMN","percent":"12.5"}`, need: anAdmin,
			bodies: []bad{
				{`{}`, "code"}, {``, "code"}, {`{"code":"AUTUMN"}`, "percent"}, {`{"code":"SPRING","percent":5}`, "already"}, {`{"code":"AU","percent":5}`, "code"},
				{`{"code":"` + strings.Repeat("A", 33) + `","percent":5}`, "code"}, {`{"code":"AU TUMN","percent":5}`, "code"}, {`{"code":"ÄPFEL","percent":5}`, "code"},
				{`{"code":"AUTUMN","percent":5,"amount":5}`, "amount"}, {`{"code":"AUTUMN","percent":0}`, "percent"}, {`{"code":"AUTUMN","percent":"1/2"}`, "percent"},
				{`{"code":"AUTUMN","percent":100.5}`, "percent"}, {`{"code":"AUTUMN","amount":0}`, "amount"}, {`{"code":"AUTUMN","amount":1000000000001}`, "amount"}, {`{"code":"AUTUMN","amount":1.5}`, "amount"},
				{`{"code":"AUTUMN","quantity":2,"percent":5}`, "quantity"}, {`{"quantity":0,"percent":5}`, "quantity"}, {`{"quantity":10001,"percent":5}`, "quantity"}, {`{"quantity":-1,"percent":5}`, "quantity"},
				{`{"quantity":2,"prefix":"` + strings.Repeat("P", 17) + `","percent":5}`, "prefix"}, {`{"quantity":2,"prefix":"a_","percent":5}`, "prefix"}, {`{"code":"AUTUMN","prefix":"A","percent":5}`, "prefix"},
				{`{"quantity":2,"max_uses":2,"percent":5}`, "max_uses"}, {`{"code":"AUTUMN","percent":5,"max_uses":0}`, "max_uses"}, {`{"code":"AUTUMN","percent":5,"per_buyer":10000001}`, "per_buyer"},
				{`{"code":"AUTUMN","percent":5,"starts_at":"soon"}`, "soon"}, {`{"code":"AUTUMN","percent":5,"starts_at":"2031-01-02T00:00:00Z","ends_at":"2031-01-01T00:00:00Z"}`, "ends_at"},
				{`{"code":"AUTUMN","percent":5,"ends_at":"1999-01-01T00:00:00Z"}`, "ends_at"}, {`{"code":"AUTUMN","percent":5,"note":"a\u0007"}`, "note"},
				{`{"code":"AUTUMN","percent":5,"note":"` + strings.Repeat("n", 201) + `"}`, "note"},
			},
		},
		"PATCH /v1/admin/events/:id/promos/:promo": {
			path: "/v1/admin/events/" + c.event + "/promos/" + c.promo, body: `{"note":"x"}`, need: anAdmin,
			bodies: []bad{
				{`{}`, "nothing"}, {``, "nothing"}, {`{"max_uses":0}`, "max_uses"}, {`{"max_uses":"many"}`, "whole number"}, {`{"per_buyer":-1}`, "per_buyer"}, {`{"starts_at":"soon"}`, "soon"},
				{`{"starts_at":"2031-01-02T00:00:00Z","ends_at":"2031-01-01T00:00:00Z"}`, "ends_at"}, {`{"note":"a\u0007"}`, "note"}, {`{"active":1}`, "active"}, {`{"code":"OTHER"}`, "code"},
			},
		},
		"GET /v1/admin/events/:id/channels": {path: "/v1/admin/events/" + c.event + "/channels", need: anAdmin},
		"POST /v1/admin/events/:id/channels": {
			path: "/v1/admin/events/" + c.event + "/channels", body: `{"name":"Sponsors"}`, need: anAdmin,
			bodies: []bad{{`{}`, "name"}, {`{"name":" "}`, "name"}, {`{"name":"a\u0007"}`, "name"}, {`{"name":"` + strings.Repeat("n", 101) + `"}`, "name"}, {`{"name":"` + c.channel + `"}`, "name"}, {`{"name":"Fan club"}`, "already"}},
		},
		"POST /v1/admin/events/:id/channels/:channel/allot": {
			path: "/v1/admin/events/" + c.event + "/channels/" + c.channel + "/allot", body: `{"ordinals":[7]}`, need: anAdmin, bodies: selections,
		},
		"POST /v1/admin/events/:id/channels/:channel/release": {
			path: "/v1/admin/events/" + c.event + "/channels/" + c.channel + "/release", body: `{"ordinals":[7]}`, need: anAdmin, bodies: selections,
		},
		"POST /v1/admin/events/:id/channels/:channel/invites": {
			path: "/v1/admin/events/" + c.event + "/channels/" + c.channel + "/invites", body: `{"count":1}`, need: anAdmin,
			bodies: []bad{
				{`{"count":0}`, "count"}, {`{"count":1001}`, "count"}, {`{"uses":0}`, "uses"}, {`{"uses":100001}`, "uses"}, {`{"note":"a\u0007"}`, "note"},
				{`{"note":"` + strings.Repeat("n", 201) + `"}`, "note"}, {`{"expires_at":"2001-01-01T00:00:00Z"}`, "expires_at"}, {`{"expires_at":"soon"}`, "soon"},
			},
		},
		"PUT /v1/admin/events/:id": {
			path: "/v1/admin/events/" + c.event, body: `{"name":"Other"}`, need: anAdmin, spared: "size", queries: []string{"dry_run=1", "dry_run=yes", "notify=1", "notify=no"},
			bodies: []bad{
				{``, "nothing"}, {`null`, "nothing"}, {`{"venue":{"name":"The mill"}}`, "$.name"}, {`{"room":{}}`, "problems"}, {`{"currency":7}`, "$.currency"},
				{`{"id":"` + c.elsewhere + `","name":"N","starts_at":"2031-05-01T19:00:00Z","venue":{"name":"V"},"currency":"EUR","areas":[{"name":"A","capacity":1,"price":1}]}`, "$.id"},
				{`{"name":"N","starts_at":"2031-05-01T19:00:00Z","venue":{"name":"V"},"currency":"EUR","areas":[{"name":"A","capacity":1,"price":1}]}`, "$.venue"},
			},
		},
		"PUT /v1/admin/series/:id": {
			path: "/v1/admin/series/" + c.series, body: c.seriesDocument(), need: anAdmin, spared: "size", queries: []string{"dry_run=1", "dry_run=yes", "notify=1", "notify=no", "plan=true"},
			bodies: []bad{
				{``, "event"}, {`null`, "object"}, {`{}`, "problems"}, {newEvent, "$.dates"}, {strings.Replace(newEvent, "{", `{"repeat":"FREQ=HOURLY;COUNT=2",`, 1), "$.repeat"},
				{strings.Replace(newEvent, "{", `{"id":"`+c.elsewhere+`","repeat":"FREQ=DAILY;COUNT=2",`, 1), "$.id"},
				{strings.Replace(c.seriesDocument(), `"currency":"EUR"`, `"currency":"USD"`, 1), "$.currency"},
				{strings.Replace(c.seriesDocument(), `"lease_s":600`, `"lease_s":1`, 1), "$.room.lease_s"},
			},
		},
		"POST /v1/admin/events/:id/publish": {
			path: "/v1/admin/events/" + c.event + "/publish", body: `{}`, need: anAdmin,
			bodies: []bad{
				{`{"starts_at":"1999-01-01T00:00:00Z"}`, "starts_at"}, {`{"starts_at":"2031-05-02T19:00:00Z"}`, "postpone"}, {`{"starts_at":"2031-05-02T19:00:00Z","doors_at":"2031-05-02T20:00:00Z"}`, "doors_at"},
				{`{"opens_at":"1999-01-01T00:00:00Z"}`, "opens_at"}, {`{"opens_at":"2031-01-01T00:00:00Z","lobby_opens_at":"2031-01-01T00:00:01Z"}`, "lobby_opens_at"}, {`{"message":"\u0000"}`, "message"},
			},
		},
		"POST /v1/admin/events/:id/postpone": {
			path: "/v1/admin/events/" + c.event + "/postpone", body: `{}`, need: anAdmin,
			bodies: []bad{{`{"starts_at":"2301-01-01T00:00:00Z"}`, "starts_at"}, {`{"opens_at":"2031-01-01T00:00:00Z"}`, "opens_at"}, {`{"lobby_opens_at":"2031-01-01T00:00:00Z"}`, "publish"}},
		},
		"PATCH /v1/admin/events/:id/tiers/:tier": {
			path: "/v1/admin/events/" + c.event + "/tiers/" + c.tier, body: `{"name":"Other"}`, need: anAdmin,
			bodies: []bad{{`{}`, "nothing"}, {`{"color":"red"}`, "$.color"}, {`{"amount":-1}`, "$.amount"}, {`{"amount":1}`, "on sale"}, {`{"name":" "}`, "$.name"}},
		},
		// Its bodies: TestBrokenFilesOfTickets.
		"POST /v1/admin/events/:id/tickets": {path: "/v1/admin/events/" + c.event + "/tickets", need: anAdmin, queries: []string{"dry_run=1"}},
		"GET /v1/admin/venues":              {path: "/v1/admin/venues", need: anAdmin, queries: lists},
		"POST /v1/admin/venues": {
			path: "/v1/admin/venues", body: `{"name":"Hall"}`, need: anAdmin,
			bodies: []bad{{`{}`, "name"}, {`{"name":" "}`, "name"}, {`{"name":"a\u0000"}`, "$.name"}, {`{"name":"H","country":"de"}`, "$.country"}, {`{"name":"H","timezone":"Mars"}`, "$.timezone"}, {`{"name":"H","timezone":""}`, "$.timezone"}},
		},
		"GET /v1/admin/venues/:id":    {path: "/v1/admin/venues/" + c.venue, need: anAdmin},
		"PATCH /v1/admin/venues/:id":  {path: "/v1/admin/venues/" + c.venue, body: `{"name":"Hall"}`, need: anAdmin, bodies: []bad{{`{}`, "nothing"}, {`{"name":""}`, "$.name"}, {`{"country":"DEU"}`, "$.country"}}},
		"DELETE /v1/admin/venues/:id": {path: "/v1/admin/venues/" + c.venue, need: anAdmin},
		"GET /v1/admin/artists":       {path: "/v1/admin/artists", need: anAdmin, queries: lists},
		"POST /v1/admin/artists": {
			path: "/v1/admin/artists", body: `{"name":"Zoe"}`, need: anAdmin,
			bodies: []bad{{`{}`, "name"}, {`{"name":"Z","url":"javascript:alert(1)"}`, "$.url"}, {`{"name":"Z","url":"https://"}`, "$.url"}, {`{"name":"a\u0000"}`, "$.name"}},
		},
		"GET /v1/admin/artists/:id":             {path: "/v1/admin/artists/" + c.artist, need: anAdmin},
		"PATCH /v1/admin/artists/:id":           {path: "/v1/admin/artists/" + c.artist, body: `{"name":"Zoe"}`, need: anAdmin, bodies: []bad{{`{}`, "nothing"}, {`{"url":"x"}`, "$.url"}}},
		"DELETE /v1/admin/artists/:id":          {path: "/v1/admin/artists/" + c.artist, need: anAdmin},
		"GET /v1/admin/plans":                   {path: "/v1/admin/plans", need: anAdmin, queries: lists},
		"POST /v1/admin/plans":                  {path: "/v1/admin/plans", need: anAdmin}, // its bodies: TestPlansAreImportedOverHTTP
		"GET /v1/admin/plans/:id":               {path: "/v1/admin/plans/" + c.plan, need: anAdmin},
		"DELETE /v1/admin/plans/:id":            {path: "/v1/admin/plans/" + c.plan, need: anAdmin},
		"GET /v1/admin/orders":                  {path: "/v1/admin/orders", need: anAdmin, queries: []string{"event=x", "q=%00", "cursor=x", "cursor=%27", "limit=0"}},
		"POST /v1/admin/orders/:id/refund":      {path: "/v1/admin/orders/" + c.done.Order + "/refund", body: `{"reason":"x"}`, need: anAdmin, bodies: []bad{{`{"reason":"` + strings.Repeat("r", 501) + `"}`, "reason"}, {`{"amount":-1}`, "amount"}, {`{"amount":1}`, "Idempotency-Key"}, {`{"tickets":["1"]}`, "tickets[0]"}}},
		"POST /v1/admin/orders/:id/exchange":    {path: "/v1/admin/orders/" + c.done.Order + "/exchange", body: `{"tickets":["` + c.tickets[0] + `"],"to":["` + c.tickets[2] + `"]}`, need: anAdmin, bodies: []bad{{`{"tickets":[],"to":[]}`, "at least one"}, {`{"tickets":["` + c.tickets[0] + `"],"to":["x"]}`, "to[0]"}}},
		"POST /v1/admin/events/:id/cancel":      {path: "/v1/admin/events/" + c.event + "/cancel", body: `{}`, need: anAdmin, bodies: []bad{{`{"reason":"` + strings.Repeat("r", 501) + `"}`, "reason"}}},
		"GET /v1/admin/events/:id/cancellation": {path: "/v1/admin/events/" + c.event + "/cancellation", need: anAdmin},
		"GET /v1/admin/orders/:id":              {path: "/v1/admin/orders/" + c.done.Order, need: anAdmin},
		"GET /v1/admin/payments":                {path: "/v1/admin/payments", need: anAdmin, queries: []string{"cursor=%00", "cursor=~", "limit=201", "status=gone", "stuck=2", "event=1", "order=1"}},
		"POST /v1/admin/payments/:id/look":      {path: "/v1/admin/payments/" + c.payment + "/look", body: `{}`, need: anAdmin},
		"GET /v1/admin/refunds":                 {path: "/v1/admin/refunds", need: anAdmin, queries: []string{"cursor=%00", "cursor=~", "limit=201", "status=gone", "stuck=2", "event=1", "order=1"}},
		"GET /v1/admin/reconciliation":          {path: "/v1/admin/reconciliation", need: anAdmin},
		"GET /v1/admin/exports/:table":          {path: "/v1/admin/exports/orders.csv", need: anAdmin, queries: []string{"event=1", "from=yesterday", "to=1"}},
		"GET /v1/admin/audit":                   {path: "/v1/admin/audit", need: anAdmin, queries: []string{"cursor=%00", "cursor=~", "limit=201", "subject=%00"}},
		"GET /v1/admin/live":                    {path: "/v1/admin/live", need: anAdmin, socket: true},
	}
}

func (c *cast) buys(buyer string) string {
	return `{"hold":"` + c.hold.Hold + `","buyer":` + buyer + `}`
}

// orderedHold is the hold that an order was made of.
func (c *cast) orderedHold(o order) string {
	return query[string](c.stage, `select hold_id::text from orders where id = $1`, o.Order)
}

// credentials of somebody who may send the row's request.
func (c *cast) credentials(need credential) func(*http.Request) {
	switch need {
	case aVisitor:
		return bearing(c.buyer.VisitorToken)
	case aPass, aPassForTicket:
		return bearing(c.buyer.Pass)
	case anOrder:
		return bearing(c.open.Token)
	case aHolder:
		return bearing(c.holder)
	case aSession:
		return bearing(c.session)
	case anAdmin:
		return asOperator
	}
	return func(*http.Request) {}
}

func (c *cast) allowed(r *row) func(*http.Request) {
	if r.need == anOrder && strings.Contains(r.path, c.done.Order) {
		return bearing(c.done.Token)
	}
	return c.credentials(r.need)
}

// TestBadInput spoils a good request to every route in every way, expects a
// problem document that names what is wrong, and that nothing has changed.
func TestBadInput(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	rows := c.rows()
	before := c.fingerprint()
	for _, route := range c.server.Routes() {
		if slices.Contains(pages, route.Path) {
			continue
		}
		name := route.Method + " " + route.Path
		r, ok := rows[name]
		if !ok {
			t.Errorf("%s has no row", name)
			continue
		}
		delete(rows, name)
		item := api(t).model.Paths.PathItems.GetOrZero(web.Documented(route.Path))
		if item == nil {
			t.Errorf("%s is not documented", name)
			continue
		}
		a := attack{cast: c, row: r, route: route.Path, method: route.Method, op: item.GetOperations().GetOrZero(strings.ToLower(route.Method))}
		a.run()
		if now := c.fingerprint(); now != before {
			t.Errorf("bad requests to %s have changed something:\n%s\nwas:\n%s", name, now, before)
			before = now
		}
	}
	for name := range rows {
		t.Errorf("%s has a row, but there is no such route", name)
	}
}

// fingerprint is the state of everything that a request could change.
func (c *cast) fingerprint() string {
	c.t.Helper()
	var b strings.Builder
	for _, table := range []string{
		"accounts", "account_identities", "sign_in_codes", "admissions", "announcements", "artists", "audit_log", "channel_invites", "channel_members", "channels", "emails", "event_artists", "events", "idempotency_keys", "order_events", "order_items", "orders", "payments", "plans",
		"price_tiers", "refunds", "sandbox_payments", "sandbox_refunds", "sandbox_webhooks", "sections", "series", "tickets", "users", "venues",
		"webhook_deliveries", "webhook_endpoints",
	} {
		fmt.Fprintf(&b, "%s %s\n", table, query[string](c.stage,
			`select count(*) || ' ' || md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from `+table+` t`))
	}
	ctx := c.t.Context()
	for _, event := range []string{c.event, c.elsewhere} {
		room, err := c.rooms.Room(ctx, event)
		must(c.t, err)
		fmt.Fprintf(&b, "room %s %q %q %+v joined %d waiting %d ready %d shopping %d\n", room.State, room.ClosedReason, room.Message, room.Throttle,
			room.Joined, room.Waiting, room.Ready, room.Shopping)
		v, err := c.inventory.Refresh(ctx, event)
		must(c.t, err)
		fmt.Fprintf(&b, "inventory %s\n", v.Status)
	}
	keys, err := c.rdb.Keys(ctx, "hold:*").Result()
	must(c.t, err)
	sort.Strings(keys)
	fmt.Fprintf(&b, "%s\n", strings.Join(keys, "\n"))
	return b.String()
}

// attack is all bad requests to one route.
type attack struct {
	*cast

	row    row
	route  string
	method string
	op     *v3.Operation
}

func (a *attack) run() {
	a.badPaths()
	a.badQueries()
	a.badCredentials()
	if a.row.body != "" {
		a.badBodies()
	}
	a.badKeys()
	if a.method != http.MethodGet {
		a.foreignOrigin()
	}
	if a.row.socket {
		a.badHandshakes()
	}
	wrong := a.do("PROPFIND", a.row.path, "", a.allowed(&a.row))
	wrong.refused(405, "method-not-allowed")
	if allow := wrong.header.Get("Allow"); !strings.Contains(allow, a.method) {
		a.t.Errorf("%s %s: Allow: %q", a.method, a.route, allow)
	}
}

// expect sends a request and demands one of the statuses and a problem that
// names something.
func (a *attack) expect(what, path, body string, named string, statuses []int, with ...func(*http.Request)) {
	a.t.Helper()
	if a.row.form {
		with = append([]func(*http.Request){header("Content-Type", "application/x-www-form-urlencoded")}, with...)
	}
	if a.needsKey() {
		with = append([]func(*http.Request){keyed(uuid.NewString())}, with...)
	}
	got := a.do(a.method, path, body, with...)
	p := got.problem()
	switch {
	case !slices.Contains(statuses, got.status):
		a.t.Errorf("%s %s: %s: %d, want %v: %.300s", a.method, a.route, what, got.status, statuses, got.body)
	case p.Type == "" || p.Title == "" || p.Detail == "" || p.Status != got.status || p.RequestID == "" || p.RequestID != got.header.Get("X-Request-ID"):
		a.t.Errorf("%s %s: %s: no full problem document: %.300s", a.method, a.route, what, got.body)
	case !strings.Contains(p.Detail+string(got.body), named):
		a.t.Errorf("%s %s: %s: %q is not named: %.300s", a.method, a.route, what, named, got.body)
	case len(got.body) > 4096:
		a.t.Errorf("%s %s: %s: the answer has %d bytes", a.method, a.route, what, len(got.body))
	}
}

func (a *attack) needsKey() bool {
	for _, p := range a.op.Parameters {
		if p.Name == "Idempotency-Key" && p.Required != nil && *p.Required {
			return true
		}
	}
	return false
}

// badPaths puts other ids into the path, one at a time.
func (a *attack) badPaths() {
	template, path := strings.Split(a.route, "/"), strings.Split(a.row.path, "/")
	for i, part := range template {
		name, ok := strings.CutPrefix(part, ":")
		if !ok {
			continue
		}
		swap := func(v string) string {
			changed := slices.Clone(path)
			changed[i] = v
			return strings.Join(changed, "/")
		}
		upgrade := a.handshake()
		for _, v := range []string{"1", "null", path[i] + "0", strings.ReplaceAll(path[i], "-", "") + "x", "%27%20or%201=1--", "%00", "%ff", strings.Repeat("9", 3000)} {
			a.expect("a broken "+name, swap(v), a.row.body, "", []int{404}, a.allowed(&a.row), upgrade)
		}
		if name == "action" || a.row.spared == "ids" {
			continue
		}
		// Somebody else's, and one that does not exist. Which of the two it is
		// cannot be told from the answer.
		foreign := map[string]string{"event": a.elsewhere, "hold": uuid.NewString(), "ticket": a.tickets[1], "payment": uuid.NewString()}[name]
		if name == "id" {
			foreign = a.elsewhere
			if strings.Contains(a.route, "/orders/") || strings.Contains(a.route, "/admissions/") {
				foreign = uuid.NewString()
			}
		}
		statuses := []int{401, 403, 404, 409}
		if a.row.need != openToAll && a.row.need != maybeVisitor && a.row.need != anAdmin {
			a.expect("a foreign "+name, swap(foreign), a.row.body, "", statuses, a.allowed(&a.row), upgrade)
		}
		a.expect("an unknown "+name, swap("0190b0a0-8c3e-7a41-9d5e-3f1f6f1f0001"), a.row.body, "", statuses, a.allowed(&a.row), upgrade)
	}
}

// badQueries spoils the parameters that the document has, and adds others.
func (a *attack) badQueries() {
	if a.op.Extensions.GetOrZero("x-problems") == nil || !slices.Contains(problemsOf(a.op), "invalid-request") {
		return // takes any
	}
	ask := func(query, named string) {
		a.t.Helper()
		a.expect("?"+query, a.row.path+"?"+query, a.row.body, named, []int{400}, a.allowed(&a.row), a.handshake())
	}
	ask("surprise=1", "query parameter")
	ask("%zz", "query")
	for _, q := range a.row.queries {
		ask(q, "")
	}
	for _, p := range a.op.Parameters {
		if p.In != "query" {
			continue
		}
		ask(p.Name+"=a&"+p.Name+"=b", p.Name)
		ask("surprise=1&"+p.Name+"=1", "surprise")
		schema := p.Schema.Schema()
		if slices.Contains(schema.Type, "integer") {
			for _, v := range []string{"x", "0", "-1", "1.5", "99999999999999999999", fmt.Sprint(*schema.Maximum + 1), "%20"} {
				ask(p.Name+"="+v, p.Name)
			}
		}
		if schema.MaxLength != nil {
			ask(p.Name+"="+strings.Repeat("x", int(*schema.MaxLength)+1), strings.TrimPrefix(p.Name, "event_"))
		}
	}
}

func problemsOf(op *v3.Operation) (codes []string) {
	_ = op.Extensions.GetOrZero("x-problems").Decode(&codes) // empty when it is something else
	return codes
}

// badCredentials comes without, with forged and with other people's tokens.
func (a *attack) badCredentials() {
	upgrade := a.handshake()
	try := func(what, token string, statuses ...int) {
		a.t.Helper()
		a.expect(what, a.row.path, a.row.body, "", statuses, bearing(token), upgrade)
	}
	genuine := map[credential]string{aVisitor: a.buyer.VisitorToken, maybeVisitor: a.buyer.VisitorToken, aPass: a.buyer.Pass, aPassForTicket: a.buyer.Pass, anOrder: a.open.Token, aHolder: a.holder, aSession: a.session}[a.row.need]
	if a.row.need == anOrder && strings.Contains(a.row.path, a.done.Order) {
		genuine = a.done.Token
	}
	switch a.row.need {
	case openToAll:
		return
	case anAdmin:
		genuine = a.buyer.Pass
		try("a pass", a.buyer.Pass, 401)
		try("a near miss", operator+"x", 401)
		try("a shorter one", operator[:len(operator)-1], 401)
	}
	if a.row.need != maybeVisitor && !a.row.socket {
		a.expect("no token", a.row.path, a.row.body, "", []int{401})
		a.expect("a cookie that is no token", a.row.path, a.row.body, "", []int{401}, header("Cookie", "onsale_visitor=x; onsale_pass_"+a.event+"=y"))
	}
	for name, token := range forgeries(a.t, a.keys, genuine) {
		try(name, token, 401)
	}
	for _, v := range []string{"Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "bearer " + strings.Repeat("x", 5000), "x", "Bearer a b"} {
		a.expect("Authorization: "+v[:min(len(v), 12)], a.row.path, a.row.body, "", []int{401}, header("Authorization", v), upgrade)
	}
	past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	stranger := pass.NewVisitor()
	receipt := a.buyer.Receipt
	if receipt == "" {
		a.t.Fatal("the buyer has no receipt")
	}
	switch a.row.need {
	case maybeVisitor, aVisitor:
		try("an expired token", a.keys.SignVisitor(a.buyer.Visitor, past), 401)
		try("a receipt", receipt, 401)
		try("an order's token", a.open.Token, 401)
		try("a pass of another event", a.foreigner.Pass, 401)
		if a.row.need == aVisitor {
			try("a visitor who never joined", a.keys.SignVisitor(stranger, future), 401)
		}
	case aPass, aPassForTicket:
		lapsed := a.keys.SignPass(pass.Pass{Visitor: a.buyer.Visitor, Event: a.event, Claimed: past.Add(-time.Minute), Expires: past})
		without := a.keys.SignPass(pass.Pass{Visitor: stranger, Event: a.event, Claimed: past, Expires: future}) // as after a lost lease
		if strings.HasSuffix(a.route, "/check") {                                                                // says how to get in, whatever was wrong
			try("a lapsed pass", lapsed, 401)
			try("a pass without a lease", without, 401)
			try("a pass of another event", a.foreigner.Pass, 401)
		} else {
			try("a lapsed pass", lapsed, 403)
			try("a pass of another event", a.foreigner.Pass, 403, 409)
			if a.method == http.MethodPost {
				try("a pass without a lease", without, 403, 404, 409)
			}
			if strings.Contains(a.route, ":hold/") {
				try("a rival's pass", a.rival.Pass, 403, 404)
			}
		}
		try("a receipt", receipt, 401)
		try("an order's token", a.open.Token, 401)
		if a.row.need == aPass {
			try("a visitor's token", a.buyer.VisitorToken, 401)
		} else {
			try("the token of somebody who waits", a.idle.VisitorToken, 401, 403)
			try("the token of a stranger", a.keys.SignVisitor(stranger, future), 401)
		}
	case aHolder:
		try("an expired token", a.keys.SignHolder(a.admission, past), 401)
		try("another ticket's token", a.keys.SignHolder(uuid.NewString(), future), 403)
		try("its order's token", a.done.Token, 401)
		try("its buyer's token", a.buyer.VisitorToken, 401)
	case aSession:
		try("an expired token", a.sessionOf(2, -time.Second), 401)
		try("one of an earlier epoch", a.sessionOf(1, time.Hour), 401)
		try("another account's", a.keys.SignSession(pass.Session{Account: uuid.NewString(), Epoch: 1, Expires: future}), 401)
		try("a visitor's token", a.buyer.VisitorToken, 401)
		try("a pass", a.buyer.Pass, 401)
		try("an order's token", a.open.Token, 401)
		try("the admin token", operator, 401)
		a.expect("an expired cookie", a.row.path, a.row.body, "", []int{401}, header("Cookie", "onsale_session="+a.sessionOf(2, -time.Second)))
	case anOrder:
		try("an expired token", a.keys.SignOrder(a.open.Order, past), 401)
		try("another order's token", a.keys.SignOrder(uuid.NewString(), future), 403)
		try("a receipt", receipt, 401)
		try("a rival's token", a.rival.VisitorToken, 404)
		try("a rival's pass", a.rival.Pass, 404)
		try("a pass of another event", a.foreigner.Pass, 404)
		a.expect("a rival's cookie", a.row.path, a.row.body, "", []int{404}, header("Cookie", "onsale_visitor="+a.rival.VisitorToken))
	}
}

// forgeries are tokens that look like a genuine one.
func forgeries(t testing.TB, keys *pass.KeySet, genuine string) map[string]string {
	t.Helper()
	parts := strings.Split(genuine, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", genuine)
	}
	var head map[string]any
	raw, err := base64.RawURLEncoding.DecodeString(parts[0])
	must(t, err)
	must(t, json.Unmarshal(raw, &head))
	resign := func(alg string, sign func(text string) []byte) string {
		changed := maps.Clone(head)
		changed["alg"] = alg
		h, err := json.Marshal(changed)
		must(t, err)
		text := base64.RawURLEncoding.EncodeToString(h) + "." + parts[1]
		return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
	}
	var jwks struct{ Keys []struct{ X string } }
	must(t, json.Unmarshal(keys.JWKS(), &jwks))
	public, err := base64.RawURLEncoding.DecodeString(jwks.Keys[0].X)
	must(t, err)
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	flipped := []byte(parts[2])
	flipped[5] ^= 1
	return map[string]string{
		"alg none":          resign("none", func(string) []byte { return nil }),
		"no signature":      parts[0] + "." + parts[1] + ".",
		"another key":       resign("EdDSA", func(text string) []byte { return ed25519.Sign(other, []byte(text)) }),
		"another signature": parts[0] + "." + parts[1] + "." + string(flipped),
		"HS256 by the public key": resign("HS256", func(text string) []byte {
			mac := hmac.New(sha256.New, public)
			mac.Write([]byte(text))
			return mac.Sum(nil)
		}),
		"cut":     genuine[:len(genuine)-10],
		"doubled": genuine + "." + genuine,
		"garbage": "a.b.c",
	}
}

// badBodies breaks the body's syntax, types and bounds.
func (a *attack) badBodies() {
	ask := func(what, body, named string, statuses ...int) {
		a.t.Helper()
		if len(statuses) == 0 {
			statuses = []int{400, 404, 409}
		}
		a.expect(what, a.row.path, body, named, statuses, a.allowed(&a.row))
	}
	for _, b := range a.row.bodies {
		ask("body "+b.body[:min(len(b.body), 200)], b.body, b.named)
	}
	if a.row.form {
		ask("a large body", "answer="+strings.Repeat("x", 70_000), "larger", 413)
		return
	}
	for _, b := range []string{`{`, `{"`, `[]`, `"x"`, `7`, `true`, a.row.body + a.row.body, a.row.body + `x`, a.row.body[:len(a.row.body)-1], `{"a":1,}`, "\x00", "\xff\xfe", `{'a':1}`, strings.Repeat(`[`, 20_000)} {
		ask("body "+b[:min(len(b), 200)], b, "", 400)
	}
	var good map[string]json.RawMessage
	must(a.t, json.Unmarshal([]byte(a.row.body), &good))
	with := func(name, value string) string {
		changed := maps.Clone(good)
		changed[name] = json.RawMessage(value)
		b, err := json.Marshal(changed)
		must(a.t, err)
		return string(b)
	}
	ask("an unknown field", with("surprise", "1"), "surprise", 400)
	if a.row.spared != "size" {
		ask("a large body", with("surprise", `"`+strings.Repeat("x", 70_000)+`"`), "larger", 413)
		ask("a body of much space", strings.Repeat(" ", 70_000)+a.row.body, "larger", 413)
	}
	media := a.op.RequestBody.Content.GetOrZero("application/json")
	for name, proxy := range media.Schema.Schema().Properties.FromOldest() {
		schema, named := proxy.Schema(), name
		if schema.Format == "date-time" {
			named = "time" // encoding/json does not say which
		}
		for _, value := range wrongValues(schema) {
			body := with(name, value)
			if strings.HasSuffix(a.route, "/holds") {
				body = fmt.Sprintf(`{%q:%s}`, name, value) // one way to name tickets, as in a good request
			}
			ask("field "+name+" as "+value, body, named, 400)
		}
	}
}

// wrongValues are values of types that the schema does not take.
func wrongValues(schema *base.Schema) []string {
	types := slices.Clone(schema.Type)
	for _, one := range schema.AnyOf {
		types = append(types, one.Schema().Type...)
	}
	if len(schema.Enum) > 0 || slices.Contains(types, "string") {
		types = append(types, "number") // documents of events take numbers for text
	}
	var values []string
	for _, v := range []struct{ kind, value string }{{"object", `{"a":1}`}, {"array", `[{}]`}, {"boolean", `true`}, {"string", `"many"`}, {"number", `7.5`}} {
		if !slices.Contains(types, v.kind) {
			values = append(values, v.value)
		}
	}
	return values
}

// badKeys spoils the Idempotency-Key.
func (a *attack) badKeys() {
	for _, p := range a.op.Parameters {
		if p.Name != "Idempotency-Key" {
			continue
		}
		a.expect("a long key", a.row.path, a.row.body, "Idempotency-Key", []int{400}, a.allowed(&a.row), keyed(strings.Repeat("k", 256)))
		if !a.needsKey() {
			continue
		}
		a.expect("no key", a.row.path, a.row.body, "Idempotency-Key", []int{400}, a.allowed(&a.row), func(r *http.Request) { r.Header.Del("Idempotency-Key") })
		a.expect("an empty key", a.row.path, a.row.body, "Idempotency-Key", []int{400}, a.allowed(&a.row), keyed(""))
		a.expect("a key that is no ASCII", a.row.path, a.row.body, "Idempotency-Key", []int{400}, a.allowed(&a.row), keyed("schlüssel"))
		a.expect("a key used for another body", a.row.path, a.row.body, "different body", []int{422}, a.allowed(&a.row), keyed(a.row.keyed))
	}
}

// foreignOrigin is a page of another site that writes with the visitor's cookies.
func (a *attack) foreignOrigin() {
	for _, origin := range []string{"https://evil.example", "null", a.url + ".evil.example", "https://partner.example.evil.example"} {
		a.expect("from "+origin, a.row.path, a.row.body, "", []int{403}, a.allowed(&a.row), header("Origin", origin), header("Sec-Fetch-Site", "cross-site"))
	}
	a.expect("from another site", a.row.path, a.row.body, "", []int{403}, a.allowed(&a.row), header("Sec-Fetch-Site", "same-site"))
}

// handshake makes a request one for a WebSocket, where the route is one.
func (a *attack) handshake() func(*http.Request) {
	return func(r *http.Request) {
		if !a.row.socket {
			return
		}
		for name, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
			r.Header.Set(name, v)
		}
	}
}

func (a *attack) badHandshakes() {
	a.expect("no handshake", a.row.path, "", "WebSocket", []int{426}, a.allowed(&a.row))
	for name, v := range map[string]string{"Sec-WebSocket-Version": "12", "Sec-WebSocket-Key": "x"} {
		a.expect(name, a.row.path, "", "WebSocket", []int{400}, a.allowed(&a.row), a.handshake(), header(name, v))
	}
	// From a page of another site: refused, or closed at once with a code.
	ctx, cancel := context.WithTimeout(a.t.Context(), 10*time.Second)
	defer cancel()
	h := http.Header{"Origin": {"https://evil.example"}, "Cookie": {"onsale_visitor=" + a.buyer.VisitorToken}}
	conn, response, err := websocket.DefaultDialer.DialContext(ctx, "ws"+strings.TrimPrefix(a.url, "http")+a.row.path, h)
	if err != nil {
		if response == nil || response.StatusCode != http.StatusForbidden {
			a.t.Errorf("%s: from another origin: %v %v", a.route, err, response)
		}
		return
	}
	defer conn.Close()
	_, frame, err := conn.ReadMessage()
	if e, ok := errors.AsType[*websocket.CloseError](err); !ok || e.Code != 4003 {
		a.t.Errorf("%s: from another origin: %s, %v", a.route, frame, err)
	}
}
