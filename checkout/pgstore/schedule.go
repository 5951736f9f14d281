package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/checkout"
	"onsale/checkout/mail"
	"onsale/checkout/messages"
	"onsale/internal/fault"
)

// manyTime bounds a transaction that writes something for every order of an event.
const manyTime = time.Minute

// many is tx for such a transaction, which is not tried again.
func (s *Store) many(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, manyTime)
	defer cancel()
	return translate(pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error { return fn(ctx, tx) }))
}

// Reschedule implements checkout.OrderStore.
func (s *Store) Reschedule(ctx context.Context, r checkout.Rescheduling) (done checkout.Rescheduled, err error) {
	err = s.many(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var starts time.Time
		var doors *time.Time
		var times int
		err := tx.QueryRow(ctx, `select status, starts_at, doors_at, reschedules from events where id = $1 for no key update`, r.Event).
			Scan(&done.Was, &starts, &doors, &times)
		if err != nil {
			return notFound(err, "event")
		}
		newStarts, newDoors := starts, doors
		if r.StartsAt != nil {
			newStarts = r.StartsAt.Truncate(time.Microsecond) // as Postgres has it
			if doors != nil {
				moved := doors.Add(newStarts.Sub(starts))
				newDoors = &moved
			}
		}
		if r.DoorsAt != nil {
			at := r.DoorsAt.Truncate(time.Microsecond)
			newDoors = &at
		}
		if newDoors != nil && newDoors.After(newStarts) {
			return fault.New(fault.Invalid, "doors_at would be after starts_at")
		}
		moved := !newStarts.Equal(starts) || (newDoors == nil) != (doors == nil) || newDoors != nil && !newDoors.Equal(*doors)
		if err := checkout.MayReschedule(done.Was, r.To, moved); err != nil {
			return err
		}
		if done.Changed = done.Was != r.To || moved; !done.Changed {
			return nil
		}
		_, err = tx.Exec(ctx, `
			update events set status = $2, starts_at = $3, doors_at = $4, reschedules = reschedules + 1 where id = $1`,
			r.Event, r.To, newStarts, newDoors)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.ConstraintName == "events_once" {
			return fault.New(fault.Conflict, "another event in this venue has this name and start")
		}
		if err != nil || done.Was == "draft" {
			return err // nobody has tickets of a draft that would be told
		}
		dated := r.To == "on_sale" || r.StartsAt != nil
		done.Told, err = s.tellHolders(ctx, tx, r.Event, times+1, messages.Data{Event: r.Event, Was: &starts, Dated: dated, Note: r.Message})
		return err
	})
	return done, err
}

// TellMoved tells everybody who has tickets of an event that it takes place at another
// time, in the transaction that moves it: was is its start until now, nth how often that
// was told, this time included. It returns how many e-mails that are.
func (s *Store) TellMoved(ctx context.Context, tx pgx.Tx, event string, was time.Time, nth int) (told int, err error) {
	return s.tellHolders(ctx, tx, event, nth, messages.Data{Event: event, Was: &was, Dated: true})
}

// tellHolders writes an e-mail to everybody who has tickets of an event: to each buyer
// by their latest order, and to whom a ticket was passed on.
func (s *Store) tellHolders(ctx context.Context, tx pgx.Tx, event string, nth int, what messages.Data) (int, error) {
	rows, err := tx.Query(ctx, `
		with buyers as (
			select distinct on (lower(buyer_email)) lower(buyer_email) as who, id::text as order_id, ''::text as admission, buyer_name as name, buyer_email as email
			from orders where event_id = $1 and status in ('paid', 'fulfilled', 'partially_refunded')
			order by lower(buyer_email), created_at desc, id desc),
		holders as (
			select distinct on (lower(holder_email)) lower(holder_email) as who, ''::text as order_id, id::text as admission, holder_name as name, holder_email as email
			from admissions where event_id = $1 and ended_at is null and previous_id is not null
			order by lower(holder_email), issued_at desc, id desc)
		select order_id, admission, name, email from buyers
		union all select order_id, admission, name, email from holders where who not in (select who from buyers)`, event)
	if err != nil {
		return 0, err
	}
	var changes []announcement
	var order, admission, name, address string
	_, err = pgx.ForEachRow(rows, []any{&order, &admission, &name, &address}, func() error {
		data := what
		data.Name, data.Admission = name, admission
		m := &email{
			kind: mail.Reschedule, once: fmt.Sprintf("%s:%s:%d", mail.Reschedule, order+admission, nth),
			order: order, recipient: address, data: data,
		}
		if m.reachable() {
			changes = append(changes, announcement{email: m})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(changes), s.announce(ctx, tx, changes)
}
