package pgstore_test

import (
	"testing"

	"onsale/catalog"
	"onsale/catalog/pgstore"
)

// TestWhatReadersSeeMovesTheEvent: each change moves updated_at, and those of when,
// where and whether the sequence.
func TestWhatReadersSeeMovesTheEvent(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	ctx := t.Context()
	made, err := store.CreateEvent(ctx, hall(t, "Evening", spring))
	if err != nil {
		t.Fatal(err)
	}
	other, err := store.CreateEvent(ctx, hall(t, "Other", spring))
	if err != nil {
		t.Fatal(err)
	}
	if made.Sequence != 0 || made.UpdatedAt.IsZero() {
		t.Errorf("created as %+v", made)
	}
	patch := func(p catalog.EventPatch) func() error {
		return func() error { _, _, err := store.UpdateEvent(ctx, made.ID, p); return err }
	}
	sql := func(statement string, args ...any) func() error {
		return func() error { _, err := pool.Exec(ctx, statement, args...); return err }
	}
	revise := func(edits ...string) func() error {
		return func() error {
			_, err := store.ReviseEvent(ctx, made.ID, document(t, store, made.ID, edits...), pgstore.Revising{Actor: "test"})
			return err
		}
	}
	venue := func(p catalog.VenuePatch) func() error {
		return func() error { _, err := store.UpdateVenue(ctx, made.Venue.ID, p); return err }
	}
	artist := func(p catalog.ArtistPatch) func() error {
		return func() error {
			now, err := store.Event(ctx, made.ID)
			if err == nil {
				_, err = store.UpdateArtist(ctx, now.Artists[0].ID, p)
			}
			return err
		}
	}
	tier := func(p catalog.TierPatch) func() error {
		return func() error {
			_, err := store.ReviseEvent(ctx, made.ID, catalog.NewEvent{}, pgstore.Revising{Actor: "test", Edit: func(now catalog.Existing) (catalog.NewEvent, error) {
				return now.WithTier(made.Tiers[0].ID, p)
			}})
			return err
		}
	}
	house, lady, site, red := "New hall", "Ada B.", "https://ada.example", "#aa0000"
	name, about, draft, later := "Night", "Words.", "draft", spring.AddDate(0, 0, 1)
	for _, c := range []struct {
		what           string
		do             func() error
		moves, matters bool
	}{
		{"nothing", patch(catalog.EventPatch{Status: &made.Status}), false, false},
		{"a name", patch(catalog.EventPatch{Name: &name}), true, true},
		{"a start", patch(catalog.EventPatch{StartsAt: &later}), true, true},
		{"a description", patch(catalog.EventPatch{Description: &about}), true, false},
		{"a status", patch(catalog.EventPatch{Status: &draft}), true, true},
		{"a tier's name", revise(`"amount":5000,"name":"Front"`, `"amount":5000,"name":"First rows"`), true, false},
		{"artists", revise(`["Zoe","Ada"]`, `["Ada"]`), true, false},
		{"no artists", revise(`"artists":["Ada"]`, `"artists":[]`), true, false},
		{"first artists", revise(`"currency"`, `"artists":["Ada"],"currency"`), true, false},
		{"the venue's address", revise(`"Street 1"`, `"Street 2"`), true, true},
		{"the same document", revise(), false, false},
		{"a tier's colour", tier(catalog.TierPatch{Color: &red}), true, false},
		{"pictures", revise(`"currency"`, `"images":[{"url":"https://images.example/1.png","alt":"The hall","width":800,"height":450}],"currency"`), true, false},
		{"an entrance", revise(`"currency"`, `"sections":{"Front":{"entrance":"Door B"}},"currency"`), true, false},
		{"the venue by itself", venue(catalog.VenuePatch{Name: &house}), true, true},
		{"the same venue", venue(catalog.VenuePatch{Name: &house}), false, false},
		{"the artist by herself", artist(catalog.ArtistPatch{Name: &lady}), true, false},
		{"the artist's address, which no reader sees", artist(catalog.ArtistPatch{URL: &site}), false, false},
		{"an artist's name", sql(`update artists set name = 'Ada L.' where name = 'Ada B.'`), true, false},
		{"the venue's city", sql(`update venues set city = 'Bonn'`), true, true},
		{"the venue's place on the map of nobody", sql(`update venues set created_at = created_at - interval '1 day'`), false, false},
		{"a cancellation as checkout does it", sql(`update events set status = 'cancelled', updated_at = now() where id = $1`, made.ID), true, true},
		{"an order's tickets", sql(`update tickets set status = 'available' where event_id = $1`, made.ID), false, false},
	} {
		before, err := store.Event(ctx, made.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		after, err := store.Event(ctx, made.ID)
		if err != nil {
			t.Fatal(err)
		}
		if moved := after.UpdatedAt.After(before.UpdatedAt); moved != c.moves || !moved && !after.UpdatedAt.Equal(before.UpdatedAt) {
			t.Errorf("%s: updated at %s, then %s", c.what, before.UpdatedAt, after.UpdatedAt)
		}
		if grew := after.Sequence - before.Sequence; grew > 1 || (grew == 1) != c.matters {
			t.Errorf("%s: sequence %d, then %d", c.what, before.Sequence, after.Sequence)
		}
	}
	// The other event shares the venue and the artist, and nothing else.
	if now, err := store.Event(ctx, other.ID); err != nil || now.Sequence != 3 {
		t.Errorf("the other event has the sequence %d, %v", now.Sequence, err)
	}
	page, err := store.Events(ctx, catalog.Query{Name: "other"})
	if err != nil || len(page.Events) != 1 || page.Events[0].Sequence != 3 || page.Events[0].UpdatedAt.IsZero() {
		t.Errorf("listed as %+v, %v", page.Events, err)
	}
}
