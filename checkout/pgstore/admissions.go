package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/ticket"
	"onsale/internal/fault"
)

// listTimeout bounds reading all admissions of an event.
const listTimeout = 2 * time.Minute

// issue makes the admissions of an order that the transaction has locked. What
// was issued before stays as it is.
func issue(ctx context.Context, tx pgx.Tx, o *checkout.Order) error {
	n := len(o.Items)
	ids, tickets, codes, secrets := make([]uuid.UUID, 0, n), make([]string, 0, n), make([]string, 0, n), make([][]byte, 0, n)
	for i := range o.Items {
		if o.Items[i].Returned != nil {
			continue
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		ids, tickets = append(ids, id), append(tickets, o.Items[i].Ticket)
		codes, secrets = append(codes, ticket.NewCode()), append(secrets, ticket.NewSecret())
	}
	_, err := tx.Exec(ctx, `
		insert into admissions (id, order_id, ticket_id, event_id, code, holder_name, holder_email, secret)
		select n.id, @order, n.ticket, @event, n.code, @name, @email, n.secret
		from unnest(@ids::uuid[], @tickets::uuid[], @codes::text[], @secrets::bytea[]) as n (id, ticket, code, secret)
		on conflict (ticket_id) where ended_at is null do nothing`, pgx.NamedArgs{
		"order": o.ID, "event": o.Event, "name": o.Buyer.Name, "email": o.Buyer.Email,
		"ids": ids, "tickets": tickets, "codes": codes, "secrets": secrets,
	})
	return err
}

// endAdmissions ends what an order's tickets (nil: all of them) still open. The
// transaction has the order locked: a transfer under way would make a new one.
func endAdmissions(ctx context.Context, tx pgx.Tx, order string, tickets []string, reason checkout.EndReason) error {
	_, err := tx.Exec(ctx, `
		update admissions set ended_at = greatest(clock_timestamp(), issued_at, scanned_at), end_reason = @reason
		where order_id = @order and ended_at is null and (@tickets::uuid[] is null or ticket_id = any(@tickets))`,
		pgx.NamedArgs{"order": order, "tickets": tickets, "reason": reason})
	return err
}

const selectAdmission = `
	select a.id, a.order_id, a.ticket_id, a.event_id, coalesce(a.previous_id::text, ''), s.name, t.row_name, t.seat_name, p.name,
		i.price_amount, e.currency, a.code, a.holder_name, a.holder_email, a.secret, e.rotating_codes, e.status = 'cancelled',
		a.issued_at, a.ended_at, coalesce(a.end_reason, ''), a.scanned_at, coalesce(a.scanned_by, ''), coalesce(a.scanned_gate, ''),
		coalesce(a.scan_id, ''), n.holder_name, n.holder_email, t.ordinal, s.entrance, t.attributes
	from admissions a join order_items i on i.order_id = a.order_id and i.ticket_id = a.ticket_id
	join tickets t on t.id = a.ticket_id join sections s on s.id = t.section_id join price_tiers p on p.id = t.tier_id
	join events e on e.id = a.event_id left join admissions n on n.previous_id = a.id`

func scanAdmission(row pgx.CollectableRow) (a checkout.Admission, err error) {
	var name, email *string
	var attributes int16
	err = row.Scan(&a.ID, &a.Order, &a.Ticket, &a.Event, &a.Previous, &a.Section, &a.Row, &a.Seat, &a.Tier,
		&a.Price.Amount, &a.Price.Currency, &a.Code, &a.Holder.Name, &a.Holder.Email, &a.Secret, &a.Rotating, &a.EventOff,
		&a.Issued, &a.Ended, &a.EndReason, &a.Scanned, &a.ScannedBy, &a.Gate, &a.ScanID, &name, &email, &a.Ordinal, &a.Entrance, &attributes)
	a.Attributes = catalog.Attributes(attributes)
	a.Issued = a.Issued.UTC()
	if a.Ended != nil {
		*a.Ended = a.Ended.UTC()
	}
	if a.Scanned != nil {
		*a.Scanned = a.Scanned.UTC()
	}
	if name != nil && email != nil {
		a.Next = &checkout.Buyer{Name: *name, Email: *email}
	}
	return a, err
}

func collectAdmissions(ctx context.Context, tx pgx.Tx, where string, args pgx.NamedArgs) ([]checkout.Admission, error) {
	rows, err := tx.Query(ctx, selectAdmission+" "+where, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanAdmission)
}

func admissionByID(ctx context.Context, tx pgx.Tx, id string) (checkout.Admission, error) {
	list, err := collectAdmissions(ctx, tx, `where a.id = @id`, pgx.NamedArgs{"id": id})
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "no such ticket")
	}
	if err != nil {
		return checkout.Admission{}, err
	}
	return list[0], nil
}

// Admissions implements checkout.AdmissionStore.
func (s *Store) Admissions(ctx context.Context, order string) (list []checkout.Admission, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		list, err = collectAdmissions(ctx, tx, `
			where a.id in (
				select distinct on (ticket_id) id from admissions where order_id = @order and previous_id is null
				order by ticket_id, issued_at desc, id desc)
			order by t.ordinal`, pgx.NamedArgs{"order": order})
		return err
	})
	return list, err
}

// Admission implements checkout.AdmissionStore.
func (s *Store) Admission(ctx context.Context, id string) (a checkout.Admission, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		a, err = admissionByID(ctx, tx, id)
		return err
	})
	return a, err
}

// FindAdmissions implements checkout.AdmissionStore.
func (s *Store) FindAdmissions(ctx context.Context, ids, codes []string) (list []checkout.Admission, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		// Two look-ups by an index each: with "or" between them there is none to use.
		list, err = collectAdmissions(ctx, tx, `
			where a.id in (select unnest(@ids::uuid[]) union select id from admissions where code = any(@codes::text[]))`,
			pgx.NamedArgs{"ids": ids, "codes": codes})
		return err
	})
	return list, err
}

// TransferAdmission implements checkout.AdmissionStore.
func (s *Store) TransferAdmission(ctx context.Context, id string, to checkout.Buyer) (next checkout.Admission, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		// The order first, as all do that end its tickets: a refund that does not
		// see the new admission would leave it alive.
		var status checkout.OrderStatus
		err := tx.QueryRow(ctx, `
			select status from orders where id = (select order_id from admissions where id = $1) for update`, id).Scan(&status)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New(fault.NotFound, "no such ticket")
		}
		if err != nil {
			return err
		}
		a, err := admissionByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if next, err = transferred(ctx, tx, &a, to); err != nil {
			return err
		}
		if next.ID != "" {
			next.Mailed, err = holderMailed(ctx, tx, &next)
			return err
		}
		fresh, err := uuid.NewV7()
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			update admissions set ended_at = greatest(clock_timestamp(), issued_at), end_reason = 'transferred'
			where id = $1 and ended_at is null and scanned_at is null`, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 { // the door was quicker
			return fault.New(fault.Conflict, "the ticket was scanned at the door; it cannot be passed on")
		}
		_, err = tx.Exec(ctx, `
			insert into admissions (id, order_id, ticket_id, event_id, previous_id, code, holder_name, holder_email, secret)
			values (@id, @order, @ticket, @event, @old, @code, @name, @email, @secret)`, pgx.NamedArgs{
			"id": fresh, "order": a.Order, "ticket": a.Ticket, "event": a.Event, "old": a.ID, "code": ticket.NewCode(),
			"name": to.Name, "email": to.Email, "secret": ticket.NewSecret(),
		})
		if err != nil {
			return err
		}
		if next, err = admissionByID(ctx, tx, fresh.String()); err != nil {
			return err
		}
		if err := s.tellHolder(ctx, tx, &a, &next); err != nil {
			return err
		}
		next.Mailed, err = holderMailed(ctx, tx, &next)
		return err
	})
	return next, err
}

// transferred is where a transfer has led already, if it was this one.
func transferred(ctx context.Context, tx pgx.Tx, a *checkout.Admission, to checkout.Buyer) (checkout.Admission, error) {
	switch {
	case a.EndReason == checkout.EndTransferred && a.Next != nil && *a.Next == to:
		list, err := collectAdmissions(ctx, tx, `where a.previous_id = @id`, pgx.NamedArgs{"id": a.ID})
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("pgstore: admission %s was transferred to %d others", a.ID, len(list))
		}
		if err != nil {
			return checkout.Admission{}, err
		}
		return list[0], nil
	case a.EndReason == checkout.EndTransferred:
		return checkout.Admission{}, fault.New(fault.Conflict, "the ticket was passed on to somebody else already")
	case a.Ended != nil:
		return checkout.Admission{}, fault.New(fault.Conflict, "a ticket that was %s cannot be passed on", a.EndReason)
	case a.EventOff:
		return checkout.Admission{}, fault.New(fault.Conflict, "the event is cancelled; its tickets cannot be passed on")
	case a.Scanned != nil:
		return checkout.Admission{}, fault.New(fault.Conflict, "the ticket was scanned at the door; it cannot be passed on")
	}
	return checkout.Admission{}, nil
}

// MarkScanned implements checkout.AdmissionStore.
func (s *Store) MarkScanned(ctx context.Context, marks []checkout.Mark) (done []string, err error) {
	args := pgx.NamedArgs{}
	n := len(marks)
	ids, by, gates, names, at := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]any, n)
	for i, m := range marks {
		ids[i], by[i], gates[i], names[i] = m.Admission, m.By, m.Gate, m.ID
		if !m.At.IsZero() {
			at[i] = m.At
		}
	}
	args["ids"], args["by"], args["gates"], args["names"], args["at"] = ids, by, gates, names, at
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		// One conditional statement decides who comes first. Rows are locked in the
		// order of their ids, so that two uploads cannot deadlock.
		rows, err := tx.Query(ctx, `
			with shown as (
				select id, by, gate, name, at from unnest(@ids::uuid[], @by::text[], @gates::text[], @names::text[], @at::timestamptz[]) as w (id, by, gate, name, at)),
			live as (
				select a.id from admissions a where a.id = any(@ids::uuid[]) and a.ended_at is null and a.scanned_at is null
				order by a.id for update),
			done as (
				update admissions a
				set scanned_at = greatest(a.issued_at, least(w.at, clock_timestamp())), scanned_by = w.by, scanned_gate = w.gate, scan_id = w.name
				from live join shown w using (id) where a.id = live.id
				returning a.id, a.order_id, a.ticket_id, a.event_id, a.scanned_at, a.scanned_gate)
			select d.id, d.order_id, d.ticket_id, d.event_id, s.name, t.row_name, t.seat_name, p.name, d.scanned_at, d.scanned_gate
			from done d join tickets t on t.id = d.ticket_id join sections s on s.id = t.section_id join price_tiers p on p.id = t.tier_id`, args)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[scanTold])
		if err != nil {
			return err
		}
		done = make([]string, len(list))
		changes := make([]announcement, len(list))
		for i := range list {
			done[i], changes[i] = list[i].Admission, ticketScanned(list[i])
		}
		return s.announce(ctx, tx, changes)
	})
	return done, err
}

// EachAdmission implements checkout.AdmissionStore.
func (s *Store) EachAdmission(ctx context.Context, event string, f func(*checkout.Admission) error) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	rows, err := s.db.Query(ctx, selectAdmission+` where a.event_id = $1 order by a.id`, event)
	if err != nil {
		return translate(err)
	}
	defer rows.Close()
	for rows.Next() {
		a, err := scanAdmission(rows)
		if err == nil {
			err = f(&a)
		}
		if err != nil {
			return err
		}
	}
	return translate(rows.Err())
}

// AdmissionsVersion implements checkout.AdmissionStore. Admissions come, end and
// are scanned, and nothing of that is ever undone: counts tell every change. The
// rest is said of the event, which knows when that last changed.
func (s *Store) AdmissionsVersion(ctx context.Context, event string) (version string, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return notFound(tx.QueryRow(ctx, `
			select concat_ws('-', e.id, extract(epoch from e.updated_at), count(a.id), count(a.ended_at), count(a.scanned_at))
			from events e left join admissions a on a.event_id = e.id where e.id = $1 group by e.id`, event).Scan(&version), "event")
	})
	return version, err
}
