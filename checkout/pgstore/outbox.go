package pgstore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/mail"
	"onsale/checkout/messages"
)

// The outbox: what is to be told is written in the transaction of the change, so
// that neither can be without the other.

// announcement is something that happened, for other systems and, where somebody
// waits for it, an e-mail. An empty kind is for the e-mail alone.
type announcement struct {
	kind    messages.Type
	subject string
	once    string // what is said a second time is not said
	event   string
	payload any
	email   *email
}

// email is one e-mail to be sent.
type email struct {
	kind      mail.Kind
	once      string
	order     string // "": it is about none
	recipient string
	data      messages.Data
}

// nobody ends the addresses of buyers who have given none (RFC 2606): the original
// paths buy as guest@onsale.invalid.
const nobody = ".invalid"

func (e *email) reachable() bool {
	return e != nil && e.recipient != "" && !strings.HasSuffix(strings.ToLower(e.recipient), nobody)
}

// announce writes down what the transaction has changed. However many changes there
// are, it costs one statement for announcements, one for e-mails in the same round
// trip, and one for jobs; those without changes of theirs are left out. There is a job
// only where somebody listens: an endpoint, or a mail server.
func (s *Store) announce(ctx context.Context, tx pgx.Tx, changes []announcement) error {
	var said announcements
	var mails emails
	for i := range changes {
		c := &changes[i]
		if c.kind != "" {
			if err := said.add(c); err != nil {
				return err
			}
		}
		if c.email.reachable() {
			if err := mails.add(c.email, s.mailing); err != nil {
				return err
			}
		}
	}
	var jobs []river.InsertManyParams
	collect := func(args func(id string) river.JobArgs) func(pgx.Rows) error {
		return func(rows pgx.Rows) error {
			var id string
			_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
				jobs = append(jobs, river.InsertManyParams{Args: args(id)})
				return nil
			})
			return err
		}
	}
	batch := &pgx.Batch{}
	if len(said.id) > 0 {
		batch.Queue(`
			with said as (
				insert into announcements (id, type, subject, once, event_id, payload, owed)
				select n.id, n.type, n.subject, n.once, n.event_id, n.payload,
				       exists (select from webhook_endpoints e where e.active and (e.types = '{}' or n.type = any(e.types)))
				from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::jsonb[]) as n (id, type, subject, once, event_id, payload)
				on conflict (once) do nothing returning id, owed)
			select id from said where owed`,
			said.id, said.kind, said.subject, said.once, said.event, said.payload).
			Query(collect(func(id string) river.JobArgs { return announceChange{Announcement: id} }))
	}
	if len(mails.id) > 0 {
		batch.Queue(`
			with mail as (
				insert into emails (id, once, kind, order_id, recipient, data, status, last_error)
				select n.id, n.once, n.kind, n.order_id, n.recipient, n.data, n.status, n.why
				from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::jsonb[], $7::text[], $8::text[])
				     as n (id, once, kind, order_id, recipient, data, status, why)
				on conflict (once) do nothing returning id, status)
			select id from mail where status = 'pending'`,
			mails.id, mails.once, mails.kind, mails.order, mails.recipient, mails.data, mails.status, mails.why).
			Query(collect(func(id string) river.JobArgs { return sendEmail{Email: id} }))
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return s.enqueueMany(ctx, tx, jobs)
}

func (s *Store) enqueueMany(ctx context.Context, tx pgx.Tx, jobs []river.InsertManyParams) error {
	switch len(jobs) {
	case 0:
		return nil
	case 1: // COPY is for many
		return s.enqueueMessage(ctx, tx, jobs[0].Args)
	}
	_, err := s.jobs.InsertManyFastTx(ctx, tx, jobs)
	return err
}

// enqueueMessage writes a job that is tried again by itself, other than those about
// money.
func (s *Store) enqueueMessage(ctx context.Context, tx pgx.Tx, args river.JobArgs) error {
	_, err := s.jobs.InsertTx(ctx, tx, args, nil)
	return err
}

// announcements are the columns of a bulk insert, emails likewise.
type announcements struct {
	id, kind, subject, once, event []string
	payload                        []json.RawMessage
}

func (a *announcements) add(c *announcement) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	payload, err := json.Marshal(c.payload)
	if err != nil {
		return fmt.Errorf("pgstore: announce %s: %w", c.kind, err)
	}
	a.id, a.kind, a.subject = append(a.id, id.String()), append(a.kind, string(c.kind)), append(a.subject, c.subject)
	a.once, a.event, a.payload = append(a.once, c.once), append(a.event, c.event), append(a.payload, payload)
	return nil
}

type emails struct {
	id, once, kind, recipient, status, why []string
	order                                  []*string
	data                                   []json.RawMessage
}

func (m *emails) add(e *email, mailing bool) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	data, err := json.Marshal(e.data)
	if err != nil {
		return fmt.Errorf("pgstore: e-mail %s: %w", e.kind, err)
	}
	var order *string
	if e.order != "" {
		order = &e.order
	}
	status, why := messages.EmailPending, ""
	if !mailing {
		status, why = messages.EmailSkipped, noMailServer
	}
	m.id, m.once, m.kind = append(m.id, id.String()), append(m.once, e.once), append(m.kind, string(e.kind))
	m.order, m.recipient, m.data = append(m.order, order), append(m.recipient, e.recipient), append(m.data, data)
	m.status, m.why = append(m.status, string(status)), append(m.why, why)
	return nil
}

const noMailServer = "no mail server is set (mail.smtp_url)"

// orderMoved is what the outside is told about an order's change of status; nothing
// about most of them. o is in its new status. Refunds have orderRefunded.
func orderMoved(o *checkout.Order, why string) []announcement {
	a := announcement{subject: o.ID, event: o.Event, payload: orderPayload(o)}
	m := &email{order: o.ID, recipient: o.Buyer.Email, data: messages.Data{Name: o.Buyer.Name}}
	switch o.Status {
	case checkout.Paid:
		a.kind = messages.OrderPaid
	case checkout.Fulfilled:
		a.kind, m.kind = messages.OrderFulfilled, mail.Confirmation
	case checkout.Cancelled:
		a.kind = messages.OrderCancelled
		if why != checkout.CancelledByBuyer { // they know, and have paid nothing
			m.kind = mail.Cancellation
		}
	default:
		return nil
	}
	a.once = string(a.kind) + ":" + o.ID
	if m.kind != "" {
		m.once = string(m.kind) + ":" + o.ID
		a.email = m
	}
	return []announcement{a}
}

// orderRefunded is what the outside is told about one refund, of which an order can
// have several; nothing when nothing was refunded.
func orderRefunded(before, after *checkout.Order) []announcement {
	back := catalog.Money{Amount: after.Refunded.Amount - before.Refunded.Amount, Currency: after.Total.Currency}
	if before.Status == checkout.Paid { // was only reserved, and is let go
		back.Amount = after.Total.Amount
	}
	left := len(after.Ordinals())
	if before.Status == after.Status && back.Amount == 0 && left == len(before.Ordinals()) {
		return nil
	}
	// Each refund leaves less money or fewer tickets than the one before.
	one := fmt.Sprintf("%s:%d:%d", after.ID, after.Refunded.Amount, left)
	return []announcement{{
		kind: messages.OrderRefunded, subject: after.ID, event: after.Event, once: string(messages.OrderRefunded) + ":" + one,
		payload: struct {
			orderTold
			Amount catalog.Money `json:"amount"`
		}{orderPayload(after), back},
		email: &email{
			kind: mail.Refund, once: string(mail.Refund) + ":" + one, order: after.ID, recipient: after.Buyer.Email,
			data: messages.Data{Name: after.Buyer.Name, Amount: &back},
		},
	}}
}

// seatsExchanged confirms the seats that an exchange has given the buyer. An exchange
// is always noted in the order's history, which tells one from the next.
func seatsExchanged(before, after *checkout.Order) []announcement {
	if len(after.History) == len(before.History) {
		return nil
	}
	return []announcement{{email: &email{
		kind: mail.Confirmation, once: fmt.Sprintf("%s:%s:%d", mail.Confirmation, after.ID, len(after.History)), order: after.ID,
		recipient: after.Buyer.Email, data: messages.Data{Name: after.Buyer.Name},
	}}}
}

// mostTransferMails bounds the e-mails about one ticket that is passed on and on:
// whoever holds it says whom we write to.
const mostTransferMails = 5

// tellHolder writes to who has a ticket now. It is about no order to them: that is
// its buyer's.
func (s *Store) tellHolder(ctx context.Context, tx pgx.Tx, from, to *checkout.Admission) error {
	var times int
	err := tx.QueryRow(ctx, `
		select count(*) from admissions where order_id = $1 and ticket_id = $2 and previous_id is not null`, to.Order, to.Ticket).Scan(&times)
	if err != nil || times > mostTransferMails {
		return err
	}
	return s.announce(ctx, tx, []announcement{{email: &email{
		kind: mail.Transfer, once: onceHolder(to), recipient: to.Holder.Email,
		data: messages.Data{Name: to.Holder.Name, Sender: from.Holder.Name, Event: to.Event, Admission: to.ID},
	}}})
}

// onceHolder names the e-mail to a new holder.
func onceHolder(to *checkout.Admission) string { return string(mail.Transfer) + ":" + to.ID }

// holderMailed reports whether the e-mail to a new holder was sent, or will be. There
// is none without a mail server, to nobody's address, and about a ticket that was
// passed on too often.
func holderMailed(ctx context.Context, tx pgx.Tx, to *checkout.Admission) (yes bool, err error) {
	err = tx.QueryRow(ctx, `
		select exists (select from emails where once = $1 and status in ('pending', 'sending', 'sent'))`, onceHolder(to)).Scan(&yes)
	return yes, err
}

// scanTold is a ticket that was let in, for other systems: without its holder and its
// code, as orders are.
type scanTold struct {
	Admission string    `json:"admission"`
	Order     string    `json:"order"`
	Ticket    string    `json:"ticket"`
	Event     string    `json:"event"`
	Section   string    `json:"section"`
	Row       string    `json:"row"`
	Seat      string    `json:"seat"`
	Tier      string    `json:"tier"`
	ScannedAt time.Time `json:"scanned_at"`
	Gate      string    `json:"gate"`
}

// ticketScanned is what the outside is told about a ticket that was let in, which
// happens once to an admission.
func ticketScanned(t scanTold) announcement {
	t.ScannedAt = t.ScannedAt.UTC()
	return announcement{
		kind: messages.TicketScanned, subject: t.Ticket, event: t.Event, once: string(messages.TicketScanned) + ":" + t.Admission, payload: t,
	}
}

// orderTold is an order for other systems: without its buyer, whom those who may know
// can look up, and without codes.
type orderTold struct {
	Order    string               `json:"order"`
	Event    string               `json:"event"`
	Status   checkout.OrderStatus `json:"status"`
	Total    catalog.Money        `json:"total"`
	Refunded catalog.Money        `json:"refunded"`
	Items    []checkout.Item      `json:"items"`
}

func orderPayload(o *checkout.Order) orderTold {
	return orderTold{o.ID, o.Event, o.Status, o.Total, o.Refunded, o.Items}
}

// announceSoldOut announces the rooms that have closed since everything is sold. The
// audit log is where a room's own doings become durable, once each; each of them is
// announced once, whoever looks, and however often.
func (s *Store) announceSoldOut(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		select subject, at, once from audit_log l
		where action = 'room.close' and actor = 'stock' and detail->>'reason' = 'sold_out'
		and at > now() - interval '7 days' and once is not null
		and not exists (select from announcements a where a.once = 'room.sold_out:' || l.once)
		order by id limit 100`)
	if err != nil {
		return err
	}
	var changes []announcement
	var event, once string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&event, &at, &once}, func() error {
		changes = append(changes, announcement{
			kind: messages.RoomSoldOut, subject: event, event: event, once: string(messages.RoomSoldOut) + ":" + once,
			payload: struct {
				Event    string    `json:"event"`
				ClosedAt time.Time `json:"closed_at"`
			}{event, at.UTC()},
		})
		return nil
	})
	if err != nil {
		return err
	}
	return s.announce(ctx, tx, changes)
}
