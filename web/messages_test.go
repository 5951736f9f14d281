package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"onsale/checkout/mail"
	"onsale/checkout/messages"
)

// receiver is another system, which verifies what it is told.
type receiver struct {
	t        *testing.T
	url      string
	mu       sync.Mutex
	secret   string
	status   int // 0: 200
	messages []told
}

type told struct {
	id, kind, order string
	status          int // that was answered
	raw             string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	raw, err := io.ReadAll(request.Body)
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	verifier, err := standard.NewWebhook(r.secret)
	if err == nil {
		err = verifier.Verify(raw, request.Header)
	}
	if err != nil {
		r.t.Errorf("%s: %v", raw, err)
	}
	var m struct {
		Type      string
		Timestamp time.Time
		Data      struct{ Order string }
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.Timestamp.IsZero() {
		r.t.Errorf("%s: %v", raw, err)
	}
	status := r.status
	if status == 0 {
		status = http.StatusOK
	}
	r.messages = append(r.messages, told{request.Header.Get("Webhook-Id"), m.Type, m.Data.Order, status, string(raw)})
	w.WriteHeader(status)
}

func (r *receiver) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) got() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// count tells how often a message was taken.
func (r *receiver) count(kind, order string) (n int) {
	for _, m := range r.got() {
		if m.kind == kind && m.order == order && m.status < 300 {
			n++
		}
	}
	return n
}

type hook struct {
	ID, URL, Secret, Note string
	Types                 []string
	Active                bool
	WhyInactive           string     `json:"why_inactive"`
	RotatesUntil          *time.Time `json:"rotates_until"`
}

type delivery struct {
	ID, Message, Type, Subject, Status string
	Attempts                           int
	LastStatus                         *int   `json:"last_status"`
	LastError                          string `json:"last_error"`
}

// listen adds a webhook for the receiver.
func (s *stage) listen(r *receiver, types ...string) (h hook) {
	s.t.Helper()
	list, err := json.Marshal(types)
	must(s.t, err)
	if types == nil {
		list = []byte("[]")
	}
	s.post("/v1/admin/webhooks", `{"url":"`+r.url+`","types":`+string(list)+`,"note":"test"}`, asOperator).ok(201, &h)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret = h.Secret
	return h
}

func (s *stage) deliveries(h hook, query string) (list []delivery) {
	s.t.Helper()
	var page struct{ Deliveries []delivery }
	s.get("/v1/admin/webhooks/"+h.ID+"/deliveries"+query, asOperator).ok(200, &page)
	return page.Deliveries
}

// soon are waits that a test has the time for; enough of them that nothing is given up.
func soon() messages.Options {
	waits := slices.Repeat([]time.Duration{20 * time.Millisecond}, 2000)
	return messages.Options{WebhookWaits: waits, MailWaits: waits}
}

// An order's whole life is told to those who listen, verifiable by the reference
// library, and nobody's secret, token or address is in it or in the log.
func TestWebhooksTellOfOrders(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s := newStage(t, stageOptions{messages: soon(), log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	all, some := newReceiver(t), newReceiver(t)
	h := s.listen(all)
	s.listen(some, "order.refunded")

	buyer := s.admitted(s.event)
	o := s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_ok")
	eventually(t, "paid and fulfilled are told", func() int { return all.count("order.paid", o.Order) + all.count("order.fulfilled", o.Order) }, func(n int) bool { return n == 2 })
	s.post("/v1/admin/orders/"+o.Order+"/refund", `{"reason":"x"}`, asOperator).ok(200, nil)
	eventually(t, "refunded is told", func() int { return some.count("order.refunded", o.Order) }, func(n int) bool { return n == 1 })

	left := s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[1]))
	s.post("/v1/orders/"+left.Order+"/cancel", "", bearing(left.Token)).ok(200, nil)
	eventually(t, "cancelled is told", func() int { return all.count("order.cancelled", left.Order) }, func(n int) bool { return n == 1 })

	if got := some.got(); len(got) != 1 {
		t.Errorf("told to who wants refunds only: %+v", got)
	}
	eventually(t, "all is delivered", func() []delivery { return s.deliveries(h, "?status=delivered") }, func(list []delivery) bool { return len(list) == 4 })
	code := query[string](s, `select coalesce(max(code), 'none') from admissions`)
	for _, m := range all.got() {
		for _, private := range []string{"ada@buyers.example", "Ada Example", o.Token, code} {
			if strings.Contains(m.raw, private) {
				t.Errorf("%s is told: %s", private, m.raw)
			}
		}
	}
	for _, private := range []string{strings.TrimPrefix(h.Secret, "whsec_"), "ada@buyers.example"} {
		if strings.Contains(log.String(), private) {
			t.Errorf("%s is in the log", private)
		}
	}
	if secret := query[int](s, `select count(*) from audit_log where detail::text like '%whsec_%'`); secret != 0 {
		t.Error("a secret is in the audit log")
	}
	// What was told once is told no more by jobs that repeat.
	if n := all.count("order.paid", o.Order); n != 1 {
		t.Errorf("order.paid was told %d times", n)
	}
}

// An endpoint that is down for a while gets each message once it is back, with the id
// that the failed attempts had.
func TestWebhookThatIsDown(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{messages: soon()})
	r := newReceiver(t)
	r.answers(503)
	h := s.listen(r, "order.paid", "order.fulfilled")
	buyer := s.admitted(s.event)
	o := s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_ok")
	eventually(t, "it is tried several times", func() int { return len(r.got()) }, func(n int) bool { return n >= 5 })
	// What came of a try is noted after it.
	eventually(t, "what comes of the tries is noted", func() []delivery { return s.deliveries(h, "?status=pending") }, func(list []delivery) bool {
		return len(list) == 2 && !slices.ContainsFunc(list, func(d delivery) bool { return d.LastStatus == nil || *d.LastStatus != 503 || d.LastError == "" })
	})
	r.answers(200)
	eventually(t, "all is delivered", func() []delivery { return s.deliveries(h, "?status=delivered") }, func(list []delivery) bool { return len(list) == 2 })
	ids := make(map[string]string)
	for _, m := range r.got() {
		if id, seen := ids[m.kind]; seen && id != m.id {
			t.Errorf("%s has the ids %s and %s", m.kind, id, m.id)
		}
		ids[m.kind] = m.id
	}
	for _, kind := range []string{"order.paid", "order.fulfilled"} {
		if n := r.count(kind, o.Order); n != 1 {
			t.Errorf("%s was taken %d times", kind, n)
		}
	}

	// An operator has one, and then all of them, sent again: the ids stay.
	one := s.deliveries(h, "?limit=1")[0]
	s.post("/v1/admin/webhooks/deliveries/"+one.ID+"/replay", "", asOperator).ok(202, nil)
	eventually(t, "it is replayed", func() int { return r.count(one.Type, o.Order) }, func(n int) bool { return n == 2 })
	eventually(t, "and that is noted", func() []delivery { return s.deliveries(h, "?status=delivered") }, func(list []delivery) bool { return len(list) == 2 })
	var replayed struct{ Deliveries int }
	within := fmt.Sprintf(`{"from":%q,"to":%q}`, time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().Add(time.Hour).Format(time.RFC3339))
	s.post("/v1/admin/webhooks/"+h.ID+"/replay", within, asOperator).ok(202, &replayed)
	if replayed.Deliveries != 2 {
		t.Errorf("%d replayed", replayed.Deliveries)
	}
	eventually(t, "all are replayed", func() int { return r.count("order.paid", o.Order) + r.count("order.fulfilled", o.Order) }, func(n int) bool { return n == 5 })
	for _, m := range r.got() {
		if m.id != ids[m.kind] {
			t.Errorf("%s was replayed as %s", m.kind, m.id)
		}
	}
}

func TestWebhooksOfOperators(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{messages: soon()})
	r := newReceiver(t)
	h := s.listen(r, "order.paid")
	if !strings.HasPrefix(h.Secret, "whsec_") || !h.Active || h.Note != "test" || h.URL != r.url {
		t.Errorf("created: %+v", h)
	}
	path := "/v1/admin/webhooks/" + h.ID
	for _, answer := range []reply{s.get("/v1/admin/webhooks", asOperator), s.get(path, asOperator)} {
		if bytes.Contains(answer.ok(200, nil).body, []byte("whsec_")) {
			t.Errorf("the secret is shown again: %s", answer.body)
		}
	}
	var trial struct {
		OK     bool
		Status *int
		Error  string
	}
	s.post(path+"/test", "", asOperator).ok(200, &trial)
	if !trial.OK || *trial.Status != 200 || len(r.got()) != 1 || r.got()[0].kind != "webhook.test" {
		t.Errorf("test: %+v, %+v", trial, r.got())
	}
	r.answers(404)
	s.post(path+"/test", "", asOperator).ok(200, &trial)
	if trial.OK || *trial.Status != 404 || trial.Error == "" {
		t.Errorf("test: %+v", trial)
	}

	var changed hook
	s.do(http.MethodPatch, path, `{"rotate_secret":true,"types":[],"note":"other"}`, asOperator).ok(200, &changed)
	if changed.Secret == "" || changed.Secret == h.Secret || changed.RotatesUntil == nil || len(changed.Types) != 0 || changed.Note != "other" {
		t.Errorf("changed: %+v", changed)
	}
	r.answers(200) // still verifies by the secret before
	s.post(path+"/test", "", asOperator).ok(200, &trial)
	r.mu.Lock()
	r.secret = changed.Secret
	r.mu.Unlock()
	s.post(path+"/test", "", asOperator).ok(200, &trial)
	if !trial.OK {
		t.Errorf("test: %+v", trial)
	}

	r.answers(503)
	buyer := s.admitted(s.event)
	bought := s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_ok")
	// Nothing is announced to one that is switched off: both are on their way before that.
	eventually(t, "two deliveries are on their way", func() []delivery { return s.deliveries(changed, "?status=pending") }, func(l []delivery) bool { return len(l) == 2 })
	r.answers(410)
	eventually(t, "410 switches it off", func() (now hook) {
		s.get(path, asOperator).ok(200, &now)
		return now
	}, func(now hook) bool { return !now.Active && now.WhyInactive != "" })
	failed := eventually(t, "the deliveries have failed", func() []delivery { return s.deliveries(changed, "?status=failed") }, func(l []delivery) bool { return len(l) > 0 })
	s.post("/v1/admin/webhooks/deliveries/"+failed[0].ID+"/replay", "", asOperator).refused(409, "conflict")
	eventually(t, "fulfilled", func() order { return s.orderNow(bought) }, func(o order) bool { return o.Status == "fulfilled" })
	eventually(t, "nothing is on its way", func() int {
		return query[int](s, `select (select count(*) from announcements where owed) + (select count(*) from webhook_deliveries where status = 'pending')`)
	}, func(n int) bool { return n == 0 })
	now := time.Now().UTC()
	from, to := now.Add(-time.Hour).Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339)
	count := path + "/replay?from=" + from + "&to=" + to + "&failed_only=true"
	s.get(count, asOperator).refused(409, "conflict")
	s.do(http.MethodPatch, path, `{"active":true}`, asOperator).ok(200, &changed)
	if !changed.Active || changed.WhyInactive != "" {
		t.Errorf("switched on: %+v", changed)
	}
	// What is asked before a replay, and the replay.
	var before, sent struct{ Deliveries int }
	s.get(count, asOperator).ok(200, &before)
	if n := query[int](s, `select count(*) from webhook_deliveries where status <> 'failed'`); before.Deliveries != 2 || n != 0 { // paid, and fulfilled
		t.Errorf("%d are counted, and %d on their way", before.Deliveries, n)
	}
	r.answers(200)
	s.post(path+"/replay", `{"from":"`+from+`","to":"`+to+`","failed_only":true}`, asOperator).ok(202, &sent)
	if sent != before {
		t.Errorf("%d are sent again, %d were counted", sent.Deliveries, before.Deliveries)
	}
	eventually(t, "they arrive", func() []delivery { return s.deliveries(changed, "?status=delivered") }, func(l []delivery) bool { return len(l) == 2 })
	// Another address, without a word about its secret.
	other := newReceiver(t)
	other.mu.Lock()
	other.secret = h.Secret
	other.mu.Unlock()
	var moved hook
	s.do(http.MethodPatch, path, `{"url":"`+other.url+`","types":["order.refunded"]}`, asOperator).ok(200, &moved)
	s.post(path+"/test", "", asOperator).ok(200, &trial)
	if moved.URL != other.url || moved.Secret != "" || !trial.OK || len(other.got()) != 1 {
		t.Errorf("moved: %+v, %+v, %+v", moved, trial, other.got())
	}
	s.do(http.MethodDelete, path, "", asOperator).ok(204, nil)
	s.get(path, asOperator).refused(404, "not-found")
}

// mailbox is a mail server that can be away.
type mailbox struct {
	mu   sync.Mutex
	away bool
	got  []mail.Message
}

func (m *mailbox) Send(_ context.Context, sent mail.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return errors.New("nobody is at home")
	}
	m.got = append(m.got, sent)
	return nil
}

func (m *mailbox) is(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *mailbox) mails() []mail.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

type email struct {
	ID, Kind, Status, Recipient string
	Order                       *string
	LastError                   string `json:"last_error"`
	Attempts                    int
}

func (s *stage) emails(query string) []email {
	s.t.Helper()
	var page struct{ Emails []email }
	s.get("/v1/admin/emails"+query, asOperator).ok(200, &page)
	return page.Emails
}

// Buyers are told of what they bought and of what goes back, once each, whenever the
// mail server is there again, and may ask for it anew, within bounds.
func TestEmailsToBuyers(t *testing.T) {
	t.Parallel()
	box := &mailbox{away: true}
	s := newStage(t, stageOptions{messages: soon(), mail: box})
	buyer := s.admitted(s.event)
	o := s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_ok")
	tries := eventually(t, "it is tried", func() []email { return s.emails("?order=" + o.Order) }, func(l []email) bool { return len(l) == 1 && l[0].Attempts >= 2 })
	if tries[0].Kind != "confirmation" || tries[0].Recipient != "ada@buyers.example" || tries[0].LastError == "" {
		t.Errorf("tried: %+v", tries)
	}
	box.is(false)
	sent := eventually(t, "it is sent", func() []email { return s.emails("?status=sent&order=" + o.Order) }, func(l []email) bool { return len(l) == 1 })
	mails := box.mails()
	if len(mails) != 1 || mails[0].ID != sent[0].ID || mails[0].To.Email != "ada@buyers.example" || !strings.Contains(mails[0].Subject, "Trio at the mill") {
		t.Fatalf("mails: %+v", mails)
	}
	_, token, _ := strings.Cut(mails[0].Text, "#t=")
	token, _, _ = strings.Cut(token, "\n")
	s.get("/v1/orders/"+o.Order, bearing(token)).ok(200, nil)
	for _, want := range []string{"Hello Ada Example", "Stalls", "45.00 EUR", "The mill"} {
		if !strings.Contains(mails[0].Text, want) || !strings.Contains(mails[0].HTML, want) {
			t.Errorf("%q is not there:\n%s", want, mails[0].Text)
		}
	}

	for range 3 {
		s.post("/v1/orders/"+o.Order+"/email", "", bearing(o.Token)).ok(202, nil)
	}
	refused := s.post("/v1/orders/"+o.Order+"/email", "", bearing(o.Token))
	refused.refused(429, "too-many-requests")
	if refused.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	eventually(t, "it is sent again", box.mails, func(m []mail.Message) bool { return len(m) == 4 })

	var again email
	s.post("/v1/admin/emails/"+sent[0].ID+"/resend", "", asOperator).ok(202, &again)
	if again.ID == sent[0].ID {
		t.Error("a further e-mail has the id of the first")
	}
	eventually(t, "it is sent by an operator", box.mails, func(m []mail.Message) bool { return len(m) == 5 })
	s.post("/v1/admin/orders/"+o.Order+"/refund", `{}`, asOperator).ok(200, nil)
	mails = eventually(t, "the refund is told", box.mails, func(m []mail.Message) bool { return len(m) == 6 })
	if !strings.Contains(mails[5].Text, "45.00 EUR of your order (all of it) goes back") {
		t.Errorf("refund: %s", mails[5].Text)
	}
	s.post("/v1/orders/"+o.Order+"/email", "", bearing(o.Token)).refused(409, "conflict")
	ids := make(map[string]bool)
	for _, m := range mails {
		if ids[m.ID] {
			t.Errorf("%s was sent twice", m.ID)
		}
		ids[m.ID] = true
	}

	// Who gives an order up before paying knows; guests of the original paths have no
	// address.
	left := s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[1]))
	s.post("/v1/orders/"+left.Order+"/cancel", "", bearing(left.Token)).ok(200, nil)
	guest := s.admitted(s.event)
	ticket := `{"ticket_id":"` + s.tickets[5] + `"}`
	s.post("/reserve_ticket/", ticket, bearing(guest.Pass)).ok(200, nil)
	s.post("/purchase_ticket/", ticket, bearing(guest.Pass)).ok(200, nil)
	eventually(t, "the guest's order is fulfilled", func() int {
		return query[int](s, `select count(*) from orders where buyer_email like '%.invalid' and status = 'fulfilled'`)
	}, func(n int) bool { return n == 1 })
	if n := query[int](s, `select count(*) from emails`); n != 6 {
		t.Errorf("%d e-mails", n)
	}
}

// An order that the system cancels after its buyer tried to pay is told to them.
func TestEmailAboutACancelledEvent(t *testing.T) {
	t.Parallel()
	box := &mailbox{}
	s := newStage(t, stageOptions{messages: soon(), mail: box})
	buyer := s.admitted(s.event)
	o := s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_requires_action")
	s.do(http.MethodPatch, "/v1/admin/events/"+s.event, `{"status":"cancelled"}`, asOperator).ok(200, nil)
	action := s.orderNow(o).Payment.NextAction
	if action == nil {
		t.Fatal("there is nothing to confirm")
	}
	form := header("Content-Type", "application/x-www-form-urlencoded")
	s.post(strings.TrimPrefix(action.URL, s.url), "answer=approve", form)
	mails := eventually(t, "the cancellation is told", box.mails, func(m []mail.Message) bool { return len(m) == 1 })
	if !strings.Contains(mails[0].Text, "does not take place") || !strings.Contains(mails[0].Subject, "was cancelled") {
		t.Errorf("%s\n%s", mails[0].Subject, mails[0].Text)
	}
}

func TestWithoutAMailServer(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	buyer := s.admitted(s.event)
	o := s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_ok")
	list := eventually(t, "it is skipped", func() []email { return s.emails("?status=skipped") }, func(l []email) bool { return len(l) == 1 })
	s.post("/v1/orders/"+o.Order+"/email", "", bearing(o.Token)).refused(409, "conflict")
	s.post("/v1/admin/emails/"+list[0].ID+"/resend", "", asOperator).refused(409, "conflict")
	if n := query[int](s, `select count(*) from river_job where kind in ('announce', 'send_email', 'deliver_webhook')`); n != 0 {
		t.Errorf("%d jobs that nobody needs", n)
	}
}

// A room that closes since everything is sold is announced, from its own books.
func TestSoldOutIsAnnounced(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{messages: soon()})
	r := newReceiver(t)
	s.listen(r, "room.sold_out")
	must(t, s.rooms.ShopOK(t.Context(), s.event, 0, 0, 0))
	eventually(t, "it is announced", r.got, func(list []told) bool { return len(list) == 1 })
	if m := r.got()[0]; !strings.Contains(m.raw, s.event) {
		t.Errorf("told: %s", m.raw)
	}
}

// lockedBuffer can be read while others write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
