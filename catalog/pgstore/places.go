package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/internal/fault"
)

// imagesArg is never null.
func imagesArg(list []catalog.Image) []catalog.Image {
	if list == nil {
		return []catalog.Image{}
	}
	return list
}

// marked are the tickets of an event whose seats @sections, @rows and @seats name, and
// the attributes that @marks gives them.
const marked = `
  from unnest(@sections::text[], @rows::text[], @seats::text[], @marks::smallint[]) as w (section, row_name, seat_name, attributes)
  join sections s on s.event_id = @event::uuid and s.name = w.section
  join tickets m on m.event_id = s.event_id and m.section_id = s.id and m.row_name = w.row_name and m.seat_name = w.seat_name`

func markArgs(event string, marks []catalog.SeatMark) pgx.NamedArgs {
	n := len(marks)
	sections, rows, seats, attributes := make([]string, n), make([]string, n), make([]string, n), make([]int16, n)
	for i, m := range marks {
		sections[i], rows[i], seats[i], attributes[i] = m.Section, m.Row, m.Seat, int16(m.Attributes)
	}
	return pgx.NamedArgs{"event": event, "sections": sections, "rows": rows, "seats": seats, "marks": attributes}
}

// mayKeep refuses to keep seats for other people while somebody may be buying them,
// and notes those that are sold. The live inventory follows by the layout's revision.
func mayKeep(ctx context.Context, tx pgx.Tx, r *catalog.Revision, sale saleState) error {
	if err := sale.over("which seats are accessible or for companions", "as they are now"); err != nil {
		return err
	}
	var claimed, sold int
	err := tx.QueryRow(ctx, `
select count(*) filter (where m.status = 'reserved'), count(*) filter (where m.status = 'purchased')`+marked, markArgs(r.Event.ID, r.Access)).Scan(&claimed, &sold)
	if err != nil {
		return translate(ctx, err)
	}
	if claimed > 0 {
		return fault.New(fault.Conflict, "which seats are accessible or for companions cannot change yet: %d of them are in orders that wait for their payment", claimed)
	}
	if sold > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("plan: %d of the seats that become accessible, for companions, or neither, are sold; their tickets stay good and say what the seats are now", sold))
	}
	return nil
}

// revisePlaces writes other entrances and attributes: to the sections, the tickets
// and the drawn plan.
func revisePlaces(ctx context.Context, tx pgx.Tx, id string, r catalog.Revision) error {
	names, entrances := make([]string, 0, len(r.Entrances)), make([]string, 0, len(r.Entrances))
	for name, entrance := range r.Entrances {
		names, entrances = append(names, name), append(entrances, entrance)
	}
	batch := &pgx.Batch{}
	batch.Queue(`
update sections s set entrance = w.entrance
  from unnest(@names::text[], @entrances::text[]) as w (name, entrance)
 where s.event_id = @event::uuid and s.name = w.name`, pgx.NamedArgs{"event": id, "names": names, "entrances": entrances})
	batch.Queue(`update tickets t set attributes = w.attributes`+marked+` where t.id = m.id`, markArgs(id, r.Marks))
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return translate(ctx, err)
	}
	var view []byte
	var revision int
	if err := tx.QueryRow(ctx, `select plan_view::text, layout_revision from events where id = @id::uuid`, pgx.NamedArgs{"id": id}).Scan(&view, &revision); err != nil {
		return translate(ctx, err)
	}
	view, _, err := r.WithPlaces(view, revision+1)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update events set plan_view = @view::jsonb, layout_revision = @revision where id = @id::uuid`,
		pgx.NamedArgs{"id": id, "view": string(view), "revision": revision + 1})
	return translate(ctx, err)
}
