package pgstore

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
)

// Plans are never changed: one that is drawn anew is imported beside those that have
// its name. Which of them it is counts from the first.
const selectPlans = `
select p.id, p.name, p.version, p.seats, p.created_at,
       (select count(*) from plans q where q.name = p.name and (q.created_at, q.id) <= (p.created_at, p.id)),
       (select count(*) from events e where e.plan_id = p.id)`

func planInto(p *catalog.PlanRecord) []any {
	return []any{&p.ID, &p.Name, &p.Version, &p.Seats, &p.Created, &p.Number, &p.Events}
}

func scanPlan(row pgx.CollectableRow) (p catalog.PlanRecord, err error) {
	err = row.Scan(planInto(&p)...)
	p.Created = p.Created.UTC()
	return p, err
}

// Plans lists imported plans by name, those of one name by when they were imported.
// next is "" on the last page.
func (s *Store) Plans(ctx context.Context, q catalog.ListQuery) (list []catalog.PlanRecord, next string, err error) {
	return listOf(ctx, s, q, selectPlans+`
  from plans p
 where (@text = '' or search_lower(p.name) like search_lower(@like))
   and (@id::uuid is null or (p.name collate "C", p.id) > (@name::text, @id::uuid))
 order by p.name collate "C", p.id limit @limit`, scanPlan, func(p *catalog.PlanRecord) (string, string) { return p.Name, p.ID })
}

// PlanDocument finds a plan with its document; any other id is fault.NotFound.
func (s *Store) PlanDocument(ctx context.Context, id string) (p catalog.PlanRecord, doc json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	p, err = one(ctx, s.primary, "plan", id, selectPlans+`, p.document::text from plans p where p.id = @id::uuid`,
		func(row pgx.CollectableRow) (p catalog.PlanRecord, err error) {
			var text string
			err = row.Scan(append(planInto(&p), &text)...)
			doc, p.Created = json.RawMessage(text), p.Created.UTC()
			return p, err
		})
	return p, doc, err
}

// DeletePlan removes a plan. One that events use is fault.Conflict.
func (s *Store) DeletePlan(ctx context.Context, id string) error {
	return s.remove(ctx, "plan", id, "plans", `select count(*) from events where plan_id = @id::uuid`)
}
