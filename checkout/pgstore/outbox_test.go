package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/checkout"
	"onsale/checkout/mail"
	"onsale/checkout/messages"
	"onsale/checkout/webhook"
	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
)

func migrated(ctx context.Context, url string) error {
	return catalogpg.Migrate(ctx, url, slog.New(slog.DiscardHandler))
}

// post is an outbox on a database of its own, with a receiver and a mail server that
// do what they are told.
type post struct {
	*messages.Service
	t     *testing.T
	db    *pgxpool.Pool
	store *Store

	mu     sync.Mutex
	answer func(m webhook.Message) (webhook.Answer, error)
	posted []webhook.Message
	mailed []mail.Message
	fail   error // of the mail server
}

func newPost(t *testing.T, o messages.Options) *post {
	t.Helper()
	db, err := pgxpool.New(t.Context(), stacktest.Database(t, migrated))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	p := &post{t: t, db: db}
	if p.store, err = New(db); err != nil {
		t.Fatal(err)
	}
	p.store.Mailing(true)
	templates, err := mail.NewTemplates()
	if err != nil {
		t.Fatal(err)
	}
	p.Service, err = messages.New(messages.Deps{
		Store: Messages{p.store}, Orders: p.store, Events: noEvents{}, Courier: p, Mail: p, Templates: templates,
		Link:       func(o checkout.Order) string { return "https://tickets.example/orders/" + o.ID },
		HolderLink: func(a *checkout.Admission) string { return "https://tickets.example/t/" + a.ID }, Clock: time.Now,
		Code: func(id string) string { return "code of " + id }, Logger: slog.New(slog.DiscardHandler), Options: o,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type noEvents struct{}

func (noEvents) Event(context.Context, string) (catalog.Event, error) {
	return catalog.Event{Name: "Trio at the mill"}, nil
}

func (*post) Check(string) error { return nil }

func (p *post) Post(_ context.Context, m webhook.Message) (webhook.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posted = append(p.posted, m)
	if p.answer != nil {
		return p.answer(m)
	}
	return webhook.Answer{Status: 200}, nil
}

func (p *post) Send(_ context.Context, m mail.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail == nil {
		p.mailed = append(p.mailed, m)
	}
	return p.fail
}

func (p *post) endpoint(types ...messages.Type) messages.Endpoint {
	p.t.Helper()
	e, err := p.CreateEndpoint(p.t.Context(), "https://hooks.example/"+uuid.NewString(), types, "")
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

func (p *post) announce(changes ...announcement) error {
	return p.store.tx(p.t.Context(), func(ctx context.Context, tx pgx.Tx) error { return p.store.announce(ctx, tx, changes) })
}

func (p *post) query(into any, sql string, args ...any) {
	p.t.Helper()
	if err := p.db.QueryRow(p.t.Context(), sql, args...).Scan(into); err != nil {
		p.t.Fatalf("%s: %v", sql, err)
	}
}

func (p *post) count(sql string, args ...any) (n int) {
	p.t.Helper()
	p.query(&n, sql, args...)
	return n
}

// jobs are the ids that the jobs of a kind are about, in order.
func (p *post) jobs(kind, what string) (ids []string) {
	p.t.Helper()
	rows, err := p.db.Query(p.t.Context(), `select args->>$2 from river_job where kind = $1 order by id`, kind, what)
	if err != nil {
		p.t.Fatal(err)
	}
	if ids, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		p.t.Fatal(err)
	}
	return ids
}

func (p *post) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func someChange(kind messages.Type) announcement {
	subject := uuid.NewString()
	return announcement{kind: kind, subject: subject, event: uuid.NewString(), once: string(kind) + ":" + subject, payload: map[string]string{"order": subject}}
}

func someEmail() announcement {
	return announcement{email: &email{
		kind: mail.SignIn, once: "sign_in:" + uuid.NewString(), recipient: "ada@buyers.example", data: messages.Data{Code: uuid.NewString()},
	}}
}

// Sixty-four changes at once cost a constant number of statements, and are said once
// whoever says them again.
func TestAnnounceInBulk(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	changes := make([]announcement, 64)
	for i := range changes {
		changes[i] = someChange(messages.OrderPaid)
		changes[i].email = someEmail().email
	}
	p.must(p.announce(changes...))
	if n := len(p.jobs("announce", "announcement")); n != 0 {
		t.Errorf("%d jobs though nobody listens", n)
	}
	p.endpoint(messages.OrderRefunded)
	p.must(p.announce(someChange(messages.OrderPaid)))
	if n := len(p.jobs("announce", "announcement")); n != 0 {
		t.Errorf("%d jobs though nobody listens to this type", n)
	}
	p.endpoint()
	more := slices.Clone(changes) // said before
	for range 64 {
		more = append(more, someChange(messages.OrderPaid))
	}
	statements := p.statements(func() { p.must(p.announce(more...)) })
	if statements > 8 {
		t.Errorf("%d statements", statements)
	}
	if n := p.count(`select count(*) from announcements`); n != 129 {
		t.Errorf("%d announcements", n)
	}
	if n := p.count(`select count(*) from emails where status = 'pending'`); n != 64 {
		t.Errorf("%d e-mails", n)
	}
	if n := len(p.jobs("send_email", "email")); n != 64 {
		t.Errorf("%d jobs for e-mails", n)
	}
	said := p.jobs("announce", "announcement")
	slices.Sort(said)
	if len(slices.Compact(said)) != 64 {
		t.Errorf("jobs for %d announcements", len(said))
	}
}

// statements counts the statements of f by the server's own books.
func (p *post) statements(f func()) int {
	p.t.Helper()
	config := p.db.Config()
	counter := &counter{}
	config.ConnConfig.Tracer = counter
	db, err := pgxpool.NewWithConfig(p.t.Context(), config)
	p.must(err)
	defer db.Close()
	counted, err := New(db)
	p.must(err)
	counted.Mailing(p.store.mailing)
	plain := p.store
	p.store = counted
	f()
	p.store = plain
	return counter.n
}

type counter struct{ n int }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n++
	return ctx
}
func (*counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *counter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	c.n += data.Batch.Len()
	return ctx
}
func (*counter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*counter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (c *counter) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	c.n++
	return ctx
}
func (*counter) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}

// What a transaction that is rolled back would have told is never told.
func TestRolledBackIsNotTold(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	p.endpoint()
	change := someChange(messages.OrderPaid)
	change.email = someEmail().email
	boom := errors.New("boom")
	err := p.store.tx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if err := p.store.announce(ctx, tx, []announcement{change}); err != nil {
			return err
		}
		return boom
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, table := range []string{"announcements", "emails", "river_job"} {
		if n := p.count(`select count(*) from ` + table); n != 0 {
			t.Errorf("%d rows in %s", n, table)
		}
	}
}

func TestNobodyIsNeverMailed(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	for _, address := range []string{"guest@onsale.invalid", "Guest@ONSALE.Invalid", ""} {
		change := someEmail()
		change.email.recipient = address
		p.must(p.announce(change))
	}
	p.store.Mailing(false)
	p.must(p.announce(someEmail()))
	if n := p.count(`select count(*) from river_job`); n != 0 {
		t.Errorf("%d jobs", n)
	}
	var status, why string
	p.query(&status, `select status from emails`) // the one with an address
	p.query(&why, `select last_error from emails`)
	if n := p.count(`select count(*) from emails`); n != 1 || status != "skipped" || why == "" {
		t.Errorf("%d e-mails, the last %s: %s", n, status, why)
	}
}

// Every job may be run any number of times: a worker that was killed after any step
// is followed by another that repeats it.
func TestJobsRepeatSafely(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	ctx := t.Context()
	p.endpoint()
	p.endpoint(messages.OrderPaid)
	p.endpoint(messages.OrderRefunded)
	change := someChange(messages.OrderPaid)
	change.email = someEmail().email
	p.must(p.announce(change))

	said := p.jobs("announce", "announcement")[0]
	for range 3 {
		p.must(p.Announce(ctx, said))
	}
	deliveries := p.jobs("deliver_webhook", "delivery")
	if len(deliveries) != 2 {
		t.Fatalf("%d deliveries", len(deliveries))
	}
	for range 3 {
		for _, id := range deliveries {
			if later, err := p.Deliver(ctx, id); err != nil || later != 0 {
				t.Errorf("deliver: %s, %v", later, err)
			}
		}
	}
	if len(p.posted) != 2 || p.posted[0].ID != said || p.posted[1].ID != said || p.posted[0].URL == p.posted[1].URL {
		t.Errorf("posted %+v", p.posted)
	}
	mail := p.jobs("send_email", "email")[0]
	for range 3 {
		if later, err := p.SendEmail(ctx, mail); err != nil || later != 0 {
			t.Errorf("send: %s, %v", later, err)
		}
	}
	if len(p.mailed) != 1 || p.mailed[0].ID != mail {
		t.Errorf("mailed %d times", len(p.mailed))
	}
	var body struct {
		Type      messages.Type
		Timestamp time.Time
		Data      map[string]string
	}
	p.must(json.Unmarshal(p.posted[0].Body, &body))
	if body.Type != messages.OrderPaid || body.Data["order"] != change.subject || time.Since(body.Timestamp) > time.Minute {
		t.Errorf("body %s", p.posted[0].Body)
	}
}

// A worker that died in the middle of an attempt is followed by another once its
// lease is over, not before; what it records too late counts for nothing.
func TestDeadWorkersLeaseEnds(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	ctx, store := t.Context(), Messages{p.store}
	p.endpoint()
	change := someChange(messages.OrderPaid)
	change.email = someEmail().email
	p.must(p.announce(change))
	p.must(p.Announce(ctx, p.jobs("announce", "announcement")[0]))
	delivery, mail := p.jobs("deliver_webhook", "delivery")[0], p.jobs("send_email", "email")[0]

	dead, _, err := store.TakeDelivery(ctx, delivery, time.Hour)
	p.must(err)
	deadMail, _, err := store.TakeEmail(ctx, mail, time.Hour)
	p.must(err)
	for what, work := range map[string]func(context.Context, string) (time.Duration, error){delivery: p.Deliver, mail: p.SendEmail} {
		if later, err := work(ctx, what); err != nil || later < 59*time.Minute {
			t.Errorf("within the lease: %s, %v", later, err)
		}
	}
	if len(p.posted)+len(p.mailed) != 0 {
		t.Fatal("tried within the lease")
	}
	for _, table := range []string{"webhook_deliveries", "emails"} {
		_, err := p.db.Exec(ctx, `update `+table+` set next_at = now()`)
		p.must(err)
	}
	_, err = p.Deliver(ctx, delivery)
	p.must(err)
	_, err = p.SendEmail(ctx, mail)
	p.must(err)
	p.must(store.DeliveryDone(ctx, dead, messages.DeliveryOutcome{Status: messages.DeliveryFailed, Error: "late"}))
	p.must(store.EmailDone(ctx, deadMail, messages.EmailOutcome{Status: messages.EmailFailed, Error: "late"}))
	d, err := p.Delivery(ctx, delivery)
	if err != nil || d.Status != messages.DeliveryDelivered || d.Attempts != 2 || d.LastError != "" {
		t.Errorf("%+v, %v", d, err)
	}
	e, err := p.Email(ctx, mail)
	if err != nil || e.Status != messages.EmailSent || e.Attempts != 2 || len(p.mailed) != 1 {
		t.Errorf("%+v, %v, mailed %d times", e, err, len(p.mailed))
	}
}

// What an answer leads to.
func TestDeliveryOutcomes(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{WebhookWaits: []time.Duration{time.Hour, 2 * time.Hour}})
	ctx := t.Context()
	for name, c := range map[string]struct {
		answer webhook.Answer
		err    error
		waits  []time.Duration // at least, after each attempt
		status messages.DeliveryStatus
		gone   bool
	}{
		"taken":          {answer: webhook.Answer{Status: 204}, waits: []time.Duration{0}, status: messages.DeliveryDelivered},
		"broken":         {answer: webhook.Answer{Status: 500}, waits: []time.Duration{time.Hour, 2 * time.Hour, 0}, status: messages.DeliveryFailed},
		"away":           {err: errors.New("no route"), waits: []time.Duration{time.Hour, 2 * time.Hour, 0}, status: messages.DeliveryFailed},
		"redirected":     {answer: webhook.Answer{Status: 302}, waits: []time.Duration{time.Hour}, status: messages.DeliveryPending},
		"busy":           {answer: webhook.Answer{Status: 503, Wait: 90 * time.Minute}, waits: []time.Duration{90 * time.Minute}, status: messages.DeliveryPending},
		"gone for good":  {answer: webhook.Answer{Status: 410}, waits: []time.Duration{0}, status: messages.DeliveryFailed, gone: true},
		"not understood": {answer: webhook.Answer{Status: 400}, waits: []time.Duration{time.Hour}, status: messages.DeliveryPending},
	} {
		e := p.endpoint(messages.TicketScanned)
		p.answer = func(webhook.Message) (webhook.Answer, error) { return c.answer, c.err }
		p.must(p.announce(someChange(messages.TicketScanned)))
		said := p.jobs("announce", "announcement")
		p.must(p.Announce(ctx, said[len(said)-1]))
		var id string
		p.query(&id, `select id::text from webhook_deliveries where endpoint_id = $1`, e.ID)
		for i, want := range c.waits {
			later, err := p.Deliver(ctx, id)
			if err != nil || later < want || later > want+want/5 {
				t.Errorf("%s: attempt %d: %s, %v", name, i+1, later, err)
			}
			_, err = p.db.Exec(ctx, `update webhook_deliveries set next_at = now() where id = $1`, id)
			p.must(err)
		}
		d, err := p.Delivery(ctx, id)
		if err != nil || d.Status != c.status || d.Attempts != len(c.waits) || (d.LastError == "") != (c.status == messages.DeliveryDelivered) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		now, err := p.Endpoint(ctx, e.ID)
		if err != nil || now.Active == c.gone || (now.WhyInactive != "") != c.gone {
			t.Errorf("%s: %+v, %v", name, now, err)
		}
		if c.gone { // nothing more is sent there until an operator says so
			before := len(p.posted)
			if _, err := p.Replay(ctx, id); !fault.Is(err, fault.Conflict) {
				t.Errorf("%s: replay: %v", name, err)
			}
			on := true
			_, err := p.UpdateEndpoint(ctx, e.ID, messages.EndpointPatch{Active: &on}, false)
			p.must(err)
			p.answer = nil
			d, err := p.Replay(ctx, id)
			if err != nil || d.Status != messages.DeliveryPending || d.Attempts != 0 {
				t.Errorf("%s: replay: %+v, %v", name, d, err)
			}
			_, err = p.Deliver(ctx, id)
			p.must(err)
			if len(p.posted) != before+1 || p.posted[before].ID != d.Announcement {
				t.Errorf("%s: posted %d times", name, len(p.posted)-before)
			}
		}
		p.must(p.DeleteEndpoint(ctx, e.ID))
	}
}

func TestEmailOutcomes(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{MailWaits: []time.Duration{time.Hour}})
	ctx := t.Context()
	for name, c := range map[string]struct {
		fail   error
		waits  []time.Duration
		status messages.EmailStatus
	}{
		"sent":    {waits: []time.Duration{0}, status: messages.EmailSent},
		"away":    {fail: errors.New("no route"), waits: []time.Duration{time.Hour, 0}, status: messages.EmailFailed},
		"refused": {fail: &mail.Refused{Code: 550, Text: "no such mailbox"}, waits: []time.Duration{0}, status: messages.EmailFailed},
	} {
		p.fail = c.fail
		p.must(p.announce(someEmail()))
		jobs := p.jobs("send_email", "email")
		id := jobs[len(jobs)-1]
		for i, want := range c.waits {
			later, err := p.SendEmail(ctx, id)
			if err != nil || later < want || later > want+want/5 {
				t.Errorf("%s: attempt %d: %s, %v", name, i+1, later, err)
			}
			_, err = p.db.Exec(ctx, `update emails set next_at = now() where id = $1`, id)
			p.must(err)
		}
		e, err := p.Email(ctx, id)
		if err != nil || e.Status != c.status || (e.SentAt != nil) != (c.status == messages.EmailSent) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		// Again: the same one where it was not sent, a further one where it was.
		p.fail = nil
		again, err := p.Resend(ctx, id)
		if err != nil || again.Status != messages.EmailPending || (again.ID == id) == (c.status == messages.EmailSent) {
			t.Errorf("%s: resent: %+v, %v", name, again, err)
		}
		if _, err := p.Resend(ctx, again.ID); !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: resent while it is on its way: %v", name, err)
		}
		before := len(p.mailed)
		if _, err := p.SendEmail(ctx, again.ID); err != nil || len(p.mailed) != before+1 || p.mailed[before].ID != again.ID {
			t.Errorf("%s: %v", name, err)
		}
	}
	expired := someEmail()
	past := time.Now().Add(-time.Minute)
	expired.email.data.Expires = &past
	p.must(p.announce(expired))
	jobs := p.jobs("send_email", "email")
	_, err := p.SendEmail(ctx, jobs[len(jobs)-1])
	p.must(err)
	if e, err := p.Email(ctx, jobs[len(jobs)-1]); err != nil || e.Status != messages.EmailSkipped {
		t.Errorf("a link that has ended: %+v, %v", e, err)
	}
}

// What has lost its job is found and goes on.
func TestSweepFindsWhatWasLost(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	ctx, store := t.Context(), Messages{p.store}
	p.endpoint()
	change := someChange(messages.OrderPaid)
	change.email = someEmail().email
	p.must(p.announce(change))
	p.must(p.Announce(ctx, p.jobs("announce", "announcement")[0]))
	_, err := p.db.Exec(ctx, `delete from river_job`)
	p.must(err)
	if lost, err := store.Sweep(ctx, time.Minute); err != nil || lost != 0 {
		t.Errorf("not overdue: %d, %v", lost, err)
	}
	for _, table := range []string{"webhook_deliveries", "emails"} {
		_, err := p.db.Exec(ctx, `update `+table+` set next_at = now() - interval '2 minutes'`)
		p.must(err)
	}
	if lost, err := store.Sweep(ctx, time.Minute); err != nil || lost != 2 {
		t.Errorf("overdue: %d, %v", lost, err)
	}
	if lost, err := store.Sweep(ctx, time.Minute); err != nil || lost != 0 {
		t.Errorf("found twice: %d, %v", lost, err)
	}
	if len(p.jobs("deliver_webhook", "delivery")) != 1 || len(p.jobs("send_email", "email")) != 1 {
		t.Error("no jobs")
	}
}

// An announcement whose own job was lost is found too, by the same sweep.
func TestSweepFindsLostAnnouncements(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	ctx, store := t.Context(), Messages{p.store}
	p.endpoint()
	p.must(p.announce(someChange(messages.OrderPaid)))
	_, err := p.db.Exec(ctx, `delete from river_job`)
	p.must(err)
	if lost, err := store.Sweep(ctx, time.Minute); err != nil || lost != 0 {
		t.Errorf("not overdue: %d, %v", lost, err)
	}
	_, err = p.db.Exec(ctx, `update announcements set at = at - interval '2 minutes'`)
	p.must(err)
	if lost, err := store.Sweep(ctx, time.Minute); err != nil || lost != 1 {
		t.Errorf("overdue: %d, %v", lost, err)
	}
	if n := len(p.jobs("deliver_webhook", "delivery")); n != 1 {
		t.Errorf("%d jobs", n)
	}
	if n := p.count(`select count(*) from webhook_deliveries`); n != 1 {
		t.Errorf("%d deliveries", n)
	}
	if lost, err := store.Sweep(ctx, time.Minute); err != nil || lost != 0 {
		t.Errorf("found twice: %d, %v", lost, err)
	}
}

// Rooms close by themselves when all is sold, and may do so again: each time is
// announced once, from the audit log, where it was noted once.
func TestRoomsThatSoldOutAreAnnounced(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	ctx, store := t.Context(), Messages{p.store}
	p.endpoint(messages.RoomSoldOut)
	event := uuid.NewString()
	note := func(actor, action, reason, once string) {
		t.Helper()
		_, err := p.db.Exec(ctx, `insert into audit_log (actor, action, subject, detail, once) values ($1, $2, $3, jsonb_build_object('reason', $4::text), $5)`,
			actor, action, event, reason, once)
		p.must(err)
	}
	note("stock", "room.close", "sold_out", event+" 1 100")
	note("stock", "room.open", "3 tickets came back", event+" 2 200")
	note("stock", "room.close", "sold_out", event+" 3 300")
	note("schedule", "room.close", "over", event+" 4 400")
	for range 3 {
		_, err := store.Sweep(ctx, time.Hour)
		p.must(err)
	}
	if n := p.count(`select count(*) from announcements where type = 'room.sold_out' and subject = $1`, event); n != 2 {
		t.Errorf("%d announcements", n)
	}
	if n := len(p.jobs("announce", "announcement")); n != 2 {
		t.Errorf("%d jobs", n)
	}
}

func TestReplayOfARange(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{WebhookWaits: []time.Duration{}})
	ctx := t.Context()
	began := time.Now().Add(-time.Minute)
	for range 3 { // before anybody listened
		p.must(p.announce(someChange(messages.OrderPaid), someChange(messages.TicketScanned)))
	}
	e := p.endpoint(messages.OrderPaid)
	r := messages.Range{From: began, To: time.Now().Add(time.Minute)}
	if n, err := p.CountRange(ctx, e.ID, r); err != nil || n != 3 || len(p.jobs("deliver_webhook", "delivery")) > 0 {
		t.Fatalf("counted: %d, %v", n, err)
	}
	if n, err := p.ReplayRange(ctx, e.ID, r); err != nil || n != 3 {
		t.Fatalf("%d, %v", n, err)
	}
	first := p.jobs("deliver_webhook", "delivery")
	p.answer = func(webhook.Message) (webhook.Answer, error) {
		return webhook.Answer{Status: 200 + 300*(len(p.posted)%2)}, nil // the first and third fail
	}
	for _, id := range first {
		_, err := p.Deliver(ctx, id)
		p.must(err)
	}
	p.answer = nil
	r.FailedOnly = true
	if n, err := p.CountRange(ctx, e.ID, r); err != nil || n != 2 {
		t.Errorf("failed ones are counted: %d, %v", n, err)
	}
	if n, err := p.ReplayRange(ctx, e.ID, r); err != nil || n != 2 {
		t.Errorf("failed ones: %d, %v", n, err)
	}
	for _, id := range p.jobs("deliver_webhook", "delivery")[len(first):] {
		_, err := p.Deliver(ctx, id)
		p.must(err)
	}
	ids := make(map[string]int)
	for _, m := range p.posted {
		ids[m.ID]++
	}
	if len(ids) != 3 || len(p.posted) != 5 {
		t.Errorf("posted %v", ids)
	}
	if n, err := (Messages{p.store}).ReplayRange(ctx, e.ID, messages.Range{From: began, To: time.Now().Add(time.Minute)}, 2); !fault.Is(err, fault.Invalid) {
		t.Errorf("more than allowed: %d, %v", n, err)
	}
	if n, err := (Messages{p.store}).CountRange(ctx, e.ID, messages.Range{From: began, To: time.Now().Add(time.Minute)}, 2); !fault.Is(err, fault.Invalid) {
		t.Errorf("more than allowed are counted: %d, %v", n, err)
	}
	page, next, err := p.Deliveries(ctx, messages.DeliveryQuery{Endpoint: e.ID, Limit: 2})
	if err != nil || len(page) != 2 || next == "" {
		t.Fatalf("page: %d, %q, %v", len(page), next, err)
	}
	rest, next, err := p.Deliveries(ctx, messages.DeliveryQuery{Endpoint: e.ID, Status: messages.DeliveryDelivered, Limit: 2, Cursor: next})
	if err != nil || len(rest) != 1 || next != "" || rest[0].ID == page[0].ID || rest[0].ID == page[1].ID {
		t.Errorf("rest: %+v, %q, %v", rest, next, err)
	}
}

func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	ctx := t.Context()
	e := p.endpoint()
	before := e.Secrets[0]
	changed, err := p.UpdateEndpoint(ctx, e.ID, messages.EndpointPatch{}, true)
	if err != nil || len(changed.Secrets) != 1 || slices.Equal(changed.Secrets[0], before) || changed.RotatesUntil == nil {
		t.Fatalf("%+v, %v", changed, err)
	}
	deliver := func() []webhook.Secret {
		t.Helper()
		p.must(p.announce(someChange(messages.OrderPaid)))
		said := p.jobs("announce", "announcement")
		p.must(p.Announce(ctx, said[len(said)-1]))
		deliveries := p.jobs("deliver_webhook", "delivery")
		_, err := p.Deliver(ctx, deliveries[len(deliveries)-1])
		p.must(err)
		return p.posted[len(p.posted)-1].Secrets
	}
	if got := deliver(); len(got) != 2 || !slices.Equal(got[0], changed.Secrets[0]) || !slices.Equal(got[1], before) {
		t.Error("not signed with both")
	}
	_, err = p.db.Exec(ctx, `update webhook_endpoints set until_before = now()`)
	p.must(err)
	if got := deliver(); len(got) != 1 || !slices.Equal(got[0], changed.Secrets[0]) {
		t.Error("the old secret signs for ever")
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	p := newPost(t, messages.Options{})
	ctx, store := t.Context(), Messages{p.store}
	p.endpoint()
	p.must(p.announce(someChange(messages.OrderPaid), someEmail()))
	p.must(p.Announce(ctx, p.jobs("announce", "announcement")[0]))
	_, err := p.SendEmail(ctx, p.jobs("send_email", "email")[0])
	p.must(err)
	left := func() string {
		return fmt.Sprint(p.count(`select count(*) from announcements`), p.count(`select count(*) from webhook_deliveries`), p.count(`select count(*) from emails`))
	}
	p.must(store.Forget(ctx, time.Hour))
	if got := left(); got != "1 1 1" {
		t.Errorf("left: %s", got)
	}
	for _, sql := range []string{`update announcements set at = at - interval '2 hours'`, `update emails set created_at = created_at - interval '2 hours'`} {
		_, err := p.db.Exec(ctx, sql)
		p.must(err)
	}
	p.must(store.Forget(ctx, time.Hour))
	if got := left(); got != "0 0 0" {
		t.Errorf("left: %s", got)
	}
}
