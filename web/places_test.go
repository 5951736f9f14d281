package web_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/net/html"

	"onsale/catalog"
	"onsale/web"
)

// placesEvent has one row of six seats of one price: the first is accessible, the
// second for a companion, the third has a restricted view.
func placesEvent(name, images string) string {
	marks := []string{"accessible", "companion", "restricted_view", "", "", "aisle"}
	seats := make([]string, len(marks))
	for i, mark := range marks {
		list := "[]"
		if mark != "" {
			list = `["` + mark + `"]`
		}
		seats[i] = fmt.Sprintf(`{"seat_guid": "%d", "seat_number": "%d", "category": "A", "position": {"x": %d, "y": 0}, "attributes": %s}`, i+1, i+1, 25*i, list)
	}
	return fmt.Sprintf(`{"name": %q, "starts_at": "2031-05-01T19:00:00Z", "venue": {"name": "The mill", "city": "Köln", "country": "DE"},
	  "currency": "EUR", "max_per_buyer": 4, "single_seats": "allow", "prices": {"A": {"amount": 2000}}, "images": [%s],
	  "sections": {"Stalls": {"entrance": "Door B"}},
	  "plan": {"name": "Row", "categories": [{"name": "A"}], "size": {"width": 300, "height": 100},
	    "zones": [{"name": "Stalls", "entrance": "Door A", "position": {"x": 50, "y": 50}, "rows": [{"row_number": "1", "seats": [%s]}]}]},
	  "room": {"state": "open", "rate_per_minute": 60000, "burst": 1000, "max_shoppers": 2000}}`, name, images, strings.Join(seats, ","))
}

func (s *stage) newPlaces(name, images string) (event string, notices []catalog.Notice) {
	s.t.Helper()
	var made struct {
		ID      string
		Notices []catalog.Notice
	}
	s.post("/v1/admin/events", placesEvent(name, images), asOperator).ok(201, &made)
	must(s.t, s.rooms.ShopOK(s.t.Context(), made.ID, -1, -1, 0))
	return made.ID, made.Notices
}

func seatsOf(tickets []catalog.Ticket) (names []string) {
	for _, ticket := range tickets {
		names = append(names, ticket.Seat)
	}
	return names
}

// TestAccessibleSeatsAreKept: whoever does not ask for them never gets them, also
// where they have the price of all others.
func TestAccessibleSeatsAreKept(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event, _ := s.newPlaces("Row", "")
	holds := "/v1/events/" + event + "/holds"
	var h hold
	first := s.admitted(event)
	s.post(holds, `{"best_available":{"quantity":4}}`, bearing(first.Pass)).ok(201, &h)
	if got := seatsOf(h.Tickets); !slices.Equal(got, []string{"3", "4", "5", "6"}) {
		t.Errorf("the best four seats are %v", got)
	}
	if p := s.post(holds, `{"best_available":{"quantity":1}}`, bearing(s.admitted(event).Pass)).refused(409, "sold-out"); p.Status != 409 {
		t.Errorf("the fifth seat: %+v", p)
	}
	needs := s.admitted(event)
	s.post(holds, `{"best_available":{"quantity":2,"accessible":true}}`, bearing(needs.Pass)).ok(201, &h)
	if got := seatsOf(h.Tickets); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("an accessible seat and one beside it are %v", got)
	}
	if h.Tickets[0].Attributes != catalog.Accessible || h.Tickets[1].Attributes != catalog.Companion || h.Tickets[0].Entrance != "Door B" {
		t.Errorf("the hold says %+v", h.Tickets)
	}
}

func TestPlacesOnTickets(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event, _ := s.newPlaces("Marked", "")
	m := s.admitted(event)
	var h hold
	s.post("/v1/events/"+event+"/holds", `{"ordinals":[2,3]}`, bearing(m.Pass)).ok(201, &h)
	o := s.paid(s.ordered(m.Pass, h), "tok_ok")
	eventually(t, "fulfilled", func() order { return s.orderNow(o) }, func(o order) bool { return o.Status == "fulfilled" })

	type place struct {
		Seat, Entrance string
		Attributes     catalog.Attributes
		Admission      string
		Link           string
	}
	check := func(where string, got []place) {
		t.Helper()
		if len(got) != 2 || got[0].Attributes != catalog.RestrictedView || got[1].Attributes != 0 || got[0].Entrance != "Door B" || got[1].Entrance != "Door B" {
			t.Errorf("%s says %+v", where, got)
		}
	}
	var list struct{ Tickets []place }
	s.get("/v1/orders/"+o.Order+"/tickets", bearing(o.Token)).ok(200, &list)
	check("the list of tickets", list.Tickets)
	var items struct{ Items []place }
	s.get("/v1/orders/"+o.Order, bearing(o.Token)).ok(200, &items)
	check("the order", items.Items)
	var one place
	s.get("/v1/admissions/"+list.Tickets[0].Admission, bearing(fragment(t, list.Tickets[0].Link))).ok(200, &one)
	check("the ticket", []place{one, list.Tickets[1]})

	// The door is told, one by one, in a batch, and in the list for scanners.
	var codes struct{ Tickets []struct{ Code string } }
	s.get("/v1/orders/"+o.Order+"/tickets", bearing(o.Token)).ok(200, &codes)
	type scan struct{ Ticket place }
	var first, second scan
	s.post("/v1/admin/scan", fmt.Sprintf(`{"code":%q}`, codes.Tickets[0].Code), asOperator).ok(200, &first)
	s.post("/v1/admin/scan", fmt.Sprintf(`{"code":%q}`, codes.Tickets[1].Code), asOperator).ok(200, &second)
	check("the scan", []place{first.Ticket, second.Ticket})
	var batch struct{ Results []scan }
	now := time.Now().UTC().Format(time.RFC3339)
	s.post("/v1/admin/scan/batch", fmt.Sprintf(`{"scans":[{"id":"1","code":%q,"scanned_at":%q},{"id":"2","code":%q,"scanned_at":%[2]q}]}`,
		codes.Tickets[0].Code, now, codes.Tickets[1].Code), asOperator).ok(200, &batch)
	check("the batch", []place{batch.Results[0].Ticket, batch.Results[1].Ticket})
	offline := func() (places []place, tag string) {
		var scans struct{ Admissions []place }
		tag = s.get("/v1/admin/events/"+event+"/scanlist", asOperator).ok(200, &scans).header.Get("ETag")
		slices.SortFunc(scans.Admissions, func(a, b place) int { return strings.Compare(a.Seat, b.Seat) })
		return scans.Admissions, tag
	}
	listed, tag := offline()
	check("the list for scanners", listed)
	rows, err := csv.NewReader(bytes.NewReader(s.get("/v1/admin/events/"+event+"/scanlist?format=csv", asOperator).ok(200, nil).body)).ReadAll()
	must(t, err)
	slices.SortFunc(rows[1:], func(a, b []string) int { return strings.Compare(a[5], b[5]) })
	if len(rows) != 3 || !slices.Equal(rows[0][10:], []string{"scanned_at", "attributes", "entrance"}) ||
		!slices.Equal(rows[1][11:], []string{"restricted_view", "Door B"}) || !slices.Equal(rows[2][11:], []string{"", "Door B"}) {
		t.Errorf("the list for scanners as CSV is %v", rows)
	}
	// Another entrance is another list: who has the one of before is not told that it is current.
	s.do("PUT", "/v1/admin/events/"+event, strings.Replace(placesEvent("Marked", ""), `"entrance": "Door B"`, `"entrance": "Door C"`, 1), asOperator).ok(200, nil)
	s.get("/v1/admin/events/"+event+"/scanlist", asOperator, header("If-None-Match", tag)).ok(200, nil)
	if listed, _ = offline(); listed[0].Entrance != "Door C" {
		t.Errorf("after the change the list says %+v", listed)
	}

	var page struct{ Tickets []place }
	s.get("/v1/events/"+event+"/tickets?attribute=restricted_view").ok(200, &page)
	if len(page.Tickets) != 1 || page.Tickets[0].Seat != "3" {
		t.Errorf("seats with a restricted view are %+v", page.Tickets)
	}
	s.get("/event/"+event+"?attribute=companion").ok(200, &page)
	if len(page.Tickets) != 1 || page.Tickets[0].Seat != "2" {
		t.Errorf("by the original path, companions' seats are %+v", page.Tickets)
	}
}

// TestPicturesOfEvents: what machines read has all of them, pages have those that
// the policy allows.
func TestPicturesOfEvents(t *testing.T) {
	t.Parallel()
	pictures := httptest.NewServer(http.NotFoundHandler()) // only its address matters
	t.Cleanup(pictures.Close)
	images := strings.ReplaceAll(`{"url": "ORIGIN/large.png", "alt": "A \"mill\" <b>", "width": 1600, "height": 900},
	  {"url": "ORIGIN/small.png", "alt": "A \"mill\" <b>", "width": 800, "height": 450},
	  {"url": "https://elsewhere.example/x.png", "alt": "Elsewhere", "width": 10, "height": 10}`, "ORIGIN", pictures.URL)
	for _, allowed := range []bool{false, true} {
		s := newStage(t, stageOptions{deps: func(d *web.Deps) {
			if allowed {
				d.EventDefaults.ImageOrigins = []string{pictures.URL}
			}
		}})
		event, notices := s.newPlaces("Seen", images)
		if want := 2; allowed && len(notices) != 1 || !allowed && len(notices) != want {
			t.Errorf("allowed %t: notices %v", allowed, notices)
		}
		var view struct{ Images []catalog.Image }
		s.get("/v1/events/"+event).ok(200, &view)
		if len(view.Images) != 3 || view.Images[0].URL != pictures.URL+"/large.png" || view.Images[0].Width != 1600 {
			t.Errorf("the event has %+v", view.Images)
		}
		for _, path := range []string{"/events/" + event, "/"} {
			page := s.get(path).ok(200, nil)
			policy, images := page.header.Get("Content-Security-Policy"), ""
			for directive := range strings.SplitSeq(policy, "; ") {
				if of, ok := strings.CutPrefix(directive, "img-src "); ok {
					images = of
				}
			}
			if want := map[bool]string{false: "'self' data:", true: "'self' data: " + pictures.URL}[allowed]; images != want {
				t.Errorf("%s: pictures come from %s", path, images)
			}
			img := imagesIn(t, page.body)
			if !allowed {
				if len(img) != 0 {
					t.Errorf("%s shows %v", path, img)
				}
				continue
			}
			if len(img) != 1 || img[0]["src"] != pictures.URL+"/large.png" || img[0]["alt"] != `A "mill" <b>` || img[0]["width"] != "1600" || img[0]["height"] != "900" ||
				img[0]["srcset"] != pictures.URL+"/small.png 800w, "+pictures.URL+"/large.png 1600w" || img[0]["sizes"] == "" {
				t.Errorf("%s shows %v", path, img)
			}
		}
		if policy := s.get("/console").ok(200, nil).header.Get("Content-Security-Policy"); strings.Contains(policy, pictures.URL) {
			t.Errorf("the console takes pictures from elsewhere: %s", policy)
		}
		meta, ld := machineImages(t, s.get("/events/"+event).ok(200, nil).body)
		if meta["og:image"] != pictures.URL+"/large.png" || meta["og:image:width"] != "1600" || meta["og:image:height"] != "900" || meta["og:image:alt"] != `A "mill" <b>` {
			t.Errorf("previews of links get %v", meta)
		}
		if len(ld) != 3 || ld[2] != "https://elsewhere.example/x.png" {
			t.Errorf("search engines get %v", ld)
		}

		s.do("PATCH", "/v1/admin/events/"+event, `{"images":[]}`, asOperator).ok(200, nil)
		eventually(t, "no pictures", func() []catalog.Image {
			s.get("/v1/events/"+event).ok(200, &view)
			return view.Images
		}, func(list []catalog.Image) bool { return len(list) == 0 })
		s.do("PATCH", "/v1/admin/events/"+event, `{"images":[{"url":"http://elsewhere.example/x.png","alt":"","width":0,"height":1}]}`, asOperator).refused(400, "invalid-request")
	}
}

// TestDemoPosters: the program has the pictures that its demo is shown with.
func TestDemoPosters(t *testing.T) {
	t.Parallel()
	events, err := catalog.Demo(time.Now(), "https://tickets.example")
	must(t, err)
	s := newStage(t, stageOptions{deps: func(d *web.Deps) {
		d.UI = fstest.MapFS{"assets/posters/a.svg": {Data: []byte("<svg/>")}, "assets/a-1b2c.svg": {Data: []byte("<svg/>")}}
	}})
	for path, want := range map[string]string{"/assets/posters/a.svg": "public, max-age=3600", "/assets/a-1b2c.svg": "public, max-age=31536000, immutable"} {
		h := s.get(path).ok(200, nil).header
		if h.Get("Cache-Control") != want || h.Get("Content-Type") != "image/svg+xml" {
			t.Errorf("%s is sent with %v", path, h)
		}
	}
	for _, e := range events {
		name, ok := strings.CutPrefix(e.Images[0].URL, "https://tickets.example/assets/posters/")
		doc, err := os.ReadFile(filepath.Join("ui", "posters", name))
		if !ok || err != nil {
			t.Errorf("%s is shown by %s: %v", e.Name, e.Images[0].URL, err)
			continue
		}
		if sides := fmt.Sprintf(`width="%d" height="%d"`, e.Images[0].Width, e.Images[0].Height); !bytes.Contains(doc, []byte(sides)) {
			t.Errorf("%s does not have the sides %s", name, sides)
		}
		for _, word := range []string{"<script", "http:", "https:", "onload", "foreignObject"} {
			if rest := bytes.ReplaceAll(doc, []byte("http://www.w3.org/2000/svg"), nil); bytes.Contains(rest, []byte(word)) {
				t.Errorf("%s has %s", name, word)
			}
		}
	}
}

func imagesIn(t *testing.T, page []byte) (all []map[string]string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(string(page)))
	must(t, err)
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "img" {
			attr := make(map[string]string)
			for _, a := range n.Attr {
				attr[a.Key] = a.Val
			}
			all = append(all, attr)
		}
	}
	return all
}

func machineImages(t *testing.T, page []byte) (meta map[string]string, ld []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(string(page)))
	must(t, err)
	meta = make(map[string]string)
	for n := range root.Descendants() {
		attr := make(map[string]string)
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		if n.Data == "meta" {
			meta[attr["property"]] = attr["content"]
		}
		if n.Data == "script" && attr["type"] == "application/ld+json" {
			var doc struct{ Image []string }
			must(t, json.Unmarshal([]byte(n.FirstChild.Data), &doc))
			ld = doc.Image
		}
	}
	return meta, ld
}
