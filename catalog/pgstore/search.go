package pgstore

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
)

// searching begins the transaction of a search. A walk along the index of the
// order ends when the page is full, but the planner, when it thinks that little
// will be found, would rather read the whole table; and it would compile
// statements that take a millisecond. Words are alike from a fifth of their
// trigrams: what is a typo of what is decided later. No search may keep a
// connection for long.
var searching = pgx.TxOptions{BeginQuery: `begin read only;
set local enable_seqscan = off; set local random_page_cost = 1.1; set local jit = off;
set local pg_trgm.similarity_threshold = 0.2; set local statement_timeout = '3s'`}

// Events finds a page of events. A query out of bounds or a foreign cursor is
// fault.Invalid.
func (s *Store) Events(ctx context.Context, q catalog.Query) (catalog.Page, error) {
	if err := q.Check(); err != nil {
		return catalog.Page{}, err
	}
	at, err := q.Place()
	if err != nil {
		return catalog.Page{}, err
	}
	var page catalog.Page
	err = s.read(ctx, func(ctx context.Context, db *pgxpool.Pool) error {
		return translate(ctx, pgx.BeginTxFunc(ctx, db, searching, func(tx pgx.Tx) (err error) {
			page, err = events(ctx, tx, q, at)
			return err
		}))
	})
	if err != nil {
		return catalog.Page{}, err
	}
	return page, nil
}

// events finds a page with the words as they are or, if these find nothing at
// all, with those that may have been meant.
func events(ctx context.Context, tx pgx.Tx, q catalog.Query, at catalog.EventCursor) (catalog.Page, error) {
	if q.Text == "" {
		return pageAfter(ctx, tx, q, nil, at)
	}
	text, err := catalog.ParseText(q.Text)
	if err != nil {
		return catalog.Page{}, err
	}
	if !at.Guessed {
		page, err := pageAfter(ctx, tx, q, text, at)
		if err != nil || len(page.Events) > 0 || q.Cursor != "" {
			return page, err
		}
	}
	if guessed, err := guess(ctx, tx, text); err != nil || !guessed {
		return catalog.Page{}, err
	}
	at.Guessed = true
	return pageAfter(ctx, tx, q, text, at)
}

// pageAfter finds what comes after a place, from as many stretches as it takes.
func pageAfter(ctx context.Context, tx pgx.Tx, q catalog.Query, text *catalog.Text, at catalog.EventCursor) (catalog.Page, error) {
	var page catalog.Page
	for {
		sql, args := selectEvents(q, text, at, q.Limit-len(page.Events)+1)
		// The plan depends on what is asked for, so it is made for each.
		rows, err := tx.Query(ctx, sql, pgx.QueryExecModeCacheDescribe, args)
		if err != nil {
			return catalog.Page{}, err
		}
		all, err := pgx.CollectRows(rows, scanFound)
		if err != nil {
			return catalog.Page{}, err
		}
		for i, f := range all {
			if len(page.Events) == q.Limit {
				page.Next = q.Token(all[i-1].place(at))
				return page, nil
			}
			page.Events = append(page.Events, f.event)
		}
		if len(all) == 0 || all[0].stretch < catalog.Stretch {
			return page, nil
		}
		at = catalog.EventCursor{StretchStart: all[0].stretchStart, StretchID: all[0].stretchID, Guessed: at.Guessed}
		if len(page.Events) == q.Limit {
			page.Next = q.Token(at)
			return page, nil
		}
	}
}

// found is an event with its place in the order.
type found struct {
	event catalog.Event
	name  string
	rank  int
	// By relevance: how many events its stretch has, and the last of them by start.
	stretch      int
	stretchStart time.Time
	stretchID    string
}

func scanFound(row pgx.CollectableRow) (f found, err error) {
	f.event, err = scanEventAnd(row, &f.name, &f.rank, &f.stretch, &f.stretchStart, &f.stretchID)
	return f, err
}

// place is where the search goes on after the event; at is a place in the same
// stretch.
func (f found) place(at catalog.EventCursor) catalog.EventCursor {
	return catalog.EventCursor{
		StartsAt: f.event.StartsAt, ID: f.event.ID, Name: f.name, Rank: f.rank,
		StretchStart: at.StretchStart, StretchID: at.StretchID, Guessed: at.Guessed,
	}
}

// selectEvents is the statement for a query, with only the conditions that it
// has: what is not asked for must not be in the planner's way.
func selectEvents(q catalog.Query, text *catalog.Text, at catalog.EventCursor, limit int) (sql string, args pgx.NamedArgs) {
	args = pgx.NamedArgs{"limit": limit}
	where := []string{"true"}
	only := func(condition, name string, value any) {
		where = append(where, condition)
		args[name] = value
	}
	if !q.Drafts {
		where = append(where, "not s.draft")
	}
	if q.Name != "" {
		only("s.name like search_lower(@name)", "name", part(q.Name))
	}
	if q.Artist != "" {
		only("s.artists like search_lower(@artist)", "artist", part(q.Artist))
	}
	if q.City != "" {
		only("s.city like search_lower(@city)", "city", part(q.City))
	}
	if q.Type != "" {
		only("s.type = search_lower(@type)", "type", q.Type)
	}
	if text != nil {
		only("s.doc @@ to_tsquery('simple', search_fold(@text))", "text", text.Expression())
	}
	if q.Series != "" { // a few hundred at most, by their ids
		only("s.event_id = any (array(select id from events where series_id = @series::uuid))", "series", q.Series)
	}
	if !q.From.IsZero() {
		only("s.starts_at >= @from", "from", q.From)
	}
	if !q.To.IsZero() {
		only("s.starts_at < @to", "to", q.To)
	}

	var page, order string
	args["after"], args["after_id"] = at.StartsAt, at.ID
	switch q.Sort {
	case catalog.ByRelevance:
		args["plain"], args["stretch"] = text.Plain(), catalog.Stretch
		if at.StretchID != "" {
			only("(s.starts_at, s.event_id) > (@stretch_after, @stretch_after_id::uuid)", "stretch_after", at.StretchStart)
			args["stretch_after_id"] = at.StretchID
		}
		after := "true"
		if at.ID != "" {
			after = "(-rank, starts_at, id) > (-@rank::int, @after, @after_id::uuid)"
			args["rank"] = at.Rank
		}
		page = `
with stretch as materialized (
    select s.event_id as id, s.starts_at, s.name_key, s.doc
      from event_search s where ` + strings.Join(where, " and ") + `
     order by s.starts_at, s.event_id limit @stretch
), ranked as (
    select id, starts_at, name_key,
           (1e6 * (ts_rank('{0.1, 0.2, 0.4, 1}', doc, to_tsquery('simple', search_fold(@text)))
                   + similarity(name_key, search_fold(@plain))
                   + case when doc @@ phraseto_tsquery('simple', search_fold(@plain)) then 0.5 else 0 end))::int as rank
      from stretch
), ending as (select starts_at, id from stretch order by starts_at desc, id desc limit 1)
select id, starts_at, name_key, rank, (select count(*) from stretch) as stretch,
       (select starts_at from ending) as stretch_start, (select id from ending) as stretch_id
  from ranked where ` + after + ` order by rank desc, starts_at, id limit @limit`
		order = "p.rank desc, p.starts_at, p.id"
	default:
		key := "s.starts_at, s.event_id"
		order = "p.starts_at, p.id"
		if q.Sort == catalog.ByName {
			key, order = "s.name_key, "+key, "p.name_key, "+order
		}
		if at.ID != "" {
			after := "@after::timestamptz, @after_id::uuid"
			if q.Sort == catalog.ByName {
				after = "@after_name, " + after
				args["after_name"] = at.Name
			}
			where = append(where, "("+key+") > ("+after+")")
		}
		page = `
select s.event_id as id, s.starts_at, s.name_key, 0 as rank, 0 as stretch, s.starts_at as stretch_start, s.event_id as stretch_id
  from event_search s where ` + strings.Join(where, " and ") + ` order by ` + key + ` limit @limit`
	}
	// The page is found before anything else is read; a venue is looked up for
	// each of its events.
	return `select ` + eventColumns + `,
       p.name_key, p.rank, p.stretch, p.stretch_start, p.stretch_id
  from (` + page + `) p
  join events e on e.id = p.id
 cross join lateral (select id, name, address, city, country, timezone, updated_at, sequence from venues where id = e.venue_id offset 0) v
 order by ` + order, args
}

// part is the pattern of LIKE for texts that contain s.
func part(s string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) + "%"
}

// guess looks for what may have been meant by words that the catalog does not
// have. It reports whether it found any.
func guess(ctx context.Context, tx pgx.Tx, text *catalog.Text) (bool, error) {
	unsure := text.Unsure()
	if len(unsure) == 0 {
		return false, nil
	}
	rows, err := tx.Query(ctx, selectAlike, pgx.QueryExecModeCacheDescribe, pgx.NamedArgs{"words": unsure})
	if err != nil {
		return false, err
	}
	known, err := pgx.CollectRows(rows, pgx.RowToStructByPos[catalog.Likeness])
	if err != nil {
		return false, err
	}
	return text.Guess(known), nil
}

// selectAlike finds, for each word, the word itself and the words most alike.
const selectAlike = `
select w.word, w.folded,
       array(select word from search_words where word = w.folded limit 1)
       || array(select word from (select distinct word, similarity(word, w.folded) as alike
                                    from search_words where word % w.folded) near
                 order by alike desc, word limit 50)
  from (select word, search_fold(word) collate "C" as folded from unnest(@words::text[]) as given (word)) w`
