package pgstore

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onsale/checkout"
	"onsale/checkout/mail"
	"onsale/checkout/messages"
	"onsale/checkout/webhook"
	"onsale/internal/fault"
)

// Messages is the part of a Store that carries what the outbox holds.
type Messages struct{ *Store }

var _ messages.Store = Messages{}

// Mailing tells the store whether there is a mail server. Without one, e-mails are
// recorded as skipped and cost no job. It is called before the store is used.
func (s *Store) Mailing(yes bool) { s.mailing = yes }

const sweepMost = 500

// FanOut implements messages.Store.
func (m Messages) FanOut(ctx context.Context, id string) error {
	return m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error { return m.fanOut(ctx, tx, []string{id}) })
}

func (m Messages) fanOut(ctx context.Context, tx pgx.Tx, ids []string) error {
	// Two who do this at once do it one after the other: the second finds nothing owed.
	rows, err := tx.Query(ctx, `
		with a as (update announcements set owed = false where id = any($1::uuid[]) and owed returning id, type)
		select a.id, e.id from a join webhook_endpoints e on e.active and (e.types = '{}' or a.type = any(e.types))`, ids)
	if err != nil {
		return err
	}
	var said, endpoints []string
	var announcement, endpoint string
	_, err = pgx.ForEachRow(rows, []any{&announcement, &endpoint}, func() error {
		said, endpoints = append(said, announcement), append(endpoints, endpoint)
		return nil
	})
	if err != nil {
		return err
	}
	_, err = m.deliver(ctx, tx, said, endpoints)
	return err
}

// deliver makes deliveries, or has those that are there tried from the beginning, and
// their jobs.
func (m Messages) deliver(ctx context.Context, tx pgx.Tx, said, endpoints []string) (int, error) {
	if len(said) == 0 {
		return 0, nil
	}
	ids := make([]string, len(said))
	for i := range ids {
		id, err := uuid.NewV7()
		if err != nil {
			return 0, err
		}
		ids[i] = id.String()
	}
	rows, err := tx.Query(ctx, `
		insert into webhook_deliveries (id, announcement_id, endpoint_id)
		select n.id, n.said, n.endpoint from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as n (id, said, endpoint)
		on conflict (announcement_id, endpoint_id) do update
		   set status = 'pending', attempts = 0, next_at = now(), delivered_at = null
		returning id`, ids, said, endpoints)
	if err != nil {
		return 0, err
	}
	made, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	return len(made), m.enqueueMany(ctx, tx, deliveryJobs(made))
}

func deliveryJobs(ids []string) []river.InsertManyParams {
	jobs := make([]river.InsertManyParams, len(ids))
	for i, id := range ids {
		jobs[i].Args = deliverWebhook{Delivery: id}
	}
	return jobs
}

// Sweep implements messages.Store.
func (m Messages) Sweep(ctx context.Context, age time.Duration) (lost int, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := m.announceSoldOut(ctx, tx); err != nil {
			return err
		}
		// A job that was given up, or lost with its queue. What is found here is not
		// found again until it is overdue once more.
		rows, err := tx.Query(ctx, `
			select id from announcements where owed and at < now() - $1::interval
			order by at limit $2 for update skip locked`, age, sweepMost)
		if err != nil {
			return err
		}
		owed, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if err := m.fanOut(ctx, tx, owed); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			update webhook_deliveries set next_at = now() where id in (
				select id from webhook_deliveries where status = 'pending' and next_at < now() - $1::interval
				order by next_at limit $2 for update skip locked)
			returning id`, age, sweepMost)
		if err != nil {
			return err
		}
		deliveries, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			update emails set next_at = now() where id in (
				select id from emails where status in ('pending', 'sending') and next_at < now() - $1::interval
				order by next_at limit $2 for update skip locked)
			returning id`, age, sweepMost)
		if err != nil {
			return err
		}
		mails, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		lost = len(owed) + len(deliveries) + len(mails)
		jobs := deliveryJobs(deliveries)
		for _, id := range mails {
			jobs = append(jobs, river.InsertManyParams{Args: sendEmail{Email: id}})
		}
		return m.enqueueMany(ctx, tx, jobs)
	})
	return lost, err
}

// Forget implements messages.Store.
func (m Messages) Forget(ctx context.Context, age time.Duration) error {
	return m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			delete from announcements where id in (
				select id from announcements where at < now() - $1::interval order by at limit 1000)`, age)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			delete from emails where order_id is null and status in ('sent', 'failed', 'skipped')
			and created_at < now() - $1::interval`, age)
		return err
	})
}

// TakeDelivery implements messages.Store.
func (m Messages) TakeDelivery(ctx context.Context, id string, lease time.Duration) (a *messages.Attempt, later time.Duration, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		a, later = nil, 0
		var t messages.Attempt
		said, end := &t.Announcement, &t.Endpoint
		var secret, before webhook.Secret
		err := tx.QueryRow(ctx, `
			update webhook_deliveries d set attempts = attempts + 1, next_at = now() + $2::interval
			from announcements a, webhook_endpoints e
			where d.id = $1 and d.status = 'pending' and d.next_at <= now() and a.id = d.announcement_id and e.id = d.endpoint_id
			returning d.id, d.attempts, a.id, a.type, a.subject, a.event_id, a.payload, a.at,
			          e.id, e.url, e.active, e.secret, case when e.until_before > now() then e.secret_before end`, id, lease).
			Scan(&t.Delivery, &t.Number, &said.ID, &said.Type, &said.Subject, &said.Event, &said.Payload, &said.At,
				&end.ID, &end.URL, &end.Active, &secret, &before)
		if errors.Is(err, pgx.ErrNoRows) {
			later, err = notYet(ctx, tx, `select next_at - now() from webhook_deliveries where id = $1 and status = 'pending'`, id)
			return err
		}
		if err != nil {
			return err
		}
		end.Secrets = []webhook.Secret{secret}
		if before != nil {
			end.Secrets = append(end.Secrets, before)
		}
		a = &t
		return nil
	})
	return a, later, err
}

// notYet is how long there is to wait for what is open; 0 for what is not.
func notYet(ctx context.Context, tx pgx.Tx, query, id string) (later time.Duration, err error) {
	err = tx.QueryRow(ctx, query, id).Scan(&later)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return max(later, time.Millisecond), err
}

// DeliveryDone implements messages.Store.
func (m Messages) DeliveryDone(ctx context.Context, a *messages.Attempt, o messages.DeliveryOutcome) error {
	return m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var answer *int
		if o.Answer != 0 {
			answer = &o.Answer
		}
		_, err := tx.Exec(ctx, `
			update webhook_deliveries set status = @status, last_status = @answer, last_error = @error, next_at = now() + @wait::interval,
			       delivered_at = case when @status = 'delivered' then now() end
			where id = @id and attempts = @number and status = 'pending'`, pgx.NamedArgs{
			"id": a.Delivery, "number": a.Number, "status": string(o.Status), "answer": answer, "error": o.Error, "wait": o.Wait,
		})
		if err != nil || !o.Gone {
			return err
		}
		_, err = tx.Exec(ctx, `update webhook_endpoints set active = false, why_inactive = $2 where id = $1 and active`, a.Endpoint.ID, o.Error)
		return err
	})
}

const selectEmail = `
	select id, kind, order_id, recipient, status, attempts, last_error,
	       case when status = 'pending' then next_at end, sent_at, created_at, data from emails`

func scanEmail(row pgx.CollectableRow) (e messages.Email, err error) {
	err = row.Scan(&e.ID, &e.Kind, &e.Order, &e.Recipient, &e.Status, &e.Attempts, &e.LastError, &e.NextAt, &e.SentAt, &e.CreatedAt, &e.Data)
	e.CreatedAt, e.NextAt, e.SentAt = e.CreatedAt.UTC(), utc(e.NextAt), utc(e.SentAt)
	return e, err
}

func loadEmail(ctx context.Context, tx pgx.Tx, id string) (messages.Email, error) {
	rows, err := tx.Query(ctx, selectEmail+` where id = $1`, id)
	if err != nil {
		return messages.Email{}, err
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEmail)
	return e, notFound(err, "e-mail")
}

// TakeEmail implements messages.Store.
func (m Messages) TakeEmail(ctx context.Context, id string, lease time.Duration) (e *messages.Email, later time.Duration, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		e, later = nil, 0
		// "sending" whose lease is over is a worker that died: whether the mail server
		// has the e-mail, nobody knows.
		tag, err := tx.Exec(ctx, `
			update emails set status = 'sending', attempts = attempts + 1, next_at = now() + $2::interval
			where id = $1 and status in ('pending', 'sending') and next_at <= now()`, id, lease)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			later, err = notYet(ctx, tx, `select next_at - now() from emails where id = $1 and status in ('pending', 'sending')`, id)
			return err
		}
		taken, err := loadEmail(ctx, tx, id)
		e = &taken
		return err
	})
	return e, later, err
}

// EmailDone implements messages.Store.
func (m Messages) EmailDone(ctx context.Context, e *messages.Email, o messages.EmailOutcome) error {
	return m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			update emails set status = @status, last_error = @error, next_at = now() + @wait::interval,
			       sent_at = case when @status = 'sent' then now() else sent_at end
			where id = @id and attempts = @number and status = 'sending'`, pgx.NamedArgs{
			"id": e.ID, "number": e.Attempts, "status": string(o.Status), "error": o.Error, "wait": o.Wait,
		})
		return err
	})
}

const selectEndpoint = `
	select id, url, types, active, why_inactive, note, created_at, case when until_before > now() then until_before end from webhook_endpoints`

func scanEndpoint(row pgx.CollectableRow) (e messages.Endpoint, err error) {
	var types []string
	err = row.Scan(&e.ID, &e.URL, &types, &e.Active, &e.WhyInactive, &e.Note, &e.CreatedAt, &e.RotatesUntil)
	e.Types = make([]messages.Type, len(types))
	for i, t := range types {
		e.Types[i] = messages.Type(t)
	}
	e.CreatedAt, e.RotatesUntil = e.CreatedAt.UTC(), utc(e.RotatesUntil)
	return e, err
}

// Endpoints implements messages.Store.
func (m Messages) Endpoints(ctx context.Context) (list []messages.Endpoint, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectEndpoint+` order by id`)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scanEndpoint)
		return err
	})
	return list, err
}

// Endpoint implements messages.Store. It alone, and TakeDelivery, read the secrets.
func (m Messages) Endpoint(ctx context.Context, id string) (e messages.Endpoint, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if e, err = loadEndpoint(ctx, tx, id); err != nil {
			return err
		}
		var secret, before webhook.Secret
		err := tx.QueryRow(ctx, `
			select secret, case when until_before > now() then secret_before end from webhook_endpoints where id = $1`, id).Scan(&secret, &before)
		e.Secrets = []webhook.Secret{secret}
		if before != nil {
			e.Secrets = append(e.Secrets, before)
		}
		return err
	})
	return e, err
}

func loadEndpoint(ctx context.Context, tx pgx.Tx, id string) (messages.Endpoint, error) {
	rows, err := tx.Query(ctx, selectEndpoint+` where id = $1`, id)
	if err != nil {
		return messages.Endpoint{}, err
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	return e, notFound(err, "webhook")
}

// CreateEndpoint implements messages.Store.
func (m Messages) CreateEndpoint(ctx context.Context, e messages.Endpoint, most int) (created messages.Endpoint, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return created, err
	}
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var there int
		if err := tx.QueryRow(ctx, `select count(*) from webhook_endpoints`).Scan(&there); err != nil {
			return err
		}
		if there >= most {
			return fault.New(fault.Conflict, "there are %d webhooks already, and no more can be had", there)
		}
		_, err := tx.Exec(ctx, `insert into webhook_endpoints (id, url, secret, types, note) values ($1, $2, $3, $4, $5)`,
			id, e.URL, []byte(e.Secrets[0]), typeTexts(e.Types), e.Note)
		if err != nil {
			return err
		}
		created, err = loadEndpoint(ctx, tx, id.String())
		return err
	})
	created.Secrets = e.Secrets
	return created, err
}

func typeTexts(types []messages.Type) []string {
	texts := make([]string, len(types))
	for i, t := range types {
		texts[i] = string(t)
	}
	return texts
}

// UpdateEndpoint implements messages.Store.
func (m Messages) UpdateEndpoint(ctx context.Context, id string, p messages.EndpointPatch) (e messages.Endpoint, err error) {
	args := pgx.NamedArgs{"id": id, "url": p.URL, "types": nil, "active": p.Active, "note": p.Note, "secret": nil, "rotate": messages.RotateFor}
	if p.Types != nil {
		args["types"] = typeTexts(*p.Types)
	}
	if p.Secret != nil {
		args["secret"] = []byte(p.Secret)
	}
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			update webhook_endpoints set url = coalesce(@url, url), types = coalesce(@types::text[], types), note = coalesce(@note, note),
			       active = coalesce(@active, active), why_inactive = case when @active::boolean is null then why_inactive else '' end,
			       secret_before = case when @secret::bytea is null then secret_before else secret end,
			       until_before = case when @secret::bytea is null then until_before else now() + @rotate::interval end,
			       secret = coalesce(@secret, secret)
			where id = @id`, args)
		if err != nil {
			return err
		}
		e, err = loadEndpoint(ctx, tx, id)
		return err
	})
	if p.Secret != nil {
		e.Secrets = []webhook.Secret{p.Secret}
	}
	return e, err
}

// DeleteEndpoint implements messages.Store.
func (m Messages) DeleteEndpoint(ctx context.Context, id string) error {
	return m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from webhook_endpoints where id = $1`, id)
		if err == nil && tag.RowsAffected() == 0 {
			return fault.New(fault.NotFound, "no such webhook")
		}
		return err
	})
}

const selectDelivery = `
	select d.id, d.endpoint_id, d.announcement_id, a.type, a.subject, d.status, d.attempts, d.last_status, d.last_error,
	       case when d.status = 'pending' then d.next_at end, d.delivered_at, d.created_at
	from webhook_deliveries d join announcements a on a.id = d.announcement_id`

func scanDelivery(row pgx.CollectableRow) (d messages.Delivery, err error) {
	err = row.Scan(&d.ID, &d.Endpoint, &d.Announcement, &d.Type, &d.Subject, &d.Status, &d.Attempts, &d.LastStatus, &d.LastError,
		&d.NextAt, &d.DeliveredAt, &d.CreatedAt)
	d.NextAt, d.DeliveredAt, d.CreatedAt = utc(d.NextAt), utc(d.DeliveredAt), d.CreatedAt.UTC()
	return d, err
}

func loadDelivery(ctx context.Context, tx pgx.Tx, id string) (messages.Delivery, error) {
	rows, err := tx.Query(ctx, selectDelivery+` where d.id = $1`, id)
	if err != nil {
		return messages.Delivery{}, err
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDelivery)
	return d, notFound(err, "delivery")
}

// Deliveries implements messages.Store.
func (m Messages) Deliveries(ctx context.Context, q messages.DeliveryQuery) (list []messages.Delivery, next string, err error) {
	before, err := idCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		next = ""
		if _, err := loadEndpoint(ctx, tx, q.Endpoint); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectDelivery+`
			where d.endpoint_id = @endpoint and (@status = '' or d.status = @status) and (@before::uuid is null or d.id < @before)
			order by d.id desc limit @limit`,
			pgx.NamedArgs{"endpoint": q.Endpoint, "status": string(q.Status), "before": before, "limit": q.Limit + 1})
		if err != nil {
			return err
		}
		if list, err = pgx.CollectRows(rows, scanDelivery); err == nil && len(list) > q.Limit {
			list = list[:q.Limit]
			next = nextID(list[q.Limit-1].ID)
		}
		return err
	})
	return list, next, err
}

// idCursor reads a cursor that is an id, nil for the first page.
func idCursor(cursor string) (*string, error) {
	if cursor == "" {
		return nil, nil //nolint:nilnil // the first page
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil && len(raw) == len(uuid.UUID{}) {
		id := uuid.UUID(raw).String()
		return &id, nil
	}
	return nil, fault.New(fault.Invalid, "query parameter \"cursor\" is not one this server gave out")
}

func nextID(id string) string {
	u := uuid.MustParse(id)
	return base64.RawURLEncoding.EncodeToString(u[:])
}

// Delivery implements messages.Store.
func (m Messages) Delivery(ctx context.Context, id string) (d messages.Delivery, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		d, err = loadDelivery(ctx, tx, id)
		return err
	})
	return d, err
}

// Replay implements messages.Store.
func (m Messages) Replay(ctx context.Context, id string) (d messages.Delivery, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if d, err = loadDelivery(ctx, tx, id); err != nil {
			return err
		}
		if err := active(ctx, tx, d.Endpoint); err != nil {
			return err
		}
		if _, err := m.deliver(ctx, tx, []string{d.Announcement}, []string{d.Endpoint}); err != nil {
			return err
		}
		d, err = loadDelivery(ctx, tx, id)
		return err
	})
	return d, err
}

// active refuses to send to an endpoint that is switched off.
func active(ctx context.Context, tx pgx.Tx, endpoint string) error {
	e, err := loadEndpoint(ctx, tx, endpoint)
	if err == nil && !e.Active {
		err = fault.New(fault.Conflict, "the webhook is switched off; switch it on first")
	}
	return err
}

// ReplayRange implements messages.Store.
func (m Messages) ReplayRange(ctx context.Context, endpoint string, r messages.Range, most int) (n int, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		said, err := within(ctx, tx, endpoint, r, most)
		if err != nil {
			return err
		}
		endpoints := make([]string, len(said))
		for i := range endpoints {
			endpoints[i] = endpoint
		}
		n, err = m.deliver(ctx, tx, said, endpoints)
		return err
	})
	return n, err
}

// CountRange implements messages.Store.
func (m Messages) CountRange(ctx context.Context, endpoint string, r messages.Range, most int) (n int, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		said, err := within(ctx, tx, endpoint, r, most)
		n = len(said)
		return err
	})
	return n, err
}

// within lists the announcements of a range that an endpoint, which is on, wants.
func within(ctx context.Context, tx pgx.Tx, endpoint string, r messages.Range, most int) ([]string, error) {
	if err := active(ctx, tx, endpoint); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `
		select a.id from announcements a join webhook_endpoints e on e.id = @endpoint
		left join webhook_deliveries d on d.announcement_id = a.id and d.endpoint_id = e.id
		where a.at >= @from and a.at < @to and (e.types = '{}' or a.type = any(e.types))
		and (not @failed or coalesce(d.status, 'failed') = 'failed')
		order by a.at, a.id limit @limit`,
		pgx.NamedArgs{"endpoint": endpoint, "from": r.From, "to": r.To, "failed": r.FailedOnly, "limit": most + 1})
	if err != nil {
		return nil, err
	}
	said, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(said) > most {
		err = fault.New(fault.Invalid, "from, to: more than %d messages are of this time; choose a shorter one", most)
	}
	return said, err
}

// Emails implements messages.Store.
func (m Messages) Emails(ctx context.Context, q messages.EmailQuery) (list []messages.Email, next string, err error) {
	before, err := idCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	args := pgx.NamedArgs{"status": string(q.Status), "before": before, "limit": q.Limit + 1, "order": nil}
	if q.Order != "" {
		args["order"] = q.Order
	}
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		next = ""
		rows, err := tx.Query(ctx, selectEmail+`
			where (@order::uuid is null or order_id = @order) and (@status = '' or status = @status) and (@before::uuid is null or id < @before)
			order by id desc limit @limit`, args)
		if err != nil {
			return err
		}
		if list, err = pgx.CollectRows(rows, scanEmail); err == nil && len(list) > q.Limit {
			list = list[:q.Limit]
			next = nextID(list[q.Limit-1].ID)
		}
		return err
	})
	return list, next, err
}

// Email implements messages.Store.
func (m Messages) Email(ctx context.Context, id string) (e messages.Email, err error) {
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		e, err = loadEmail(ctx, tx, id)
		return err
	})
	return e, err
}

// Resend implements messages.Store.
func (m Messages) Resend(ctx context.Context, id string) (e messages.Email, err error) {
	if !m.mailing {
		return e, noMail()
	}
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select from emails where id = $1 for update`, id); err != nil {
			return err
		}
		if e, err = loadEmail(ctx, tx, id); err != nil {
			return err
		}
		switch e.Status {
		case messages.EmailSent: // one like it: under the same Message-ID it would count as the one they have
			e, err = m.copyEmail(ctx, tx, id)
			return err
		case messages.EmailFailed, messages.EmailSkipped:
		default:
			return fault.New(fault.Conflict, "the e-mail is %s; it is on its way", e.Status)
		}
		_, err := tx.Exec(ctx, `update emails set status = 'pending', attempts = 0, next_at = now() where id = $1`, id)
		if err != nil {
			return err
		}
		if err := m.enqueueMessage(ctx, tx, sendEmail{Email: id}); err != nil {
			return err
		}
		e, err = loadEmail(ctx, tx, id)
		return err
	})
	return e, err
}

func noMail() error {
	return fault.New(fault.Conflict, "no e-mail can be sent: no mail server is set (mail.smtp_url)")
}

// copyEmail has a further e-mail like one that was sent.
func (m Messages) copyEmail(ctx context.Context, tx pgx.Tx, of string) (messages.Email, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return messages.Email{}, err
	}
	_, err = tx.Exec(ctx, `
		insert into emails (id, once, kind, order_id, recipient, data)
		select $1::uuid, 'again:' || $1::uuid, kind, order_id, recipient, data from emails where id = $2`, id.String(), of)
	if err != nil {
		return messages.Email{}, err
	}
	if err := m.enqueueMessage(ctx, tx, sendEmail{Email: id.String()}); err != nil {
		return messages.Email{}, err
	}
	return loadEmail(ctx, tx, id.String())
}

// Confirm implements messages.Store.
func (m Messages) Confirm(ctx context.Context, order string, most int, within time.Duration) (e messages.Email, err error) {
	if !m.mailing {
		return e, noMail()
	}
	err = m.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		o, err := loadOrder(ctx, tx, order, true) // locked: two clicks count one after the other
		if err != nil {
			return err
		}
		fresh := &email{kind: mail.Confirmation, order: o.ID, recipient: o.Buyer.Email, data: messages.Data{Name: o.Buyer.Name}}
		switch {
		case o.Status != checkout.Fulfilled && o.Status != checkout.PartiallyRefunded:
			return fault.New(fault.Conflict, "an order that is %s has no tickets to send", o.Status)
		case !fresh.reachable():
			return fault.New(fault.Conflict, "the order has no e-mail address")
		}
		var sent int
		var free time.Duration // until the oldest of them does not count any more
		err = tx.QueryRow(ctx, `
			select count(*), coalesce(min(created_at) + $2::interval - now(), '0') from emails
			where order_id = $1 and kind = 'confirmation' and once like 'confirmation:%:again:%' and created_at > now() - $2::interval`,
			order, within).Scan(&sent, &free)
		if err != nil {
			return err
		}
		if sent >= most {
			return fault.New(fault.TooMany, "the confirmation was sent %d times within the hour; look into the folder for unwanted mail", sent).
				After(max(free, time.Second))
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		fresh.once = "confirmation:" + o.ID + ":again:" + id.String()
		if err := m.announce(ctx, tx, []announcement{{email: fresh}}); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectEmail+` where once = $1`, fresh.once)
		if err != nil {
			return err
		}
		e, err = pgx.CollectExactlyOneRow(rows, scanEmail)
		return err
	})
	return e, err
}
