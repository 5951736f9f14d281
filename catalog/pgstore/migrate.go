package pgstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// riverVersion is the job queue's schema that this program was built with. A
// newer River needs a new step in the sequence, never an edit of an old one.
const riverVersion = 8

// Migrate brings the database at databaseURL to the schema of this program. Any
// number of nodes may call it at once: a session lock lets one through and the
// others find the work done. When nothing is to be done it costs one short
// query. It needs no superuser, and one extension: pg_trgm, which comes with
// Postgres (its contrib package) and which the owner of a database may create.
func Migrate(ctx context.Context, databaseURL string, log *slog.Logger) error {
	db, err := openForMigration(databaseURL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()

	steps, err := provider(db)
	if err != nil {
		return err
	}
	n, err := pending(ctx, db, steps)
	if err != nil || n == 0 {
		return err
	}
	results, err := steps.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the database: %w", explain(err))
	}
	for _, r := range results {
		log.InfoContext(ctx, "database migrated", "version", r.Source.Version, "took", r.Duration)
	}
	return nil
}

// explain says what to do about an extension that cannot be created.
func explain(err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok || !strings.Contains(e.Message, "extension"):
		return err
	case e.Code == "58P01" || e.Code == "0A000": // no such file; not available
		return fmt.Errorf("the extension pg_trgm is not installed on the database server; it is in the contrib package of PostgreSQL: %w", err)
	case e.Code == "42501": // insufficient privilege
		return fmt.Errorf("the extension pg_trgm is needed: let its owner migrate the database, or run CREATE EXTENSION pg_trgm in it before: %w", err)
	}
	return err
}

// Pending counts the migrations that the database still lacks, without changing
// anything.
func Pending(ctx context.Context, databaseURL string) (int, error) {
	db, err := openForMigration(databaseURL)
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	steps, err := provider(db)
	if err != nil {
		return 0, err
	}
	return pending(ctx, db, steps)
}

func openForMigration(databaseURL string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", redact(err))
	}
	// With several hosts in the address, only the primary can be migrated.
	if config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return stdlib.OpenDB(*config), nil
}

// redact drops what pgx quotes of the address, which may hold a password that
// pgx could not recognise as one.
func redact(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return errors.New("cannot be parsed")
}

func provider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	// The default locker asks every five seconds, too seldom for nodes that
	// start together.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, err
	}
	queue := goose.NewGoMigration(2, &goose.GoFunc{RunDB: riverTo(riverVersion)}, &goose.GoFunc{RunDB: riverGone})
	return goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true),
		goose.WithGoMigrations(queue),
		goose.WithSlog(slog.New(slog.DiscardHandler)), // Migrate logs the results itself
	)
}

// riverTo raises the job queue's own tables to a version. River wants each of
// its steps in a transaction of its own and keeps its own books, so a crash in
// between is made good by running it again.
func riverTo(version int) func(context.Context, *sql.DB) error {
	return func(ctx context.Context, db *sql.DB) error {
		m, err := riverMigrator(db)
		if err != nil {
			return err
		}
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{TargetVersion: version})
		return err
	}
}

func riverGone(ctx context.Context, db *sql.DB) error {
	m, err := riverMigrator(db)
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionDown, &rivermigrate.MigrateOpts{TargetVersion: -1})
	return err
}

func riverMigrator(db *sql.DB) (*rivermigrate.Migrator[*sql.Tx], error) {
	return rivermigrate.New(riverdatabasesql.New(db), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
}

func pending(ctx context.Context, db *sql.DB, steps *goose.Provider) (int, error) {
	sources := steps.ListSources()
	var books sql.NullString
	if err := db.QueryRowContext(ctx, `select to_regclass('goose_db_version')::text`).Scan(&books); err != nil {
		return 0, fmt.Errorf("read the database's version: %w", err)
	}
	if !books.Valid {
		return len(sources), nil
	}
	var current int64
	const latest = `select coalesce(max(version_id), 0) from goose_db_version where is_applied`
	if err := db.QueryRowContext(ctx, latest).Scan(&current); err != nil {
		return 0, fmt.Errorf("read the database's version: %w", err)
	}
	n := 0
	for _, s := range sources {
		if s.Version > current {
			n++
		}
	}
	return n, nil
}
