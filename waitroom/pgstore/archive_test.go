package pgstore_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
	"onsale/waitroom"
	"onsale/waitroom/pgstore"
)

func migrate(ctx context.Context, url string) error {
	return catalogpg.Migrate(ctx, url, slog.New(slog.DiscardHandler))
}

func newArchive(t *testing.T) (a *pgstore.Archive, db *pgxpool.Pool, event string) {
	t.Helper()
	db, err := pgxpool.New(t.Context(), stacktest.Database(t, migrate))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	doc, _, err := catalog.ParseEvent([]byte(`{"name": "n", "starts_at": "2031-01-01T10:00:00Z", "venue": {"name": "v"}, "currency": "EUR",
	  "areas": [{"name": "Floor", "capacity": 5, "price": 100}], "room": {"rate_per_minute": 30, "burst": 2}}`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := catalogpg.New(db, nil).CreateEvent(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	return pgstore.New(db), db, e.ID
}

func only(t *testing.T, a *pgstore.Archive) waitroom.Settings {
	t.Helper()
	rooms, err := a.Rooms(t.Context())
	if err != nil || len(rooms) != 1 {
		t.Fatalf("rooms: %+v, %v; want one", rooms, err)
	}
	return rooms[0]
}

func TestRoomsComeFromTheirEvents(t *testing.T) {
	t.Parallel()
	a, db, event := newArchive(t)
	s := only(t, a)
	if s.Event != event || s.Name != "n" || s.State != waitroom.Open || s.Throttle.RatePerMinute != 30 || s.Throttle.Burst != 2 || s.Epoch != 1 {
		t.Errorf("settings = %+v", s)
	}
	if err := s.Validate(); err != nil {
		t.Errorf("a room cannot be created from them: %v", err)
	}
	if _, err := db.Exec(t.Context(), `update events set status = 'ended'`); err != nil {
		t.Fatal(err)
	}
	if rooms, err := a.Rooms(t.Context()); err != nil || len(rooms) != 0 {
		t.Errorf("an event that is over has rooms %+v, %v", rooms, err)
	}
}

func TestCheckpointNeverGoesBack(t *testing.T) {
	t.Parallel()
	a, _, _ := newArchive(t)
	ctx := t.Context()
	s := only(t, a)
	s.State, s.Message, s.ClosedReason = waitroom.Paused, "a moment, please", ""
	s.OpensAt = time.Date(2031, 1, 1, 9, 0, 0, 0, time.UTC)
	s.Cursor, s.Next = 40, 90
	if err := a.SaveRoom(ctx, s); err != nil {
		t.Fatal(err)
	}
	if got := only(t, a); got != s {
		t.Errorf("got %+v, want %+v", got, s)
	}
	slow := s // a node that looked earlier saves later
	slow.Cursor, slow.Next = 30, 95
	if err := a.SaveRoom(ctx, slow); err != nil {
		t.Fatal(err)
	}
	if got := only(t, a); got.Cursor != 40 || got.Next != 95 {
		t.Errorf("cursor %d, next %d; want 40 and 95", got.Cursor, got.Next)
	}
	fresh := s // a new line starts from the front
	fresh.Epoch, fresh.Cursor, fresh.Next = 2, 0, 3
	if err := a.SaveRoom(ctx, fresh); err != nil {
		t.Fatal(err)
	}
	if err := a.SaveRoom(ctx, s); err != nil { // and the old one is over
		t.Fatal(err)
	}
	if got := only(t, a); got.Epoch != 2 || got.Cursor != 0 || got.Next != 3 {
		t.Errorf("got epoch %d, cursor %d, next %d; want 2, 0, 3", got.Epoch, got.Cursor, got.Next)
	}
}

func TestAdmissionLog(t *testing.T) {
	t.Parallel()
	a, db, event := newArchive(t)
	at := time.Date(2031, 1, 1, 9, 0, 0, 0, time.UTC)
	err := a.Admitted(t.Context(), []waitroom.Admission{
		{Event: event, At: at, Count: 3, Cursor: 3},
		{Event: "01890000-0000-7000-8000-000000000000", At: at, Count: 9, Cursor: 9}, // deleted meanwhile
		{Event: event, At: at.Add(time.Second), Count: 2, Cursor: 5},
	})
	if err != nil {
		t.Fatal(err)
	}
	var rows, admitted int
	if err := db.QueryRow(t.Context(), `select count(*), sum(admitted) from admission_log`).Scan(&rows, &admitted); err != nil || rows != 2 || admitted != 5 {
		t.Errorf("%d rows with %d admitted, %v; want 2 with 5", rows, admitted, err)
	}
}

func TestArchiveThatIsDown(t *testing.T) {
	t.Parallel()
	a, db, _ := newArchive(t)
	s := only(t, a)
	db.Close()
	_, err := a.Rooms(t.Context())
	for what, err := range map[string]error{
		"Rooms": err, "SaveRoom": a.SaveRoom(t.Context(), s),
		"Admitted": a.Admitted(t.Context(), []waitroom.Admission{{Event: s.Event, At: time.Now(), Count: 1, Cursor: 1}}),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v; want unavailable", what, err)
		}
	}
}
