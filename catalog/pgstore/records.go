package pgstore

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/catalog"
	"onsale/internal/fault"
)

// listOf reads a page of what sql selects: it is given @text, @like, @name and @id of
// the last one before, and @limit.
func listOf[R any](ctx context.Context, s *Store, q catalog.ListQuery, sql string, scan pgx.RowToFunc[R], at func(*R) (name, id string)) (list []R, next string, err error) {
	if err := q.Check(); err != nil {
		return nil, "", err
	}
	name, id, err := catalog.ParseNameCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	var after *string
	if id != "" {
		after = &id
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.primary.Query(ctx, sql, pgx.NamedArgs{"text": q.Text, "like": part(q.Text), "name": name, "id": after, "limit": q.Limit + 1})
	if err != nil {
		return nil, "", translate(ctx, err)
	}
	if list, err = pgx.CollectRows(rows, scan); err != nil {
		return nil, "", translate(ctx, err)
	}
	if len(list) > q.Limit {
		list = list[:q.Limit]
		next = catalog.NameCursor(at(&list[q.Limit-1]))
	}
	return list, next, nil
}

// one reads what sql selects, or says that there is none of this id.
func one[R any](ctx context.Context, db querier, what, id, sql string, scan pgx.RowToFunc[R]) (r R, err error) {
	if !catalog.IsID(id) {
		return r, none(what, id)
	}
	rows, err := db.Query(ctx, sql, pgx.NamedArgs{"id": id})
	if err != nil {
		return r, translate(ctx, err)
	}
	r, err = pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, none(what, id)
	}
	return r, translate(ctx, err)
}

func none(what, id string) error {
	return fault.New(fault.NotFound, "there is no %s with the id %q", what, strings.ToValidUTF8(id[:min(len(id), 64)], ""))
}

// remove deletes a row that no event uses. Postgres decides: an event that comes to use
// it at the same time keeps it.
func (s *Store) remove(ctx context.Context, what, id, table, used string) error {
	if !catalog.IsID(id) {
		return none(what, id)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var gone bool
	err := s.write(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from `+table+` where id = @id::uuid`, pgx.NamedArgs{"id": id})
		gone = err == nil && tag.RowsAffected() == 1
		return err
	})
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "23503" { // a foreign key
		var n int
		if err := s.primary.QueryRow(ctx, used, pgx.NamedArgs{"id": id}).Scan(&n); err != nil {
			return translate(ctx, err)
		}
		return fault.New(fault.Conflict, "the %s is used by %d events and stays", what, n).With("events", n)
	}
	if err == nil && !gone {
		return none(what, id)
	}
	return translate(ctx, err)
}

// free refuses with why what taken finds.
func (s *Store) free(ctx context.Context, id, why, taken string, args pgx.NamedArgs) error {
	if id != "" && !catalog.IsID(id) {
		return nil // there is none: who changes it says so
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var yes bool
	if err := s.primary.QueryRow(ctx, taken, args).Scan(&yes); err != nil {
		return translate(ctx, err)
	}
	if yes {
		return fault.New(fault.Conflict, "%s", why)
	}
	return nil
}

// duplicate makes a fault of a name that is taken.
func duplicate(ctx context.Context, err error, format string, args ...any) error {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "23505" {
		return fault.New(fault.Conflict, format, args...)
	}
	return translate(ctx, err)
}
