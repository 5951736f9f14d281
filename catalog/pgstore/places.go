package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
)

// imagesArg is never null.
func imagesArg(list []catalog.Image) []catalog.Image {
	if list == nil {
		return []catalog.Image{}
	}
	return list
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
	n := len(r.Marks)
	sections, rows, seats, marks := make([]string, n), make([]string, n), make([]string, n), make([]int16, n)
	for i, m := range r.Marks {
		sections[i], rows[i], seats[i], marks[i] = m.Section, m.Row, m.Seat, int16(m.Attributes)
	}
	batch.Queue(`
update tickets t set attributes = w.attributes
  from unnest(@sections::text[], @rows::text[], @seats::text[], @marks::smallint[]) as w (section, row_name, seat_name, attributes)
  join sections s on s.event_id = @event::uuid and s.name = w.section
 where t.event_id = @event::uuid and t.section_id = s.id and t.row_name = w.row_name and t.seat_name = w.seat_name`,
		pgx.NamedArgs{"event": id, "sections": sections, "rows": rows, "seats": seats, "marks": marks})
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
