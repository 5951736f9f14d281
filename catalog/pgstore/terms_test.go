package pgstore_test

import (
	"testing"
	"time"

	"onsale/catalog"
)

func TestTermsAreKept(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	ctx := t.Context()
	want := catalog.Terms{
		FeePerTicket: 150, FeePerOrder: 1_000_000_000_000,
		Tax: catalog.Tax{Name: "VAT", Rate: 8875}, Cancel: &catalog.CancelPolicy{UntilHours: 48},
	}
	draft := hall(t, "Evening", spring)
	draft.Terms = want
	e, err := store.CreateEvent(ctx, draft)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := store.CreateEvent(ctx, hall(t, "Matinee", spring))
	if err != nil {
		t.Fatal(err)
	}
	if !plain.Terms.Same(catalog.Terms{}) {
		t.Errorf("an event without terms has %+v", plain.Terms)
	}
	now := time.Now()
	cache := catalog.NewCache(store, func() time.Time { return now })
	holds := func(when string) {
		t.Helper()
		read, err := store.Event(ctx, e.ID)
		if err != nil || !read.Terms.Same(want) {
			t.Errorf("%s: the event has %+v, %v", when, read.Terms, err)
		}
		l, err := store.Layout(ctx, e.ID)
		if err != nil || !l.Terms.Same(want) {
			t.Errorf("%s: the layout has %+v, %v", when, l.Terms, err)
		}
		if l, err = cache.Layout(ctx, e.ID); err != nil || !l.Terms.Same(want) {
			t.Errorf("%s: the kept layout has %+v, %v", when, l.Terms, err)
		}
		again, err := cache.Layout(ctx, e.ID)
		if err != nil || again != l {
			t.Errorf("%s: the same layout was made anew, %v", when, err)
		}
	}
	if !e.Terms.Same(want) {
		t.Errorf("created with %+v", e.Terms)
	}
	holds("created")

	fee, rate, hours, yes := int64(0), catalog.Rate(19_000), 0, true
	for _, step := range []struct {
		what  string
		patch catalog.EventPatch
		after func()
	}{
		{"one fee", catalog.EventPatch{Fees: &catalog.FeesPatch{PerOrder: &fee}}, func() { want.FeePerOrder = 0 }},
		{"the tax", catalog.EventPatch{Tax: catalog.Change[catalog.TaxPatch]{Given: true, Value: &catalog.TaxPatch{Name: "MwSt", Rate: &rate, Included: &yes}}},
			func() { want.Tax = catalog.Tax{Name: "MwSt", Rate: 19_000, Included: true} }},
		{"the policy", catalog.EventPatch{Cancel: catalog.Change[catalog.CancelPatch]{Given: true, Value: &catalog.CancelPatch{UntilHours: &hours}}},
			func() { want.Cancel = &catalog.CancelPolicy{KeepsFees: true} }},
		{"something else", catalog.EventPatch{MaxPerBuyer: new(3)}, func() {}},
		{"no policy", catalog.EventPatch{Cancel: catalog.Change[catalog.CancelPatch]{Given: true}}, func() { want.Cancel = nil }},
		{"no tax", catalog.EventPatch{Tax: catalog.Change[catalog.TaxPatch]{Given: true}}, func() { want.Tax = catalog.Tax{Included: true} }},
	} {
		if _, _, err := cache.UpdateEvent(ctx, e.ID, step.patch); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		step.after()
		holds(step.what)
	}
	// Another node changed it: this one sees it within a second.
	if _, _, err := store.UpdateEvent(ctx, e.ID, catalog.EventPatch{Fees: &catalog.FeesPatch{PerTicket: &fee}}); err != nil {
		t.Fatal(err)
	}
	want.FeePerTicket = 0
	now = now.Add(time.Second)
	holds("changed elsewhere")
}
