// Package audit is the log of what operators did. Entries are written before
// the deed: what cannot be recorded is not done.
package audit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/internal/fault"
)

const callTimeout = 3 * time.Second

// Entry is one thing an operator did.
type Entry struct {
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Action  string          `json:"action"`  // room.pause, order.refund …
	Subject string          `json:"subject"` // id of the event or order
	Detail  json.RawMessage `json:"detail"`  // the request's body
}

// Log keeps the entries in Postgres.
type Log struct {
	db *pgxpool.Pool
}

// New returns a log on a migrated database. It does no I/O.
func New(db *pgxpool.Pool) *Log { return &Log{db: db} }

// Record appends an entry.
func (l *Log) Record(ctx context.Context, e Entry) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := l.db.Exec(ctx, `insert into audit_log (at, actor, action, subject, detail) values ($1, $2, $3, $4, $5)`,
		e.At, e.Actor, e.Action, e.Subject, e.Detail)
	if err != nil {
		return fault.Down(err, "the audit log")
	}
	return nil
}

// Entries lists entries, newest first, of one subject unless that is "". next continues the list; "" at its end.
// A foreign cursor is fault.Invalid.
func (l *Log) Entries(ctx context.Context, subject, cursor string, limit int) (entries []Entry, next string, err error) {
	var before *int64
	if cursor != "" {
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		n, nerr := strconv.ParseInt(string(raw), 36, 64)
		if err != nil || nerr != nil || len(cursor) > 32 {
			return nil, "", fault.New(fault.Invalid, "query parameter \"cursor\" is not one this server gave out")
		}
		before = &n
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	rows, err := l.db.Query(ctx, `
		select id, at, actor, action, subject, detail from audit_log
		where ($1::bigint is null or id < $1) and ($3 = '' or subject = $3) order by id desc limit $2`, before, limit+1, subject)
	if err != nil {
		return nil, "", fault.Down(err, "the audit log")
	}
	var last int64
	entries = []Entry{}
	var id int64
	var e Entry
	_, err = pgx.ForEachRow(rows, []any{&id, &e.At, &e.Actor, &e.Action, &e.Subject, &e.Detail}, func() error {
		if len(entries) == limit {
			next = base64.RawURLEncoding.EncodeToString(strconv.AppendInt(nil, last, 36))
			return nil
		}
		e.At = e.At.UTC()
		entries = append(entries, e)
		e.Detail = nil
		last = id
		return nil
	})
	if err != nil {
		return nil, "", fault.Down(err, "the audit log")
	}
	return entries, next, nil
}
