package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	catalogpg "onsale/catalog/pgstore"
	"onsale/internal/audit"
	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
)

func migrate(ctx context.Context, url string) error {
	return catalogpg.Migrate(ctx, url, slog.New(slog.DiscardHandler))
}

func TestLog(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db, err := pgxpool.New(ctx, stacktest.Database(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	log := audit.New(db)
	const n = 7
	for i := range n {
		err := log.Record(ctx, audit.Entry{
			At: time.Unix(int64(i), 0), Actor: "admin", Action: "room.pause", Subject: "e", Detail: json.RawMessage(fmt.Sprintf(`{"n": %d}`, i)),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	cursor := ""
	for {
		entries, next, err := log.Entries(ctx, "", cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			seen = append(seen, string(e.Detail))
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if len(seen) != n || seen[0] != `{"n": 6}` || seen[n-1] != `{"n": 0}` {
		t.Errorf("pages gave %v; want all, newest first", seen)
	}
	if of, _, err := log.Entries(ctx, "e", "", 100); err != nil || len(of) != n {
		t.Errorf("%d entries about e, %v; want all %d", len(of), err, n)
	}
	if of, _, err := log.Entries(ctx, "f", "", 100); err != nil || len(of) != 0 {
		t.Errorf("entries about nothing: %v, %v", of, err)
	}
	for _, bad := range []string{"x", "!!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if _, _, err := log.Entries(ctx, "e", bad, 3); !fault.Is(err, fault.Invalid) {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
	db.Close()
	if err := log.Record(ctx, audit.Entry{At: time.Now(), Detail: json.RawMessage(`{}`)}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a log that is down: %v", err)
	}
}
