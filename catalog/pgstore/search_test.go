package pgstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/fault"
	"onsale/internal/stack/stacktest"
)

// What large catalogs are made of.
var (
	givenNames = strings.Fields(`Ada Agnès Alma Amélie Anouk Aysel Björn Bruno Cecilia Chloé Clara Dario Dmitri Edda Elena Emil Esther Fatima Félix Finn
		Frida Gaël Giulia Hanna Hélène Ida Ines Ingrid Ivo Jakob Joséphine Jürgen Kaja Karim Käthe Lars Lea Leïla Linnéa Łucja Luís Maja Marek Matteo
		Mila Nadia Nils Noé Olga Oskar Pía Paula Quentin Rasmus Renée Rosa Sanna Sören Tariq Thea Tomás Ulla Vera Viktor Wanda Xavier Yara Yusuf Zoë Zuzana`)
	familyNames = strings.Fields(`Abel Adler Almeida Bauer Becker Bergström Blanc Brandt Castillo Conti Córdoba Dahl Delacroix Dvorak Eklund Engel Esposito
		Falk Ferreira Fischer Fontaine Gallo Garnier Giordano Groß Haas Hakim Hansen Herrera Holm Ibáñez Ivanova Jansen Jensen Kaya Keller König Kowalski
		Kraus Lefèvre Lindqvist Lombardi Lund Marchetti Meier Moreau Müller Navarro Nguyen Nielsen Novak O'Hara Okafor Olsen Øvergård Park Pereira Petrov
		Quinn Ricci Rossi Roux Santos Schäfer Silva Sørensen Strauß Tanaka Torres Ueda Vogel Weiß Wójcik Yılmaz Ziegler`)
	ensembles  = strings.Fields(`Quartet Trio Ensemble Orchestra Band Choir Collective Sextet Project Brass`)
	adjectives = strings.Fields(`Midnight Silent Golden Electric Northern Hidden Burning Velvet Crystal Wandering Broken Endless Scarlet Frozen Distant Hollow
		Radiant Sleepless Untamed Violet Winter Summer Ancient Lonely Restless Sacred Wild Gentle Forgotten Amber`)
	nouns = strings.Fields(`Lanterns Rivers Echoes Harbours Gardens Mirrors Shadows Horizons Voices Mountains Dreams Letters Bridges Islands Forests Carousels
		Tides Embers Orchards Lighthouses Wolves Sparrows Comets Tapestries Machines Cathedrals Nomads Pilgrims Serpents Thunder Meadows Daybreak`)
	composers = strings.Fields(`Mozart Beethoven Brahms Dvořák Fauré Händel Schütz Bartók Janáček Sibelius Ravel Debussy Mahler Schönberg Purcell Vivaldi`)
	works     = strings.Fields(`Requiem Symphony Sonata Serenade Concerto Nocturnes Variations Rhapsody Oratorio Overture Cantata Suite Preludes Nachtmusik`)
	towns     = []string{
		"Köln", "Berlin", "München", "Hamburg", "Zürich", "Wien", "Graz", "Paris", "Lyon", "Orléans", "Bruxelles", "Liège", "Amsterdam", "Utrecht", "København",
		"Århus", "Malmö", "Göteborg", "Oslo", "Tromsø", "Helsinki", "Tallinn", "Rīga", "Kraków", "Łódź", "Praha", "Brno", "Budapest", "Milano", "Roma", "Torino",
		"Málaga", "Sevilla", "Barcelona", "Lisboa", "Porto", "London", "Leeds", "Dublin", "Cork", "Edinburgh", "İzmir", "Istanbul", "Athína", "Gießen", "Saint-Étienne",
	}
	halls      = strings.Fields(`Arena Philharmonie Opera Theatre Hall Kulturhaus Palladium Forum Pavillon Kesselhaus Volksbühne Filature Tonhalle Corn-Exchange`)
	eventTypes = strings.Fields(`concert opera concert theatre concert comedy concert sport festival dance lecture`)
	prose      = strings.Fields(`an evening with the and a of music from around world first time on stage after years away guests special acoustic programme night
		young talents celebrate their new album hall doors bar open late standing seats limited family friendly premiere award winning production story love
		revolution journey through centuries classics rediscovered orchestra conducted by choir soloists light installation improvised sharp witty touring company
		original cast live band interval drinks included reduced admission students wheelchair access streaming recording anniversary farewell tour`)
)

// programme is what is played on several nights, as the reference knows it.
type programme struct {
	name, kind, city, venue, about string
	venueID                        uuid.UUID
	artists                        []string
	artistIDs                      []uuid.UUID
	draft                          bool

	lowName, lowCity string
	lowArtists       []string
	key              string
	words            string // with a space on either side of each
}

// listed is an event as the reference knows it.
type listed struct {
	*programme
	id    uuid.UUID
	start time.Time
}

var folding = strings.NewReplacer(
	"ä", "a", "ö", "o", "ü", "u", "å", "a", "á", "a", "à", "a", "â", "a", "é", "e", "è", "e", "ê", "e", "ë", "e", "ï", "i", "í", "i", "ī", "i", "ı", "i", "i̇", "i", "ó", "o", "ñ", "n",
	"ř", "r", "č", "c", "ź", "z", "ł", "l", "ø", "o", "ß", "ss", "ç", "c", "ú", "u", "ý", "y")

func fold(s string) string { return folding.Replace(strings.ToLower(s)) }

const (
	nights      = 20 // of each programme
	sameMoments = 40 // events that start at one moment, so that ids have to decide
)

// makeCatalog draws a catalog of two years, in the order of its start, and writes
// it as an import would: the largest index is made at the end, by its own definition.
// The first night of each programme comes into the search as every event does,
// the others as copies of it.
func makeCatalog(ctx context.Context, t testing.TB, pool *pgxpool.Pool, seed uint64, n int) []listed {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(words []string) string { return words[r.IntN(len(words))] }
	newID := func() (id uuid.UUID) {
		binary.BigEndian.PutUint64(id[:8], r.Uint64())
		binary.BigEndian.PutUint64(id[8:], r.Uint64())
		return id
	}
	type place struct {
		id         uuid.UUID
		name, town string
	}
	var venues []place
	var venueRows, artistRows [][]any
	for _, town := range towns {
		for _, hall := range halls {
			for _, number := range []string{"", " I", " II"} {
				v := place{newID(), hall + " " + town + number, town}
				venues = append(venues, v)
				venueRows = append(venueRows, []any{v.id, v.name, "Street 1", v.town, "DE"})
			}
		}
	}
	var artists []place
	add := func(name string) {
		a := place{id: newID(), name: name}
		artists = append(artists, a)
		artistRows = append(artistRows, []any{a.id, a.name})
	}
	for _, given := range givenNames {
		for i, family := range familyNames {
			add(given + " " + family)
			if i%4 == 0 {
				add(given + " " + family + " " + ensembles[(i/4)%len(ensembles)])
			}
		}
	}
	looked := []string{"Łucja O'Hara", "Jürgen Groß", "Jürgen Müller"} // somebody must have them
	programmes := make([]programme, n/nights)
	for i := range programmes {
		v := venues[r.IntN(len(venues))]
		e := programme{kind: pick(eventTypes), city: v.town, venue: v.name, venueID: v.id, draft: r.IntN(100) == 0}
		for k := range 1 + r.IntN(3) {
			a := artists[r.IntN(len(artists))]
			if k == 0 && i < len(looked) {
				a = artists[slices.IndexFunc(artists, func(a place) bool { return a.name == looked[i] })]
			}
			if !slices.Contains(e.artists, a.name) {
				e.artists, e.artistIDs = append(e.artists, a.name), append(e.artistIDs, a.id)
				e.lowArtists = append(e.lowArtists, strings.ToLower(a.name))
			}
		}
		switch r.IntN(4) {
		case 0:
			e.name = "The " + pick(adjectives) + " " + pick(nouns)
		case 1:
			e.name = pick(composers) + ": " + pick(works) + " No. " + strconv.Itoa(1+r.IntN(40))
		case 2:
			e.name = e.artists[0] + " – " + pick(adjectives) + " " + pick(nouns) + " Tour"
		default:
			e.name = pick(nouns) + " Festival " + strconv.Itoa(2027+r.IntN(2))
		}
		e.name += " #" + strconv.Itoa(i)
		about := make([]string, 6+r.IntN(14))
		for k := range about {
			about[k] = pick(prose)
		}
		e.about = strings.Join(about, " ") + "."
		e.lowName, e.lowCity, e.key = strings.ToLower(e.name), strings.ToLower(e.city), fold(e.name)
		e.words = wordsOf(e.name + " " + e.venue + " " + e.city + " " + strings.Join(e.artists, " "))
		e.words += strings.TrimPrefix(wordsOf(e.about), " ")
		programmes[i] = e
	}
	events := make([]listed, n)
	rows := func(events []listed) (eventRows, bills [][]any) {
		for _, e := range events {
			status := "on_sale"
			if e.draft {
				status = "draft"
			}
			eventRows = append(eventRows, []any{e.id, e.venueID, e.name, e.kind, e.about, e.start, status, "EUR", 6, "{}"})
			for k, a := range e.artistIDs {
				bills = append(bills, []any{e.id, a, k})
			}
		}
		return eventRows, bills
	}
	for i := range events {
		moment := r.IntN(n / sameMoments / nights)
		night := i / len(programmes) // no two of a programme start at once
		events[i] = listed{&programmes[i%len(programmes)], newID(), spring.Add(time.Duration(moment*nights+night) * 730 * 24 * time.Hour / time.Duration(n/sameMoments)).Truncate(time.Minute)}
	}
	firstEvents, firstBills := rows(events[:len(programmes)])
	moreEvents, moreBills := rows(events[len(programmes):])

	conn, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	var definition string
	if err := conn.QueryRow(ctx, `select pg_get_indexdef('event_search_texts'::regclass)`).Scan(&definition); err != nil {
		t.Fatal(err)
	}
	eventColumns := []string{"id", "venue_id", "name", "type", "description", "starts_at", "status", "currency", "max_per_buyer", "plan_view"}
	billColumns := []string{"event_id", "artist_id", "position"}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, step := range []struct {
			before, table string
			columns       []string
			rows          [][]any
		}{
			{`set local maintenance_work_mem = '256MB'; set local work_mem = '64MB'; drop index event_search_texts`, "venues", []string{"id", "name", "address", "city", "country"}, venueRows},
			{"", "artists", []string{"id", "name"}, artistRows},
			// All have artists, and with these come into the search.
			{"alter table events disable trigger search_new", "events", eventColumns, firstEvents},
			{"", "event_artists", billColumns, firstBills},
			{"alter table event_artists disable trigger search_new", "events", eventColumns, moreEvents},
			{"", "event_artists", billColumns, moreBills},
		} {
			if _, err := tx.Exec(ctx, step.before); err != nil {
				return err
			}
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{step.table}, step.columns, pgx.CopyFromRows(step.rows)); err != nil {
				return fmt.Errorf("%s: %w", step.table, err)
			}
		}
		_, err := tx.Exec(ctx, `
insert into event_search (event_id, starts_at, draft, type, name, city, artists, name_key, doc)
select e.id, e.starts_at, s.draft, s.type, s.name, s.city, s.artists, s.name_key, s.doc
  from events e join event_search s on s.name = lower(e.name) where e.id <> s.event_id;
alter table events enable trigger search_new; alter table event_artists enable trigger search_new; `+definition)
		return err
	})
	if err == nil {
		_, err = conn.Exec(ctx, `vacuum analyze`)

	}
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(events, func(a, b listed) int {
		if c := a.start.Compare(b.start); c != 0 {
			return c
		}
		return bytes.Compare(a.id[:], b.id[:])
	})
	return events
}

var (
	german     = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "Ä", "ae", "Ö", "oe", "Ü", "ue")
	unpunctual = strings.NewReplacer("'", "", ":", " ", ".", " ", "-", " ", "–", " ", "#", " ")
)

func wordsOf(text string) string {
	if other := german.Replace(text); other != text {
		text += " " + other
	}
	return " " + strings.Join(strings.Fields(unpunctual.Replace(fold(text))), " ") + " "
}

// find is the contract of a search, event by event: those that match, in the
// order of their start.
func find(events []listed, q catalog.Query) []*listed {
	q.Name, q.City, q.Artist, q.Type = strings.ToLower(q.Name), strings.ToLower(q.City), strings.ToLower(q.Artist), strings.ToLower(q.Type)
	words := strings.Fields(fold(q.Text))
	known := make(map[*programme]bool)
	var all []*listed
	for i := range events {
		e := &events[i]
		if !q.From.IsZero() && e.start.Before(q.From) || !q.To.IsZero() && !e.start.Before(q.To) {
			continue
		}
		match, ok := known[e.programme]
		if !ok {
			match = e.matches(q, words)
			known[e.programme] = match
		}
		if match {
			all = append(all, e)
		}
	}
	return all
}

func (p *programme) matches(q catalog.Query, words []string) bool {
	if p.draft && !q.Drafts || q.Type != "" && p.kind != q.Type || !strings.Contains(p.lowName, q.Name) || !strings.Contains(p.lowCity, q.City) {
		return false
	}
	if !slices.ContainsFunc(p.lowArtists, func(a string) bool { return strings.Contains(a, q.Artist) }) {
		return false
	}
	for i, w := range words {
		whole := i < len(words)-1 || len(w) == 1 // a single letter begins nothing
		if !strings.Contains(p.words, " "+w+" ") && (whole || !strings.Contains(p.words, " "+w)) {
			return false
		}
	}
	return true
}

// heard records the statements that go to the database.
type heard struct {
	mu         sync.Mutex
	statements []pgx.TraceQueryStartData
}

func (h *heard) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.statements = append(h.statements, data)
	return ctx
}

func (*heard) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (h *heard) take() []pgx.TraceQueryStartData {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.statements
	h.statements = nil
	return all
}

// plan is what EXPLAIN (FORMAT JSON) says.
type plan struct {
	Node  string `json:"Node Type"`
	Table string `json:"Relation Name"`
	Plans []plan `json:"Plans"`
}

func (p plan) scans() []string {
	var tables []string
	if p.Node == "Seq Scan" || p.Node == "Parallel Seq Scan" {
		tables = append(tables, p.Table)
	}
	for _, below := range p.Plans {
		tables = append(tables, below.scans()...)
	}
	return tables
}

const largeCatalog = 200_000

// TestSearchOfALargeCatalog asks a catalog of 200 000 events everything that can
// be asked.
func TestSearchOfALargeCatalog(t *testing.T) { //nolint:tparallel // one after the other: the statements of one are listened to, and another is timed
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped by -short: it makes 200,000 events; make test runs it")
	}
	databaseURL := stacktest.Database(t, migrate)
	began := time.Now()
	events := makeCatalog(t.Context(), t, connect(t, databaseURL), 7, largeCatalog)
	t.Logf("%d events made in %v", len(events), time.Since(began).Round(time.Millisecond))

	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	listener := &heard{}
	config.ConnConfig.Tracer = listener
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	store := pgstore.New(pool, nil)

	t.Run("no table is read whole", func(t *testing.T) { neverReadWhole(t, store, pool, listener) })
	t.Run("as the reference", func(t *testing.T) { likeTheReference(t, store, events) })
	t.Run("every event once", func(t *testing.T) { everyEventOnce(t, store, events) })
	t.Run("typos and ranking", func(t *testing.T) { rankedAndForgiving(t, store) })
	t.Run("how long it takes", func(t *testing.T) { howLong(t, store, events) })
}

// choices are values of each parameter: common and rare ones, short and long.
var choices = map[string][]func(*catalog.Query){
	"q": {
		func(q *catalog.Query) { q.Text = "lanterns" },
		func(q *catalog.Query) { q.Text = "the" },
		func(q *catalog.Query) { q.Text = "midnight lan" },
		func(q *catalog.Query) { q.Text = `"mozart requiem" or kowalski -festival` },
		func(q *catalog.Query) { q.Text = "lantrens" },
	},
	"name":   {func(q *catalog.Query) { q.Name = "lantern" }, func(q *catalog.Query) { q.Name = "an" }, func(q *catalog.Query) { q.Name = "zq" }, func(q *catalog.Query) { q.Name = "nowhere" }},
	"artist": {func(q *catalog.Query) { q.Artist = "łucja o'h" }, func(q *catalog.Query) { q.Artist = "e" }, func(q *catalog.Query) { q.Artist = "qx" }},
	"city":   {func(q *catalog.Query) { q.City = "köln" }, func(q *catalog.Query) { q.City = "øq" }},
	"type":   {func(q *catalog.Query) { q.Type = "concert" }, func(q *catalog.Query) { q.Type = "none" }},
	"from":   {func(q *catalog.Query) { q.From = spring.AddDate(1, 0, 0) }, func(q *catalog.Query) { q.From = spring.AddDate(9, 0, 0) }},
	"to":     {func(q *catalog.Query) { q.To = spring.AddDate(0, 1, 0) }, func(q *catalog.Query) { q.To = spring.AddDate(0, 23, 0) }},
	"series": {func(q *catalog.Query) { q.Series = "01980000-0000-7000-8000-000000000000" }},
	"drafts": {func(q *catalog.Query) { q.Drafts = true }},
	"sort":   {func(q *catalog.Query) { q.Sort = catalog.ByStart }, func(q *catalog.Query) { q.Sort = catalog.ByName }, func(q *catalog.Query) { q.Sort = catalog.ByRelevance }},
	"limit":  {func(q *catalog.Query) { q.Limit = 1 }, func(q *catalog.Query) { q.Limit = 200 }},
}

// neverReadWhole runs every pair of choices, first pages and deep ones, and has
// what the store said explained.
func neverReadWhole(t *testing.T, store *pgstore.Store, pool *pgxpool.Pool, listener *heard) {
	t.Helper()
	ctx := t.Context()
	explained, queries := 0, 0
	explain := func(q catalog.Query) {
		t.Helper()
		listener.take()
		_, err := store.Events(ctx, q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		queries++
		said := listener.take()
		var begin string
		for _, statement := range said {
			if strings.HasPrefix(statement.SQL, "begin") {
				begin = statement.SQL
			}
			if !strings.HasPrefix(strings.TrimSpace(statement.SQL), "select") {
				continue
			}
			err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error {
				var answer []byte
				if err := tx.QueryRow(ctx, "explain (format json) "+statement.SQL, statement.Args...).Scan(&answer); err != nil {
					return err
				}
				var plans []struct{ Plan plan }
				if err := json.Unmarshal(answer, &plans); err != nil || len(plans) != 1 || plans[0].Plan.Node == "" {
					return fmt.Errorf("%s: %w", answer, err)
				}
				explained++
				if tables := plans[0].Plan.scans(); len(tables) > 0 {
					t.Errorf("%+v reads %v whole:\n%s", q, tables, answer)
				}
				return nil
			})
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
		}
	}
	names := make([]string, 0, len(choices))
	for name := range choices {
		names = append(names, name)
	}
	slices.Sort(names)
	both := func(q catalog.Query) {
		if q.Check() != nil { // by relevance without a text
			return
		}
		explain(q)
		at := catalog.EventCursor{StartsAt: spring.AddDate(1, 6, 0), ID: uuid.NewString(), Name: "the silent"}
		if q.Sort == catalog.ByRelevance {
			at.Rank, at.StretchStart, at.StretchID = 500_000, spring.AddDate(1, 0, 0), at.ID
		}
		q.Cursor = q.Token(at)
		explain(q)
	}
	both(catalog.Query{})
	for i, name := range names {
		for _, one := range choices[name] {
			q := catalog.Query{}
			one(&q)
			both(q)
			for _, other := range names[i+1:] {
				for _, two := range choices[other] {
					q := catalog.Query{}
					one(&q)
					two(&q)
					both(q)
				}
			}
		}
	}
	t.Logf("%d statements of %d queries are explained", explained, queries)
	if explained < queries {
		t.Errorf("%d statements of %d queries", explained, queries)
	}
}

// drawQuery draws a query that somebody might make about the events.
func drawQuery(r *rand.Rand, events []listed) catalog.Query {
	q := catalog.Query{Limit: []int{0, 1, 7, 50, 200}[r.IntN(5)], Drafts: r.IntN(4) == 0}
	e := events[r.IntN(len(events))]
	piece := func(s string) string {
		letters := []rune(s)
		from := r.IntN(len(letters))
		cut := string(letters[from:min(len(letters), from+1+r.IntN(8))])
		if r.IntN(3) == 0 {
			cut = strings.ToUpper(cut)
		}
		if strings.ContainsAny(cut, "ßẞSıIİi") { // cases that are not one to one
			return strings.ToLower(cut)
		}
		return cut
	}
	for range 1 + r.IntN(2) {
		switch r.IntN(8) {
		case 0:
			q.Name = piece(e.name)
		case 1:
			q.Artist = piece(e.artists[0])
		case 2:
			q.City = piece(e.city)
		case 3:
			q.Type = e.kind
		case 4:
			q.From = e.start
		case 5:
			q.To = e.start.Add(time.Duration(r.IntN(100)) * time.Hour)
			if q.To.Before(q.From) {
				q.To = q.From
			}
		default:
			words := strings.Fields(e.words)
			q.Text = words[r.IntN(len(words))]
			if r.IntN(2) == 0 {
				q.Text = words[r.IntN(len(words))] + " " + q.Text
			}
			if letters := []rune(q.Text); r.IntN(3) == 0 && len(letters) > 4 && letters[len(letters)-3] != ' ' && letters[len(letters)-2] != ' ' {
				q.Text = string(letters[:len(letters)-1])
			}
		}
	}
	switch r.IntN(4) {
	case 0:
		q.Sort = catalog.ByName
	case 1:
		q.Sort = catalog.ByStart
	}
	return q
}

// likeTheReference compares what random queries find, page by page, with what a
// loop over all events does.
func likeTheReference(t *testing.T, store *pgstore.Store, events []listed) {
	t.Helper()
	r := rand.New(rand.NewPCG(11, 1))
	const rounds, most = 60, 600
	compared := 0
	for range rounds {
		q := drawQuery(r, events)
		want := find(events, q)
		if q.Text != "" && len(want) == 0 {
			continue // guesses are made
		}
		byName := q.Sort == catalog.ByName
		if byName {
			slices.SortStableFunc(want, func(a, b *listed) int { return strings.Compare(a.key, b.key) })
		}
		ordered := q.Sort == catalog.ByStart || byName || q.Text == ""
		var got []string
		for {
			page, err := store.Events(t.Context(), q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			for _, e := range page.Events {
				got = append(got, e.ID)
			}
			if q.Cursor = page.Next; q.Cursor == "" || (ordered && len(got) > most) || len(got) > 6*most {
				break
			}
			if q.Limit = 200; len(page.Events) == 0 {
				t.Fatalf("%+v: an empty page is not the last", q)
			}
		}
		ids := make([]string, len(want))
		for i, e := range want {
			ids[i] = e.id.String()
		}
		if q.Cursor != "" {
			if !ordered {
				continue
			}
			ids = ids[:min(len(ids), len(got))]
		}
		if !ordered {
			slices.Sort(got)
			slices.Sort(ids)
		}
		if !slices.Equal(got, ids) {
			t.Errorf("%+v: found %d events, the reference has %d", q, len(got), len(ids))
		}
		compared++
	}
	t.Logf("%d queries compared", compared)
	if compared < rounds/2 {
		t.Error("too few to say anything")
	}
}

// everyEventOnce turns all pages in each order.
func everyEventOnce(t *testing.T, store *pgstore.Store, events []listed) {
	t.Helper()
	for _, q := range []catalog.Query{
		{Text: "lanterns"}, {Text: "concerto", Sort: catalog.ByName}, {Type: "opera", Sort: catalog.ByName, To: spring.AddDate(0, 2, 0)},
		{City: "ö", To: spring.AddDate(0, 2, 0)}, {Text: "nocturns"}, {Name: "nig", Text: "the"},
	} {
		want := q
		if q.Text == "nocturns" {
			want.Text = "nocturnes"
		}
		expected := len(find(events, want))
		seen := make(map[string]bool)
		q.Limit = 199 // no divisor of a stretch
		for {
			page, err := store.Events(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Events {
				if seen[e.ID] {
					t.Fatalf("%+v: %s stands on two pages", q, e.Name)
				}
				seen[e.ID] = true
			}
			if page.Next != "" && len(page.Events) != q.Limit {
				t.Fatalf("%+v: a page of %d is not the last", q, len(page.Events))
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if len(seen) != expected || expected < catalog.Stretch {
			t.Errorf("%+v: %d events of %d", q, len(seen), expected)
		}
	}
}

// rankedAndForgiving finds what was meant, and the best first.
func rankedAndForgiving(t *testing.T, store *pgstore.Store) {
	t.Helper()
	first := func(text string) catalog.Event {
		t.Helper()
		page, err := store.Events(t.Context(), catalog.Query{Text: text, Limit: 1})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(page.Events) == 0 {
			t.Errorf("%q finds nothing", text)
			return catalog.Event{}
		}
		return page.Events[0]
	}
	for typed, meant := range map[string]string{
		"lantrens": "Lanterns", "midnight lantrens": "Midnight Lanterns", "mozrat sonata": "Mozart: Sonata", "beethofen": "Beethoven",
		"carusels": "Carousels", "Dvorak sonata": "Dvořák: Sonata", "haendel": "Händel", "handel": "Händel", "schuetz cantata": "Schütz: Cantata",
		"LIGHTHOUSES": "Lighthouses", "lighth": "Lighthouses", "cathedrlas fest": "Cathedrals Festival", "preludse": "Preludes",
	} {
		if e := first(typed); !strings.Contains(e.Name, meant) {
			t.Errorf("%q finds %q first, want %s", typed, e.Name, meant)
		}
	}
	for typed, meant := range map[string]string{
		"lucja ohara": "Łucja O'Hara", "jürgen groß": "Jürgen Groß", "jurgen gross": "Jürgen Groß", "juergen mueller": "Jürgen Müller",
		"sorensen": "Sørensen", "overgard": "Øvergård", "kowalsky": "Kowalski",
	} {
		if e := first(typed); !slices.ContainsFunc(e.Artists, func(a catalog.Artist) bool { return strings.Contains(a.Name, meant) }) {
			t.Errorf("%q finds %q with %v, want %s", typed, e.Name, e.Artists, meant)
		}
	}
	for typed, meant := range map[string]string{"volksbuhne koln": "Volksbühne Köln", "saint etienne arena": "Saint-Étienne", "izmir": "İzmir", "giessen": "Gießen"} {
		if e := first(typed); !strings.Contains(e.Venue.Name+" "+e.Venue.City, meant) {
			t.Errorf("%q finds %q in %s, want %s", typed, e.Name, e.Venue.Name, meant)
		}
	}
	// Orchestra stands in many descriptions, in some artists' names and in no event's.
	if e := first("orchestra"); !slices.ContainsFunc(e.Artists, func(a catalog.Artist) bool { return strings.Contains(a.Name, "Orchestra") }) {
		t.Errorf("orchestra finds %q with %v by %q first", e.Name, e.Artists, e.Description)
	}
	for _, nothing := range []string{"xqzvwk", "lantrens -lanterns"} {
		if page, err := store.Events(t.Context(), catalog.Query{Text: nothing}); err != nil || len(page.Events) != 0 {
			t.Errorf("%q finds %d events, %v", nothing, len(page.Events), err)
		}
	}
}

// howLong reports, and judges nothing: machines differ.
func howLong(t *testing.T, store *pgstore.Store, events []listed) {
	t.Helper()
	r := rand.New(rand.NewPCG(13, 1))
	const rounds = 1000
	type timed struct {
		took time.Duration
		what string
	}
	kinds := make(map[string][]timed)
	for range rounds {
		q := drawQuery(r, events)
		q.Limit = 0
		if q.Text != "" && r.IntN(4) == 0 { // a typo
			if letters := []rune(q.Text); len(letters) > 5 {
				at := len(letters) / 2
				letters[at], letters[at-1] = letters[at-1], letters[at]
				q.Text = string(letters)
			}
		}
		began := time.Now()
		if _, err := store.Events(t.Context(), q); err != nil {
			if fault.Is(err, fault.Invalid) {
				continue
			}
			t.Fatalf("%+v: %v", q, err)
		}
		one := timed{time.Since(began), fmt.Sprintf("%+v", q)}
		kind := "filters"
		if q.Text != "" {
			kind = "words"
		}
		kinds["all"], kinds[kind] = append(kinds["all"], one), append(kinds[kind], one)
	}
	for kind, all := range kinds {
		slices.SortFunc(all, func(a, b timed) int { return int(a.took - b.took) })
		at := func(share float64) timed { return all[int(float64(len(all)-1)*share)] }
		t.Logf("%s: %d queries, p50 %v, p90 %v, p99 %v, slowest %v (%s)", kind, len(all), at(.5).took.Round(10*time.Microsecond),
			at(.9).took.Round(10*time.Microsecond), at(.99).took.Round(10*time.Microsecond), at(1).took.Round(10*time.Microsecond), at(1).what)
	}
}
