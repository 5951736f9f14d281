package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/checkout"
	"onsale/internal/fault"
)

// Inventory implements checkout.OrderStore.
func (s *Store) Inventory(ctx context.Context, event string) (t checkout.Truth, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		t, err = truthOf(ctx, tx, event)
		return err
	})
	return t, err
}

func truthOf(ctx context.Context, tx pgx.Tx, event string) (t checkout.Truth, err error) {
	t = checkout.Truth{Orders: make(map[int]time.Duration)}
	rows, err := tx.Query(ctx, `
		select t.ordinal, t.status, coalesce(t.reserved_until - now(), interval '0'), coalesce(c.number, 0)
		from tickets t left join channels c on c.id = t.channel_id
		where t.event_id = $1 order by t.ordinal`, event)
	if err != nil {
		return t, err
	}
	var ordinal, channel int
	var state string
	var left time.Duration
	kept := false
	_, err = pgx.ForEachRow(rows, []any{&ordinal, &state, &left, &channel}, func() error {
		to := checkout.Available
		switch {
		case state == "purchased":
			to = checkout.Sold
		case state == "reserved" && left > 0:
			to = checkout.Held
			t.Orders[ordinal] = left
		case channel > 0:
			to = checkout.Blocked
		}
		t.States = append(t.States, to)
		t.Channels = append(t.Channels, byte(channel))
		kept = kept || channel > 0
		return nil
	})
	if !kept {
		t.Channels = nil
	}
	return t, err
}

// Buyers implements checkout.OrderStore.
func (s *Store) Buyers(ctx context.Context, event string) (b checkout.Buyers, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		b = checkout.Buyers{Bought: make(map[string]int), Members: make(map[string][]int)}
		rows, err := tx.Query(ctx, `
			select u.visitor, count(*) from tickets t join users u on u.id = t.user_id
			where t.event_id = $1 and t.status = 'purchased' and u.visitor is not null group by u.visitor`, event)
		if err != nil {
			return err
		}
		var visitor string
		var n int
		if _, err = pgx.ForEachRow(rows, []any{&visitor, &n}, func() error {
			b.Bought[visitor] = n
			return nil
		}); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			select m.visitor, c.number from channel_members m join channels c on c.id = m.channel_id
			where c.event_id = $1 order by c.number`, event)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, []any{&visitor, &n}, func() error {
			b.Members[visitor] = append(b.Members[visitor], n)
			return nil
		})
		return err
	})
	return b, err
}

// selectChannels reads channels with their tickets, invites and members.
const selectChannels = `
	select c.id, c.number, c.name,
	       (select count(*) from tickets t where t.channel_id = c.id and t.status <> 'purchased'),
	       (select count(*) from tickets t where t.channel_id = c.id and t.status = 'purchased'),
	       (select count(*) from channel_invites i where i.channel_id = c.id),
	       (select count(*) from channel_members m where m.channel_id = c.id)
	from channels c`

func collectChannels(rows pgx.Rows, err error) ([]checkout.Channel, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c checkout.Channel, err error) {
		err = row.Scan(&c.ID, &c.Number, &c.Name, &c.Available, &c.Sold, &c.Invites, &c.Members)
		return c, err
	})
}

// Channels implements checkout.ChannelStore.
func (s *Store) Channels(ctx context.Context, event string) (list []checkout.Channel, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		list, err = collectChannels(tx.Query(ctx, selectChannels+` where c.event_id = $1 order by c.number`, event))
		return err
	})
	return list, err
}

// CreateChannel implements checkout.ChannelStore.
func (s *Store) CreateChannel(ctx context.Context, event, id, name string) (c checkout.Channel, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var number int
		// The event's row lock lets one at a time choose a number.
		err := tx.QueryRow(ctx, `
			with e as (select id from events where id = $1 for update)
			select coalesce(max(c.number), 0) + 1 from e left join channels c on c.event_id = e.id`, event).Scan(&number)
		if err != nil {
			return err
		}
		if number > checkout.MostChannels {
			return fault.New(fault.Conflict, "an event has at most %d channels", checkout.MostChannels)
		}
		_, err = tx.Exec(ctx, `insert into channels (id, event_id, number, name) values ($1, $2, $3, $4)`, id, event, number, name)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" {
			return fault.New(fault.Conflict, "the event has a channel of this name already")
		}
		c = checkout.Channel{ID: id, Number: number, Name: name}
		return err
	})
	return c, err
}

// SetChannel implements checkout.ChannelStore.
func (s *Store) SetChannel(ctx context.Context, event, channel string, ordinals []int) error {
	if len(ordinals) == 0 {
		return nil
	}
	return s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		// In order, as claims do, so that the two never wait for each other in a circle.
		_, err := tx.Exec(ctx, `
			with chosen as (
				select id from tickets where event_id = $1 and ordinal = any($3) order by ordinal for update)
			update tickets t set channel_id = nullif($2, '')::uuid from chosen where t.id = chosen.id`, event, channel, ordinals)
		return err
	})
}

// OfChannel implements checkout.ChannelStore.
func (s *Store) OfChannel(ctx context.Context, event, channel string) (ordinals []int, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select ordinal from tickets where event_id = $1 and channel_id = $2 order by ordinal`, event, channel)
		if err != nil {
			return err
		}
		ordinals, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return ordinals, err
}

// AddInvites implements checkout.ChannelStore.
func (s *Store) AddInvites(ctx context.Context, channel string, invites []checkout.NewInvite) error {
	return s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for _, i := range invites {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			batch.Queue(`
				insert into channel_invites (id, channel_id, digest, note, uses, expires_at) values ($1, $2, $3, $4, $5, $6)`,
				id, channel, i.Digest[:], i.Note, i.Uses, i.Expires)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
}

// UseInvite implements checkout.ChannelStore.
func (s *Store) UseInvite(ctx context.Context, event, visitor string, digest [32]byte) (c checkout.Channel, all []int, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var invite, channel string
		var open bool
		err := tx.QueryRow(ctx, `
			select i.id, i.channel_id, i.used < i.uses and (i.expires_at is null or i.expires_at > now())
			from channel_invites i join channels c on c.id = i.channel_id
			where i.digest = $1 and c.event_id = $2 for update of i`, digest[:], event).Scan(&invite, &channel, &open)
		if errors.Is(err, pgx.ErrNoRows) {
			return noInvite()
		} else if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			insert into channel_members (channel_id, visitor, invite_id) select $1, $2, $3 where $4
			on conflict do nothing`, channel, visitor, invite, open)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			if _, err := tx.Exec(ctx, `update channel_invites set used = used + 1 where id = $1`, invite); err != nil {
				return err
			}
		}
		// Who is in already may use the code again, however often it was used.
		list, err := channelsOf(ctx, tx, event, visitor)
		if err != nil {
			return err
		}
		all = nil
		for _, m := range list {
			all = append(all, m.Number)
			if m.ID == channel {
				c = m
			}
		}
		if c.ID != channel {
			return noInvite()
		}
		return nil
	})
	return c, all, err
}

func noInvite() error {
	return fault.New(fault.InviteInvalid, "the code is not known here, was used already, or its time is over")
}

// ChannelsOf implements checkout.ChannelStore.
func (s *Store) ChannelsOf(ctx context.Context, event, visitor string) (list []checkout.Channel, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		list, err = channelsOf(ctx, tx, event, visitor)
		return err
	})
	return list, err
}

func channelsOf(ctx context.Context, tx pgx.Tx, event, visitor string) ([]checkout.Channel, error) {
	return collectChannels(tx.Query(ctx, selectChannels+`
		join channel_members mine on mine.channel_id = c.id and mine.visitor = $2
		where c.event_id = $1 order by c.number`, event, visitor))
}
