package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"onsale/catalog"
	"onsale/internal/fault"
)

type revised struct {
	Name, Status string
	DryRun       bool `json:"dry_run"`
	Changes      []catalog.Difference
	Notes        []string
	Room         struct{ State string }
}

func paths(changes []catalog.Difference) (list []string) {
	for _, c := range changes {
		list = append(list, c.String())
	}
	return list
}

// documentOf is the event's document, to be edited.
func (s *stage) documentOf(event string) map[string]any {
	s.t.Helper()
	var doc map[string]any
	s.get("/v1/admin/events/"+event+"/document", asOperator).ok(200, &doc)
	return doc
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

// TestAnEventBecomesItsDocument: PUT is the import's diff, with the room.
func TestAnEventBecomesItsDocument(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.newEvent("Put", "draft")
	path := "/v1/admin/events/" + event
	put := func(doc any, query string) reply {
		t.Helper()
		return s.do(http.MethodPut, path+query, text(t, doc), asOperator)
	}
	doc := s.documentOf(event)
	var r revised
	put(doc, "").ok(200, &r)
	if len(r.Changes) != 0 || len(r.Notes) != 0 {
		t.Fatalf("as it is: %+v", r)
	}
	doc["name"] = "Put anew"
	doc["prices"].(map[string]any)["Stalls"].(map[string]any)["amount"] = 5000
	room := doc["room"].(map[string]any)
	room["rate_per_minute"], room["lease_s"], room["message"], room["state"] = 30, 900, "Soon", "closed"
	room["closes_at"] = "2031-01-10T10:00:00.5Z"
	want := []string{
		`name: "Put" -> "Put anew"`, `prices.Stalls.amount: 4500 -> 5000`, `room.rate_per_minute: 60000 -> 30`, `room.lease_s: 600 -> 900`,
		`room.closes_at: nothing -> "2031-01-10T10:00:00.5Z"`, `room.message: nothing -> "Soon"`,
	}
	put(doc, "?dry_run=true").ok(200, &r)
	if !slices.Equal(paths(r.Changes), want) || !r.DryRun || r.Name != "Put" || len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "room.state: stays open") {
		t.Fatalf("dry run: %+v", r)
	}
	if s.documentOf(event)["name"] != "Put" || query[int](s, `select count(*) from audit_log where subject = $1 and actor = 'admin'`, event) != 0 {
		t.Fatal("the dry run has changed something")
	}
	r = revised{}
	put(doc, "").ok(200, &r)
	if !slices.Equal(paths(r.Changes), want) || r.DryRun || r.Name != "Put anew" {
		t.Fatalf("for real: %+v", r)
	}
	got, err := s.rooms.Room(t.Context(), event)
	must(t, err)
	if got.Throttle.RatePerMinute != 30 || got.Throttle.Lease.Seconds() != 900 || got.Message != "Soon" || got.ClosesAt.UnixMilli()%1000 != 500 {
		t.Errorf("the room is %+v", got.Settings)
	}
	put(doc, "").ok(200, &r)
	if len(r.Changes) != 0 {
		t.Errorf("once more: %v", paths(r.Changes))
	}
	if n := query[int](s, `select count(*) from audit_log where subject = $1 and actor = 'admin' and action in ('event.revise', 'room.configure')`, event); n != 2 {
		t.Errorf("the audit log has %d entries", n)
	}

	// Places and pictures are part of it, and are shown at once.
	image := map[string]any{"url": "https://img.example/put.jpg", "width": 1200, "height": 630, "alt": "A stage"}
	doc["sections"], doc["images"] = map[string]any{"Stalls": map[string]any{"entrance": "Door B"}}, []any{image}
	put(doc, "").ok(200, &r)
	if got := paths(r.Changes); len(got) != 2 || !strings.HasPrefix(got[0], "images: ") || got[1] != `sections.Stalls.entrance: nothing -> "Door B"` {
		t.Errorf("places and pictures: %q", got)
	}
	var shown struct{ Images []catalog.Image }
	s.do(http.MethodPut, path, `{"status":"on_sale"}`, asOperator).ok(200, nil)
	s.get("/v1/events/"+event).ok(200, &shown)
	var tickets struct{ Tickets []struct{ Entrance string } }
	s.get("/v1/events/"+event+"/tickets?section=Stalls&limit=1").ok(200, &tickets)
	if len(shown.Images) != 1 || shown.Images[0].URL != image["url"] || len(tickets.Tickets) != 1 || tickets.Tickets[0].Entrance != "Door B" {
		t.Errorf("shown are %+v, %+v", shown, tickets)
	}
	put(map[string]any{"sections": doc["sections"]}, "").refused(400, "invalid-request")
	s.do(http.MethodPut, path, `{"status":"draft"}`, asOperator).ok(200, nil)

	// What cannot be is refused with its places, and leaves the room alone, too.
	doc["currency"], room["burst"] = "USD", 7
	doc["venue"] = map[string]any{"name": "Elsewhere"}
	p := put(doc, "").refused(400, "invalid-request")
	if !strings.Contains(p.Detail, "problems") && !strings.Contains(p.Detail, "$.") {
		t.Errorf("%+v", p)
	}
	if got, err = s.rooms.Room(t.Context(), event); err != nil || got.Throttle.Burst == 7 {
		t.Errorf("the room was changed: %+v, %v", got.Settings, err)
	}
	// What PATCH knows goes on as it was.
	s.do(http.MethodPut, path, `{"name":"By name","doors_at":null}`, asOperator).ok(200, &r)
	if r.Name != "By name" {
		t.Errorf("%+v", r)
	}
}

// TestPricesOfTiers change by the rules of the document.
func TestPricesOfTiers(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	tier := func(event, name string) string {
		return query[string](s, `select id::text from price_tiers where event_id = $1 and name = $2`, event, name)
	}
	patch := func(event, name, body string) reply {
		t.Helper()
		return s.do(http.MethodPatch, "/v1/admin/events/"+event+"/tiers/"+tier(event, name), body, asOperator)
	}
	patch(s.event, "Stalls", `{"amount":1}`).refused(409, "conflict")
	var got struct {
		Name, Color string
		Price       catalog.Money
		Changes     []catalog.Difference
	}
	patch(s.event, "Stalls", `{"name":"Front"}`).ok(200, &got)
	if got.Name != "Front" || got.Price.Amount != 4500 || !slices.Equal(paths(got.Changes), []string{`prices.Stalls.name: "Stalls" -> "Front"`}) {
		t.Errorf("%+v", got)
	}
	draft := s.newEvent("Tiers", "draft")
	patch(draft, "Floor", `{"amount":1100,"color":"#010203"}`).ok(200, &got)
	if got.Color != "#010203" || got.Price.Amount != 1100 {
		t.Errorf("%+v", got)
	}
	if n := query[int](s, `select count(*) from tickets t join price_tiers p on p.id = t.tier_id where t.event_id = $1 and p.name = 'Floor' and t.price_amount = 1100`, draft); n != 20 {
		t.Errorf("%d tickets have the price", n)
	}
	patch(draft, "Floor", `{"name":"Pit"}`).refused(400, "invalid-request")
	patch(draft, "Stalls", `{"color":"#010203"}`).refused(400, "invalid-request")
	if doc := s.documentOf(draft); doc["areas"].([]any)[0].(map[string]any)["price"] != 1100.0 {
		t.Errorf("the document says %v", doc["areas"])
	}
}

// TestDraftsAreNobodysBusiness: nothing public knows of them, and all of it does once
// they are published.
func TestDraftsAreNobodysBusiness(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.newEvent("Zyzzyva unveiled", "draft")
	var ticket, version string
	ticket = query[string](s, `select id::text from tickets where event_id = $1 and ordinal = 0`, event)
	version = query[string](s, `select plan_view ->> 'version' from events where id = $1`, event)
	get := []string{
		"/v1/events/" + event, "/v1/events/" + event + "/tickets", "/v1/events/" + event + "/plan", "/v1/events/" + event + "/plan/" + version,
		"/v1/events/" + event + "/availability", "/v1/events/" + event + "/event.ics", "/event/" + event, "/events/" + event, "/queue/" + event,
		"/v1/rooms/" + event + "/check", "/v1/rooms/" + event + "/draw", "/v1/rooms/" + event + "/enter",
	}
	for _, path := range get {
		if got := s.get(path); got.status != 404 {
			t.Errorf("%s: %d %.200s", path, got.status, got.body)
		}
	}
	s.post("/v1/rooms/"+event+"/join", "{}").refused(404, "not-found")
	for _, path := range []string{"/v1/rooms/" + event + "/ws?join=1", "/v1/rooms/" + event + "/ws", "/v1/events/" + event + "/live"} {
		d := websocket.Dialer{HandshakeTimeout: time.Minute}
		conn, answer, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(s.url, "http")+path, nil)
		if err == nil {
			must(t, conn.Close())
			t.Errorf("%s is open", path)
		} else if answer == nil || answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %v, %v", path, err, answer)
		}
	}
	if got := s.post("/reserve_ticket/", `{"ticket_id":"`+ticket+`"}`); got.status < 400 || strings.Contains(string(got.body), "draft") {
		t.Errorf("the original path: %d %s", got.status, got.body)
	}
	lists := []string{
		"/v1/events", "/v1/events?q=zyzzyva", "/v1/events?name=yzzy", "/v1/events?sort=name", "/v1/events.ics", "/event/search?name=zyzzyva", "/sitemap.xml", "/",
	}
	named := func() (list []string) {
		for _, path := range lists {
			got := s.get(path)
			got.ok(200, nil)
			if strings.Contains(string(got.body), event) {
				list = append(list, path)
			}
		}
		return list
	}
	if seen := named(); len(seen) > 0 {
		t.Errorf("the draft stands in %v", seen)
	}
	if got := s.get("/v1/admin/events?name=zyzzyva", asOperator); !strings.Contains(string(got.body), event) {
		t.Errorf("operators see %s", got.body)
	}

	s.post("/v1/admin/events/"+event+"/publish", "", asOperator).ok(200, nil)
	for _, path := range get[:9] {
		s.get(path).ok(200, nil)
	}
	s.join(event)
	lists = slices.DeleteFunc(lists, func(path string) bool { return path == "/sitemap.xml" }) // of some minutes ago
	eventually(t, "the event stands in all lists", named, func(seen []string) bool { return len(seen) == len(lists) })
}

// TestVenuesAndArtists are kept by themselves, and events are found by what they are
// called now.
func TestVenuesAndArtists(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	for _, kind := range []struct{ path, create, other, rename, list, find string }{
		{"/v1/admin/venues", `{"name":"Ångström hall","city":"Umeå","country":"SE","timezone":"Europe/Stockholm"}`, `{"name":"The mill","city":"Köln"}`, `{"name":"Windmill"}`, "venues", "windmill"},
		{"/v1/admin/artists", `{"name":"Åsa","url":"https://asa.example"}`, `{"name":"Mill Trio"}`, `{"name":"Quartet of the gale"}`, "artists", "gale"},
	} {
		var made struct {
			ID, Name, City, Timezone, URL string
			Events                        int
			Notes                         []string
		}
		s.post(kind.path, kind.create, asOperator).ok(201, &made)
		s.post(kind.path, kind.create, asOperator).refused(409, "conflict")
		s.post(kind.path, kind.other, asOperator).refused(409, "conflict")
		var again struct{ ID, Name string }
		s.get(kind.path+"/"+made.ID, asOperator).ok(200, &again)
		if again.ID != made.ID || again.Name != made.Name || made.Events != 0 {
			t.Errorf("%s: %+v, %+v", kind.path, made, again)
		}
		// One at a time, by name, whatever is between.
		var names []string
		for cursor := ""; ; {
			var page map[string]json.RawMessage
			s.get(kind.path+"?limit=1&cursor="+cursor, asOperator).ok(200, &page)
			var entries []struct{ ID, Name string }
			must(t, json.Unmarshal(page[kind.list], &entries))
			var next *string
			must(t, json.Unmarshal(page["next_cursor"], &next))
			for _, e := range entries {
				names = append(names, e.Name)
			}
			if next == nil {
				break
			}
			cursor = *next
		}
		if len(names) != 2 || !slices.IsSorted(names) {
			t.Errorf("%s lists %v", kind.path, names)
		}
		used := query[string](s, fmt.Sprintf(`select id::text from %s where name in ('The mill', 'Mill Trio')`, kind.list))
		s.do(http.MethodPatch, kind.path+"/"+made.ID, kind.other, asOperator).refused(409, "conflict")
		s.do(http.MethodPatch, kind.path+"/"+made.ID, kind.create, asOperator).ok(200, nil) // as it is called
		// What was refused is not noted: one was created, one changed.
		if n := query[int](s, `select count(*) from audit_log where action like $1`, strings.TrimSuffix(kind.list, "s")+".%"); n != 2 {
			t.Errorf("%s: the audit log has %d entries", kind.path, n)
		}
		if p := s.do(http.MethodDelete, kind.path+"/"+used, "", asOperator).refused(409, "conflict"); !strings.Contains(p.Detail, "1 events") {
			t.Errorf("%+v", p)
		}
		s.do(http.MethodPatch, kind.path+"/"+used, kind.rename, asOperator).ok(200, &made)
		if made.Events != 1 {
			t.Errorf("%+v", made)
		}
		var found struct{ Events []struct{ ID string } }
		s.get("/v1/events?q="+kind.find).ok(200, &found)
		if len(found.Events) != 1 || found.Events[0].ID != s.event {
			t.Errorf("%s: by its new name are found %+v", kind.path, found.Events)
		}
		if got := s.get("/v1/events/" + s.event); !strings.Contains(strings.ToLower(string(got.body)), kind.find) {
			t.Errorf("%s: the event has %s", kind.path, got.body)
		}
		free := query[string](s, fmt.Sprintf(`select id::text from %s where name like 'Å%%'`, kind.list))
		s.do(http.MethodDelete, kind.path+"/"+free, "", asOperator).ok(204, nil)
		s.get(kind.path+"/"+free, asOperator).refused(404, "not-found")
		s.do(http.MethodDelete, kind.path+"/"+free, "", asOperator).refused(404, "not-found")
	}

	// Another time zone leaves the event at its instant.
	venue := query[string](s, `select venue_id::text from events where id = $1`, s.event)
	var moved struct{ Notes []string }
	s.do(http.MethodPatch, "/v1/admin/venues/"+venue, `{"timezone":"America/New_York"}`, asOperator).ok(200, &moved)
	var e struct {
		StartsAt, Timezone string
		Starts             string `json:"starts_at"`
	}
	s.get("/v1/events/"+s.event).ok(200, &e)
	if len(moved.Notes) != 1 || e.Starts != "2031-05-01T19:00:00Z" || e.Timezone != "America/New_York" {
		t.Errorf("%+v, %+v", moved, e)
	}
}

const smallPlan = `{"name":"Hall","categories":[{"name":"A"}],"size":{"width":100,"height":100},"zones":[{"name":"Z","position":{"x":0,"y":0},
  "rows":[{"row_number":"1","position":{"x":0,"y":0},"seats":[
    {"seat_number":"1","seat_guid":"a","position":{"x":0,"y":0},"category":"A"},{"seat_number":"%s","seat_guid":"b","position":{"x":28,"y":0},"category":"A"}]}]}]}`

// TestPlansAreImportedOverHTTP, in versions, and one that is in use stays as it is.
func TestPlansAreImportedOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	csv := header("Content-Type", "text/csv; charset=utf-8")
	type plan struct {
		ID, Name, Version     string
		Number, Seats, Events int
		IsNew                 bool `json:"is_new"`
		Document              struct{ Name string }
	}
	var first, same, second, table plan
	s.post("/v1/admin/plans", fmt.Sprintf(smallPlan, "2"), asOperator).ok(201, &first)
	s.post("/v1/admin/plans", fmt.Sprintf(smallPlan, "2"), asOperator).ok(200, &same)
	s.post("/v1/admin/plans", fmt.Sprintf(smallPlan, "3"), asOperator).ok(201, &second)
	s.post("/v1/admin/plans?name=Table", "section,row,seat\nS,1,1\nS,1,2\nS,1,3\n", asOperator, csv).ok(201, &table)
	if !first.IsNew || same.IsNew || same.ID != first.ID || first.Number != 1 || second.Number != 2 || second.Name != "Hall" || table.Name != "Table" || table.Seats != 3 {
		t.Errorf("%+v %+v %+v %+v", first, same, second, table)
	}
	// All problems at once, each with its place.
	for body, named := range map[string][]string{
		"section,row,seat\nS,7,8\nT,7,8\nS,7,8\nS,,\n": {"line 4", "line 5"},
		"\xff": {"UTF-8"},
		"":     {"line 1"},
	} {
		p := s.post("/v1/admin/plans", body, asOperator, csv)
		p.refused(400, "invalid-request")
		for _, n := range named {
			if !strings.Contains(string(p.body), n) {
				t.Errorf("%q: %q is not named: %s", body, n, p.body)
			}
		}
	}
	if p := s.post("/v1/admin/plans", fmt.Sprintf(smallPlan, "1"), asOperator); !strings.Contains(string(p.body), "problems") {
		t.Errorf("%d %s", p.status, p.body)
	}
	s.post("/v1/admin/plans?name=x", fmt.Sprintf(smallPlan, "2"), asOperator).refused(400, "invalid-request")
	s.post("/v1/admin/plans", strings.Repeat(" ", 33<<20), asOperator).refused(413, "too-large")

	var whole plan
	s.get("/v1/admin/plans/"+second.ID, asOperator).ok(200, &whole)
	if whole.Document.Name != "Hall" || whole.Version != second.Version {
		t.Errorf("%+v", whole)
	}
	var list struct{ Plans []plan }
	s.get("/v1/admin/plans?q=HAL", asOperator).ok(200, &list)
	if len(list.Plans) != 2 || list.Plans[0].ID != first.ID || list.Plans[1].Number != 2 {
		t.Errorf("%+v", list)
	}

	used := query[string](s, `select plan_id::text from events where id = $1`, s.event)
	if p := s.do(http.MethodDelete, "/v1/admin/plans/"+used, "", asOperator).refused(409, "conflict"); !strings.Contains(p.Detail, "1 events") {
		t.Errorf("%+v", p)
	}
	for _, sql := range []string{
		`delete from plans where id = $1`, `update plans set document = '{}' where id = $1`, `update plans set version = 'x' where id = $1`, `update plans set seats = 1 where id = $1`,
	} {
		if _, err := s.db.Exec(t.Context(), sql, used); err == nil {
			t.Errorf("%s: done", sql)
		}
	}
	s.do(http.MethodDelete, "/v1/admin/plans/"+table.ID, "", asOperator).ok(204, nil)
	s.get("/v1/admin/plans/"+table.ID, asOperator).refused(404, string(fault.NotFound))
}
