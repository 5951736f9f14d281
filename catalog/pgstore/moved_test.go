package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/fault"
)

// TestMovedEventsAreTold by every way in which the store moves them, once for each
// change, and drafts never.
func TestMovedEventsAreTold(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	var calls []string
	var fail error
	store.OnMoved(func(_ context.Context, _ pgx.Tx, event string, was time.Time, nth int) (int, error) {
		calls = append(calls, fmt.Sprintf("%s %s %d", event[len(event)-4:], was.UTC().Format("01-02T15:04"), nth))
		return 7, fail
	})
	wants := func(what string, got, want int, lines ...string) {
		t.Helper()
		if got != want || !slices.Equal(calls, lines) {
			t.Errorf("%s: told %d, by %q, not %q", what, got, calls, lines)
		}
		calls = nil
	}
	made, err := store.CreateEvent(ctx, hall(t, "Moved", spring))
	if err != nil {
		t.Fatal(err)
	}
	short := made.ID[len(made.ID)-4:]
	at := func(d time.Duration) time.Time { return made.StartsAt.Add(d) }
	was := func(d time.Duration, nth int) string {
		return fmt.Sprintf("%s %s %d", short, at(d).Format("01-02T15:04"), nth)
	}
	patch := func(p catalog.EventPatch) int {
		t.Helper()
		_, told, err := store.UpdateEvent(ctx, made.ID, p)
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	start := func(d time.Duration) *time.Time { v := at(d); return &v }
	doors := func(d time.Duration) *time.Time { v := at(d - time.Hour); return &v }
	how := pgstore.Revising{HoldsLast: time.Hour, Actor: "test"}
	revise := func(d time.Duration, how pgstore.Revising) int {
		t.Helper()
		doc := document(t, store, made.ID)
		doc.StartsAt = at(d)
		r, err := store.ReviseEvent(ctx, made.ID, doc, how)
		if err != nil {
			t.Fatal(err)
		}
		return r.Told
	}

	name, draft, onSale, postponed := "Moved on", "draft", "on_sale", "postponed"
	wants("another name", patch(catalog.EventPatch{Name: &name}), 0)
	wants("by a patch", patch(catalog.EventPatch{StartsAt: start(time.Hour)}), 7, was(0, 1))
	wants("once more", patch(catalog.EventPatch{StartsAt: start(time.Hour)}), 0)
	wants("the doors", patch(catalog.EventPatch{DoorsAt: doors(time.Hour)}), 7, was(time.Hour, 2))
	wants("quietly", patch(catalog.EventPatch{StartsAt: start(2 * time.Hour), Quiet: true}), 0)
	dry, quiet := how, how
	dry.DryRun, quiet.Quiet = true, true
	wants("by a document, dry", revise(3*time.Hour, dry), 0)
	wants("by a document, quietly", revise(3*time.Hour, quiet), 0)
	wants("by a document", revise(4*time.Hour, how), 7, was(3*time.Hour, 3))
	wants("by the same", revise(4*time.Hour, how), 0)
	wants("postponed alone", patch(catalog.EventPatch{Status: &postponed}), 0)
	wants("while postponed", revise(5*time.Hour, how), 7, was(4*time.Hour, 4))
	wants("withdrawn, and moved", patch(catalog.EventPatch{Status: &draft, StartsAt: start(6 * time.Hour)}), 0)
	wants("a draft", revise(7*time.Hour, how), 0)
	wants("a draft, by a patch", patch(catalog.EventPatch{StartsAt: start(8 * time.Hour)}), 0)
	wants("published, and moved", patch(catalog.EventPatch{Status: &onSale, StartsAt: start(9 * time.Hour)}), 0)

	// What cannot be told is not done.
	fail = errors.New("full")
	if _, _, err := store.UpdateEvent(ctx, made.ID, catalog.EventPatch{StartsAt: start(10 * time.Hour)}); err == nil {
		t.Error("a change that cannot be told is made")
	}
	doc := document(t, store, made.ID)
	doc.StartsAt = at(11 * time.Hour)
	if _, err := store.ReviseEvent(ctx, made.ID, doc, how); err == nil {
		t.Error("a document that cannot be told is followed")
	}
	now, err := store.Event(ctx, made.ID)
	if err != nil || !now.StartsAt.Equal(at(9*time.Hour)) {
		t.Errorf("it starts at %s, %v", now.StartsAt, err)
	}
	var nth, noted int
	err = pool.QueryRow(ctx, `select (select reschedules from events where id = $1), (select count(*) from audit_log where subject = $1::text and (detail->>'told')::int = 7)`, made.ID).Scan(&nth, &noted)
	if err != nil || nth != 4 || noted != 2 {
		t.Errorf("told %d times, noted %d times, %v", nth, noted, err)
	}
	unknown := "01980000-0000-7000-8000-000000000000"
	if _, _, err := store.UpdateEvent(ctx, unknown, catalog.EventPatch{Name: &name}); !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown event: %v", err)
	}
}

// TestEachMovedDateOfASeriesIsTold, and no other.
func TestEachMovedDateOfASeriesIsTold(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	var moved []string
	store.OnMoved(func(_ context.Context, _ pgx.Tx, event string, was time.Time, _ int) (int, error) {
		moved = append(moved, event+" "+was.UTC().Format("01-02T15:04"))
		return 1, nil
	})
	made, err := store.CreateSeries(ctx, season(t, threeFridays))
	if err != nil {
		t.Fatal(err)
	}
	written, err := store.SeriesDocument(ctx, made.ID, true)
	if err != nil {
		t.Fatal(err)
	}
	doc, _, err := catalog.ParseEvent([]byte(strings.NewReplacer("2027-03-19T19:30", "2027-03-20T19:30", "2027-04-02T19:30", "2027-04-03T20:00").Replace(string(written))))
	if err != nil {
		t.Fatal(err)
	}
	how := pgstore.Revising{DryRun: true, HoldsLast: time.Hour, Actor: "test"}
	for _, want := range [][]string{nil, {made.Events[0].ID + " 03-19T18:30", made.Events[2].ID + " 04-02T17:30"}, nil} {
		moved = nil
		done, err := store.ImportSeries(ctx, doc, how)
		if err != nil || !slices.Equal(moved, want) {
			t.Fatalf("dry %t: told %q, not %q, %v", how.DryRun, moved, want, err)
		}
		for i, d := range done.Dates {
			if told := d.Revision.Told; (told == 1) != (want != nil && i != 1) {
				t.Errorf("date %d is told %d times", i, told)
			}
		}
		how.DryRun = false
	}
}
