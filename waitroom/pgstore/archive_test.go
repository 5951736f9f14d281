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
	return rooms[0].Settings
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
	s.Cursor, s.Next, s.LobbyNext, s.LobbyDigest = 40, 90, 12, "0123456789012345678901234567890123456789"
	s.Order, s.InviteOnly, s.Bypass, s.Challenge, s.Cutoff, s.ByStock = waitroom.DrawOrder, true, true, waitroom.ChallengePoW, 7, true
	s.Throttle.Grace = time.Minute
	s.Autopilot = waitroom.Autopilot{Enabled: true, MinRate: 5, TargetP95: time.Second, MaxErrorShare: 0.25, MaxPoolShare: 0.5}
	s.Draw = waitroom.Draw{
		Secret: waitroom.NewSecret(), PublicSource: "the lottery of that day", PublicValue: "4 8 15", N: 12, Base: 3,
		Digest: s.LobbyDigest, At: s.OpensAt,
	}
	if err := a.SaveRoom(ctx, s); err != nil {
		t.Fatal(err)
	}
	if got := only(t, a); got != s {
		t.Errorf("got %+v, want %+v", got, s)
	}
	slow := s // a node that looked earlier saves later
	slow.Cursor, slow.Next, slow.LobbyNext, slow.LobbyDigest = 30, 95, 11, "old"
	if err := a.SaveRoom(ctx, slow); err != nil {
		t.Fatal(err)
	}
	if got := only(t, a); got.Cursor != 40 || got.Next != 95 || got.LobbyNext != 12 || got.LobbyDigest != s.LobbyDigest {
		t.Errorf("cursor %d, next %d, lobby %d %s; want 40, 95 and 12 with its digest", got.Cursor, got.Next, got.LobbyNext, got.LobbyDigest)
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

// Whose turn was had stays known, whichever node says so last.
func TestTurnsAreKept(t *testing.T) {
	t.Parallel()
	a, _, event := newArchive(t)
	ctx := t.Context()
	at := time.Date(2031, 1, 1, 9, 0, 0, 0, time.UTC)
	turns := []waitroom.Turn{
		{Visitor: "a", State: waitroom.Shopping, Lane: waitroom.General, Place: 7, Admitted: at, Claimed: at.Add(time.Second), Until: at.Add(time.Minute), Changed: at.Add(time.Second)},
		{Visitor: "b", State: waitroom.Expired, Lane: waitroom.Fan, Place: 8, Missed: 1, Admitted: at, Until: at.Add(time.Minute), Changed: at},
		{Visitor: "c", State: waitroom.Left, Changed: at},
	}
	for range 2 { // said by two nodes
		if err := a.SaveTurns(ctx, event, 1, turns); err != nil {
			t.Fatal(err)
		}
	}
	older := turns[0]
	older.State, older.Changed = waitroom.Ready, at
	gone := waitroom.Turn{Visitor: "c", Changed: at.Add(time.Second)}
	early := waitroom.Turn{Visitor: "b", Changed: at.Add(-time.Second)} // joined anew before the turn that is known
	if err := a.SaveTurns(ctx, event, 1, []waitroom.Turn{older, gone, early}); err != nil {
		t.Fatal(err)
	}
	first, err := a.Turns(ctx, event, 1, "", 1)
	if err != nil || len(first) != 1 || first[0] != turns[0] {
		t.Errorf("first page %+v, %v; want %+v", first, err, turns[0])
	}
	rest, err := a.Turns(ctx, event, 1, "a", 10)
	if err != nil || len(rest) != 1 || rest[0] != turns[1] {
		t.Errorf("second page %+v, %v; want %+v", rest, err, turns[1])
	}
	if other, err := a.Turns(ctx, event, 2, "", 10); err != nil || len(other) != 0 {
		t.Errorf("another line's turns: %+v, %v", other, err)
	}
}

// The commitment to a secret is published: there is one, whoever asks first.
func TestSecretIsKept(t *testing.T) {
	t.Parallel()
	a, _, event := newArchive(t)
	ctx := t.Context()
	one, two := waitroom.NewSecret(), waitroom.NewSecret()
	for _, proposed := range []string{one, two} {
		if got, err := a.Secret(ctx, event, proposed); err != nil || got != one {
			t.Errorf("Secret(%s) = %s, %v; want the first", proposed, got, err)
		}
	}
	s := only(t, a)
	s.Draw.Secret = two
	if err := a.SaveRoom(ctx, s); err != nil {
		t.Fatal(err)
	}
	if got := only(t, a).Draw.Secret; got != one {
		t.Errorf("a checkpoint replaced the secret by %s", got)
	}
	if _, err := a.Secret(ctx, "01890000-0000-7000-8000-000000000000", one); !fault.Is(err, fault.NotFound) {
		t.Errorf("without a room: %v", err)
	}
}

func TestChangesAreAuditedOnce(t *testing.T) {
	t.Parallel()
	a, db, event := newArchive(t)
	at := time.Date(2031, 1, 1, 9, 0, 0, 0, time.UTC)
	list := []waitroom.Change{
		{Number: 1, At: at, Actor: "schedule", Action: "room.open"}, {Number: 2, At: at, Actor: "stock", Action: "room.close", Detail: "sold_out"},
	}
	again := list[0] // of a store that counts anew
	again.At = at.Add(time.Hour)
	for _, changes := range [][]waitroom.Change{list, list, {again}} {
		if err := a.Changed(t.Context(), event, changes); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	var detail string
	err := db.QueryRow(t.Context(), `
		select count(*) over (), detail->>'reason' from audit_log where subject = $1 order by actor = 'stock' desc limit 1`, event).Scan(&n, &detail)
	if err != nil || n != 3 || detail != "sold_out" {
		t.Errorf("%d entries, %q, %v; want 3 and the reason", n, detail, err)
	}
}

func TestArchiveThatIsDown(t *testing.T) {
	t.Parallel()
	a, db, _ := newArchive(t)
	s := only(t, a)
	db.Close()
	_, err := a.Rooms(t.Context())
	_, serr := a.Secret(t.Context(), s.Event, waitroom.NewSecret())
	_, terr := a.Turns(t.Context(), s.Event, 1, "", 1)
	for what, err := range map[string]error{
		"Rooms": err, "SaveRoom": a.SaveRoom(t.Context(), s),
		"Secret": serr, "Turns": terr,
		"SaveTurns": a.SaveTurns(t.Context(), s.Event, 1, []waitroom.Turn{{Visitor: "a", State: waitroom.Done, Changed: time.Now()}}),
		"Changed":   a.Changed(t.Context(), s.Event, []waitroom.Change{{Number: 1}}),
		"Admitted":  a.Admitted(t.Context(), []waitroom.Admission{{Event: s.Event, At: time.Now(), Count: 1, Cursor: 1}}),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v; want unavailable", what, err)
		}
	}
}
