package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestAnInterruptedImportLeavesNothing ends an import where a signal would, while
// its tickets are being written.
func TestAnInterruptedImportLeavesNothing(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	dir := folderOf(t, map[string]string{"hall.json": hallPlan, "reading.yaml": hallEvent})
	if code, _, stderr := executeIn(t, environ, "migrate"); code != exitOK {
		t.Fatal(stderr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	db, err := pgx.Connect(ctx, strings.TrimPrefix(environ[0], "ONSALE_DATABASE_URL="))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()

	// Somebody has the tickets locked, so the import stands still within its transaction.
	tx, err := db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `lock table tickets in exclusive mode`); err != nil {
		t.Fatal(err)
	}
	importing, interrupt := context.WithCancel(ctx)
	defer interrupt()
	done := make(chan int)
	var stdout, stderr bytes.Buffer
	go func() {
		done <- run(importing, []string{"import", "event", filepath.Join(dir, "reading.yaml")}, strings.NewReader(""), &stdout, &stderr, environ)
	}()
	for waiting := 0; waiting == 0; {
		err := tx.QueryRow(ctx, `select count(*) from pg_locks where relation = 'tickets'::regclass and not granted
			and database = (select oid from pg_database where datname = current_database())`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	interrupt()
	if code := <-done; code != exitFailed || stdout.Len() > 0 || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("the import ended with %d: %s%s", code, &stdout, &stderr)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"events", "plans", "venues", "artists", "sections", "price_tiers", "rooms", "tickets"} {
		var left int
		if err := db.QueryRow(ctx, `select count(*) from `+table).Scan(&left); err != nil || left > 0 {
			t.Errorf("%d %s are left, %v", left, table, err)
		}
	}
	imported(t, environ, filepath.Join(dir, "reading.yaml"))
}
