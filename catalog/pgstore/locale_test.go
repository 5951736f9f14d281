package pgstore_test

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/stack/stacktest"
)

// TestLettersHaveCasesInEveryLocale: the one called C knows those of ASCII alone.
func TestLettersHaveCasesInEveryLocale(t *testing.T) {
	t.Parallel()
	server := stacktest.Database(t, func(context.Context, string) error { return nil })
	ctx := t.Context()
	admin := connect(t, server)
	name := "locale_" + strings.ToLower(rand.Text())
	quoted := pgx.Identifier{name}.Sanitize()
	if _, err := admin.Exec(ctx, `create database `+quoted+` template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(context.WithoutCancel(ctx), `drop database `+quoted+` with (force)`); err != nil {
			t.Error(err)
		}
	})
	address, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/" + name

	// An event of before is found as one of after.
	if err := pgstore.MigrateTo(ctx, address.String(), 13); err != nil {
		t.Fatal(err)
	}
	pool := connect(t, address.String())
	var ascii bool
	if err := pool.QueryRow(ctx, `select lower('Ä') = 'Ä'`).Scan(&ascii); err != nil || !ascii {
		t.Fatalf("the database knows more than ASCII, or not: %v", err)
	}
	if _, err := pool.Exec(ctx, `
with v as (insert into venues (id, name, city) values (gen_random_uuid(), 'Ópera', 'ŁÓDŹ') returning id)
insert into events (id, venue_id, name, type, starts_at, currency, max_per_buyer, plan_view)
select gen_random_uuid(), id, 'ÜBER Björk', 'concert', now(), 'EUR', 2, '{}' from v`); err != nil {
		t.Fatal(err)
	}
	if err := migrate(ctx, address.String()); err != nil {
		t.Fatal(err)
	}
	store := pgstore.New(pool, nil)
	e := hall(t, "Ärzte und Freunde", spring)
	e.Artists = []string{"Сплин"}
	if _, err := store.CreateEvent(ctx, e); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    catalog.Query
		want string
	}{
		{catalog.Query{Name: "BJÖRK"}, "ÜBER Björk"}, {catalog.Query{Name: "über b"}, "ÜBER Björk"}, {catalog.Query{City: "łódź"}, "ÜBER Björk"},
		{catalog.Query{Text: "BJORK"}, "ÜBER Björk"}, {catalog.Query{Text: "ueber lodz"}, "ÜBER Björk"},
		{catalog.Query{Name: "äRZTE"}, "Ärzte und Freunde"}, {catalog.Query{Artist: "СПЛИН"}, "Ärzte und Freunde"},
		{catalog.Query{Text: "aerzte"}, "Ärzte und Freunde"}, {catalog.Query{City: "KÖLN"}, "Ärzte und Freunde"}, {catalog.Query{Text: "KOELN"}, "Ärzte und Freunde"},
	} {
		page, err := store.Events(ctx, c.q)
		if err != nil || len(page.Events) != 1 || page.Events[0].Name != c.want {
			t.Errorf("%+v finds %+v, %v", c.q, page.Events, err)
		}
	}
	// What organisers keep is found alike.
	if venues, _, err := store.Venues(ctx, catalog.ListQuery{Text: "óPERA"}); err != nil || len(venues) != 1 || venues[0].City != "ŁÓDŹ" {
		t.Errorf("venues: %+v, %v", venues, err)
	}
	if artists, _, err := store.Artists(ctx, catalog.ListQuery{Text: "СПЛИН"}); err != nil || len(artists) != 1 || artists[0].Name != "Сплин" {
		t.Errorf("artists: %+v, %v", artists, err)
	}
}
