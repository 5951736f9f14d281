package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
)

// selectPromos reads promo codes with their event's currency.
const selectPromos = `
	select p.id, p.code, p.kind, p.value, e.currency, p.max_uses, p.per_buyer, p.used, p.starts_at, p.ends_at, p.active, p.note, p.created_at
	from promo_codes p join events e on e.id = p.event_id`

func collectPromos(rows pgx.Rows, err error) ([]checkout.PromoCode, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p checkout.PromoCode, err error) {
		var kind checkout.PromoKind
		var value int64
		var currency string
		err = row.Scan(&p.ID, &p.Code, &kind, &value, &currency, &p.MaxUses, &p.PerBuyer, &p.Used,
			&p.StartsAt, &p.EndsAt, &p.Active, &p.Note, &p.CreatedAt)
		if kind == checkout.PromoPercent {
			rate := catalog.Rate(value)
			p.Percent = &rate
		} else {
			p.Amount = &catalog.Money{Amount: value, Currency: currency}
		}
		for _, t := range [...]*time.Time{p.StartsAt, p.EndsAt, &p.CreatedAt} {
			if t != nil {
				*t = t.UTC()
			}
		}
		return p, err
	})
}

// CreatePromos implements checkout.PromoStore.
func (s *Store) CreatePromos(ctx context.Context, event string, codes []string, n checkout.NewPromo) (list []checkout.PromoCode, err error) {
	kind, value := checkout.PromoPercent, int64(0)
	if n.Percent != nil {
		value = int64(*n.Percent)
	} else {
		kind, value = checkout.PromoAmount, *n.Amount
	}
	promos := make([]uuid.UUID, len(codes))
	for i := range promos {
		if promos[i], err = uuid.NewV7(); err != nil {
			return nil, err
		}
	}
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into promo_codes (id, event_id, code, kind, value, max_uses, per_buyer, starts_at, ends_at, active, note)
			select n.id, @event, n.code, @kind, @value, @max_uses, @per_buyer, @starts_at, @ends_at, @active, @note
			from unnest(@ids::uuid[], @codes::text[]) as n (id, code)`, pgx.NamedArgs{
			"event": event, "ids": promos, "codes": codes, "kind": string(kind), "value": value, "max_uses": n.MaxUses, "per_buyer": n.PerBuyer,
			"starts_at": n.StartsAt, "ends_at": n.EndsAt, "active": !n.Inactive, "note": n.Note,
		})
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" {
			return fault.New(fault.Conflict, "the event has a promo code of this name already")
		} else if err != nil {
			return err
		}
		list, err = collectPromos(tx.Query(ctx, selectPromos+` where p.id = any($1) order by p.id`, promos))
		return err
	})
	return list, err
}

// Promos implements checkout.PromoStore.
func (s *Store) Promos(ctx context.Context, q checkout.PromoQuery) (page checkout.PromoPage, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		page.Promos, err = collectPromos(tx.Query(ctx, selectPromos+`
			where p.event_id = @event and (@code = '' or p.code = @code) and (@after = '' or p.id < nullif(@after, '')::uuid)
			order by p.id desc limit @limit`, pgx.NamedArgs{
			"event": q.Event, "code": q.Code, "after": q.Cursor, "limit": q.Limit + 1,
		}))
		return err
	})
	if len(page.Promos) > q.Limit {
		page.Promos = page.Promos[:q.Limit]
		page.Next = page.Promos[q.Limit-1].ID
	}
	return page, err
}

func onePromo(ctx context.Context, tx pgx.Tx, event, promo string) (checkout.PromoCode, error) {
	list, err := collectPromos(tx.Query(ctx, selectPromos+` where p.event_id = $1 and p.id = $2`, event, promo))
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "the event has no such promo code")
	}
	if err != nil {
		return checkout.PromoCode{}, err
	}
	return list[0], nil
}

// PromoCode implements checkout.PromoStore.
func (s *Store) PromoCode(ctx context.Context, event, promo string) (p checkout.PromoCode, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		p, err = onePromo(ctx, tx, event, promo)
		return err
	})
	return p, err
}

// UpdatePromo implements checkout.PromoStore.
func (s *Store) UpdatePromo(ctx context.Context, event, promo string, c checkout.PromoPatch) (p checkout.PromoCode, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			update promo_codes set
			       active = coalesce(@active, active), note = coalesce(@note, note),
			       max_uses = case when @set_max_uses::boolean then @max_uses::integer else max_uses end,
			       per_buyer = case when @set_per_buyer::boolean then @per_buyer::integer else per_buyer end,
			       starts_at = case when @set_starts_at::boolean then @starts_at::timestamptz else starts_at end,
			       ends_at = case when @set_ends_at::boolean then @ends_at::timestamptz else ends_at end
			where event_id = @event and id = @promo`, pgx.NamedArgs{
			"event": event, "promo": promo, "active": c.Active, "note": c.Note,
			"set_max_uses": c.MaxUses.Given, "max_uses": c.MaxUses.Value,
			"set_per_buyer": c.PerBuyer.Given, "per_buyer": c.PerBuyer.Value,
			"set_starts_at": c.StartsAt.Given, "starts_at": c.StartsAt.Value,
			"set_ends_at": c.EndsAt.Given, "ends_at": c.EndsAt.Value,
		})
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.ConstraintName == "promo_codes_limit" {
			return fault.New(fault.Conflict, "max_uses would be below the uses there were")
		} else if err != nil {
			return err
		}
		p, err = onePromo(ctx, tx, event, promo)
		if err == nil && p.StartsAt != nil && p.EndsAt != nil && !p.EndsAt.After(*p.StartsAt) {
			return fault.New(fault.Invalid, "ends_at would not be after starts_at")
		}
		return err
	})
	return p, err
}

// Promo implements checkout.PromoStore. What it says of the uses is true at this
// moment only: the order's own transaction counts.
func (s *Store) Promo(ctx context.Context, event, code, visitor string) (p checkout.Promo, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var reason checkout.PromoReason
		err := tx.QueryRow(ctx, `
			select p.id, p.code, p.kind, p.value, case
			       when not p.active or p.ends_at <= now() then 'over'
			       when p.starts_at > now() then 'not_yet'
			       when p.per_buyer <= (
			           select count(*) from orders o where o.promo_id = p.id and o.status not in `+over+`
			           and o.user_id = any(array(
			               select id from users where visitor = @visitor
			               union select d.id from users u join users d using (account_id) where u.visitor = @visitor))) then 'used_by_you'
			       when p.used >= p.max_uses then 'used_up'
			       else '' end
			from promo_codes p where p.event_id = @event and p.code = @code`,
			pgx.NamedArgs{"event": event, "code": code, "visitor": visitor}).Scan(&p.ID, &p.Code, &p.Kind, &p.Value, &reason)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return checkout.PromoInvalid(checkout.PromoUnknown)
		case err == nil && reason != "":
			return checkout.PromoInvalid(reason)
		}
		return err
	})
	return p, err
}
