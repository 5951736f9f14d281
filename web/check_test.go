package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// returns is a server that knows only which origins are allowed.
func returns(public string, allowed ...string) *Server {
	u, _ := url.Parse(public)
	origins := map[string]bool{origin(u): true}
	for _, o := range allowed {
		origins[o] = true
	}
	return &Server{Deps: Deps{PublicURL: u}, origins: origins, returns: returnOrigins(origins)}
}

// TestReturnIsNoOpenRedirect: what is kept leads to an allowed origin, as any
// browser reads it.
func TestReturnIsNoOpenRedirect(t *testing.T) {
	t.Parallel()
	s := returns("https://tickets.example", "https://partner.example", "http://127.0.0.1:9000", "https://[::1]:8443")
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"a page", "https://partner.example/buy?x=1#top", "https://partner.example/buy?x=1#top"},
		{"a path of ours", "/events/1?a=b", "https://tickets.example/events/1?a=b"},
		{"the front page", "https://partner.example", "https://partner.example/"},
		{"a query alone", "https://partner.example?x=1", "https://partner.example/?x=1"},
		{"in capitals", "HTTPS://Partner.EXAMPLE/A", "https://partner.example/A"},
		{"the port it has anyway", "https://partner.example:443/a", "https://partner.example/a"},
		{"an empty port", "https://partner.example:/a", "https://partner.example/a"},
		{"an address and a port", "http://127.0.0.1:9000/a", "http://127.0.0.1:9000/a"},
		{"IPv6", "https://[::1]:8443/a", "https://[::1]:8443/a"},
		{"other letters", "https://partner.example/köln?q=köln", "https://partner.example/k%C3%B6ln?q=k%C3%B6ln"},
		{"a foreign address inside", "https://partner.example/?next=https://evil.example/", "https://partner.example/?next=https://evil.example/"},
		{"quotes and tags", `https://partner.example/"><script>?"><script>`, "https://partner.example/%22%3E%3Cscript%3E?%22%3E%3Cscript%3E"},
		{"an old pass", "https://partner.example/a?onsale_pass=x&b=1&onsale%5Fpass=y", "https://partner.example/a?b=1"},
		{"three slashes", "///evil.example/a", "https://tickets.example///evil.example/a"},
		{"two slashes in the path", "https://partner.example//evil.example", "https://partner.example//evil.example"},

		{"another site", "https://evil.example/", ""},
		{"without a scheme", "//evil.example/", ""},
		{"a relative path", "evil.example", ""},
		{"a script", "javascript:alert(1)", ""},
		{"a script with slashes", "javascript://partner.example/%0aalert(1)", ""},
		{"data", "data:text/html,x", ""},
		{"a backslash", `/\evil.example`, ""},
		{"two backslashes", `\\evil.example`, ""},
		{"a backslash for a slash", `https:\\evil.example`, ""},
		{"a backslash before the user", `https://evil.example\@partner.example/`, ""},
		{"one slash", "https:/evil.example", ""},
		{"no slash", "https:evil.example", ""},
		{"an empty host", "https:///evil.example/", ""},
		{"a user", "https://partner.example@evil.example/", ""},
		{"a user of ours", "https://evil.example@partner.example/", ""},
		{"an empty user", "https://@partner.example/", ""},
		{"a password", "https://partner.example:443@evil.example/", ""},
		{"a host that begins alike", "https://partner.example.evil.example/", ""},
		{"a host that ends alike", "https://evilpartner.example/", ""},
		{"a trailing dot", "https://partner.example./", ""},
		{"another port", "https://partner.example:8443/", ""},
		{"another scheme", "http://partner.example/", ""},
		{"ftp", "ftp://partner.example/", ""},
		{"a tab in the scheme", "java\tscript:alert(1)", ""},
		{"a tab between slashes", "/\t/evil.example", ""},
		{"a line in front", "\n//evil.example", ""},
		{"a space in front", " https://evil.example", ""},
		{"a header", "/a\r\nSet-Cookie: x=y", ""},
		{"NUL", "/\x00/evil.example", ""},
		{"no UTF-8", "/\xff", ""},
		{"a turned-around name", "https://partner.example/\u202emoc.live", ""},
		{"a wide slash in the host", "https://partner.example／evil.example", ""},
		{"a wide dot in the host", "https://partner。example/", ""},
		{"an escaped slash in the host", "https://partner.example%2fevil.example/", ""},
		{"a fragment for a host", "https://evil.example#@partner.example/", ""},
		{"a query for a host", "https://evil.example?@partner.example/", ""},
		{"endless", "/" + strings.Repeat("a", 3000), ""},
		{"the queue again", "/queue/1", ""},
		{"the queue in disguise", "https://tickets.example/x/../%71ueue/1", ""},
		{"the API", "https://tickets.example:443//v1/rooms/1/enter?return=/", ""},
	} {
		got := ""
		if u := s.returnTo(c.text); u != nil {
			got = u.String()
		}
		if got != c.want {
			t.Errorf("%s: %q became %q, want %q", c.name, c.text, got, c.want)
		}
	}
}

// FuzzReturn holds that whatever is kept is a plain address on an allowed origin.
func FuzzReturn(f *testing.F) {
	s := returns("https://tickets.example", "https://partner.example")
	for _, seed := range []string{"/a", "https://partner.example/a?b#c", "//evil.example", `https:\\evil.example`, "https://a@partner.example", "https://partner.example:443?onsale_pass=x", "/ö?ü#ß"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u := s.returnTo(text)
		if u == nil {
			return
		}
		got := u.String()
		if !strings.HasPrefix(got, "https://tickets.example/") && !strings.HasPrefix(got, "https://partner.example/") ||
			strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\\\"<>`", r) }) {
			t.Errorf("%q became %q", text, got)
		}
		if again := s.returnTo(got); again != nil && again.String() != got {
			t.Errorf("%q became %q, and that %q", text, got, again)
		}
		if token, _ := pass.TakeOver(u.RawQuery); token != "" {
			t.Errorf("%q still has a pass: %q", text, got)
		}
	})
}

// shopper joins, gets a turn and claims it.
func (e *entrance) shopper() (joined, shopping waitroom.Joined) {
	e.t.Helper()
	joined = e.do("POST", roomPath+"/join", "{}").me(e.t)
	e.open()
	shopping = e.do("POST", roomPath+"/claim", "", "Authorization", "Bearer "+joined.VisitorToken).me(e.t)
	if shopping.Pass == nil {
		e.t.Fatalf("claimed: %+v", shopping)
	}
	return joined, shopping
}

func TestCheckTellsTheSiteWhoComes(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	joined, shopping := e.shopper()
	cookie := passCookie + testEvent + "=" + *shopping.Pass
	for name, headers := range map[string][]string{
		"cookie":                           {"Cookie", cookie},
		"bearer":                           {"Authorization", "Bearer " + *shopping.Pass},
		"cookie beside the site's bearer":  {"Cookie", cookie, "Authorization", "Bearer theirs"},
		"cookie beside the site's basic":   {"Cookie", cookie, "Authorization", "Basic eDp5"},
		"bearer beside an old cookie":      {"Cookie", passCookie + testEvent + "=old", "Authorization", "Bearer " + *shopping.Pass},
		"headers that claim to be another": {"Cookie", cookie, "X-Onsale-Visitor", "admin"},
	} {
		for _, mode := range []string{"", "?mode=status", "?mode=redirect"} {
			a := e.do("GET", roomPath+"/check"+mode, "", append(headers, "Accept", "text/html")...)
			ends, err := time.Parse(time.RFC3339, a.Header.Get("X-Onsale-Lease-Ends"))
			if a.StatusCode != http.StatusNoContent || a.Header.Get("X-Onsale-Visitor") != joined.Visitor || err != nil || ends.Sub(*shopping.LeaseEnds).Abs() > time.Second ||
				a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Location") != "" {
				t.Errorf("%s %s: %d %v", name, mode, a.StatusCode, a.Header)
			}
		}
	}
	// An outage of the room does not lock out those it has let in.
	e.redis.SetError("LOADING")
	if a := e.do("GET", roomPath+"/check", "", "Cookie", cookie); a.StatusCode != http.StatusNoContent || a.Header.Get("X-Onsale-Visitor") != joined.Visitor {
		t.Errorf("during an outage: %d %s", a.StatusCode, a.text)
	}
	if a := e.do("GET", roomPath+"/check", ""); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("during an outage, without a pass: %d", a.StatusCode)
	}
	e.redis.SetError("")
	if a := e.do("DELETE", roomPath+"/me", "", "Authorization", "Bearer "+joined.VisitorToken); a.StatusCode != http.StatusNoContent {
		t.Fatalf("leaving: %d", a.StatusCode)
	}
	if a := e.do("GET", roomPath+"/check?mode=redirect", "", "Cookie", cookie, "Accept", "text/html"); a.StatusCode != http.StatusSeeOther || a.Header.Get("X-Onsale-Visitor") != "" {
		t.Errorf("after the turn: %d %v", a.StatusCode, a.Header)
	}
}

// TestCheckRefusesEachInItsWay: what each proxy sends for each kind of request.
func TestCheckRefusesEachInItsWay(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	queue := "http://tickets.example/queue/" + testEvent
	back := queue + "?return=https%3A%2F%2Fpartner.example%2Fbuy%3Fx%3D1"
	front := queue + "?return=https%3A%2F%2Fpartner.example%2F"
	forwarded := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "partner.example", "X-Forwarded-Uri", "/buy?x=1", "X-Forwarded-For", "203.0.113.9"}
	stranger := pass.Generate()
	now := time.Now()
	sign := func(k *pass.KeySet, event string, expires time.Time) string {
		return k.SignPass(pass.Pass{Visitor: pass.NewVisitor(), Event: event, Claimed: now.Add(-time.Minute), Expires: expires})
	}
	for _, c := range []struct {
		name     string
		mode     string
		headers  []string
		status   int
		location string
	}{
		{"nginx, a page", "", []string{"X-Original-URL", "https://partner.example/buy?x=1", "Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, 401, back},
		{"nginx, a form", "", []string{"X-Original-URL", "https://partner.example/buy?x=1", "X-Original-Method", "POST", "Accept", "text/html"}, 401, front},
		{"a page", "redirect", []string{"X-Forwarded-Method", "GET", "Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, 303, back},
		{"a page of an old browser", "redirect", []string{"X-Forwarded-Method", "GET", "Accept", "text/html,*/*"}, 303, back},
		{"a form", "redirect", []string{"X-Forwarded-Method", "POST", "Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, 303, front},
		{"an app", "redirect", []string{"X-Forwarded-Method", "GET", "Accept", "application/json"}, 401, back},
		{"a script", "redirect", []string{"X-Forwarded-Method", "GET", "Accept", "text/html", "Sec-Fetch-Mode", "cors"}, 401, back},
		{"jQuery", "redirect", []string{"Accept", "text/html, */*", "X-Requested-With", "XMLHttpRequest"}, 401, back},
		{"a WebSocket", "redirect", []string{"Accept", "text/html", "Sec-Fetch-Mode", "websocket"}, 401, back},
		{"curl", "redirect", nil, 401, back},
		{"two proxies", "redirect", []string{"X-Forwarded-Proto", "https, http", "Accept", "text/html"}, 303, queue},
		{"a foreign host", "redirect", []string{"X-Forwarded-Host", "evil.example", "Accept", "text/html"}, 303, queue},
		{"a user for a host", "redirect", []string{"X-Forwarded-Host", "partner.example@evil.example", "Accept", "text/html"}, 303, queue},
		{"a host in the path", "redirect", []string{"X-Forwarded-Uri", "@evil.example/", "Accept", "text/html"}, 303, queue},
		{"a port in the path", "redirect", []string{"X-Forwarded-Uri", ":8080@evil.example/", "Accept", "text/html"}, 303, queue},
		{"a pass of another signer", "redirect", []string{"Authorization", "Bearer " + sign(stranger, testEvent, now.Add(time.Hour)), "Accept", "text/html"}, 303, back},
		{"a pass of another event", "redirect", []string{"Authorization", "Bearer " + sign(e.keys, "0190b0a0-0000-7000-8000-000000000002", now.Add(time.Hour)), "Accept", "text/html"}, 303, back},
		{"a lapsed pass", "redirect", []string{"Authorization", "Bearer " + sign(e.keys, testEvent, now.Add(-time.Second)), "Accept", "text/html"}, 303, back},
		{"a pass of nobody in the room", "redirect", []string{"Authorization", "Bearer " + sign(e.keys, testEvent, now.Add(time.Hour)), "Accept", "text/html"}, 303, back},
		{"a pass of nobody in the room, as a cookie", "redirect", []string{"Cookie", passCookie + testEvent + "=" + sign(e.keys, testEvent, now.Add(time.Hour)), "Accept", "text/html"}, 303, back},
	} {
		headers := c.headers
		if !strings.HasPrefix(c.name, "nginx") {
			headers = append(append([]string{}, forwarded...), headers...)
		}
		query := ""
		if c.mode != "" {
			query = "?mode=" + c.mode
		}
		a := e.do("GET", roomPath+"/check"+query, "", headers...)
		if a.StatusCode != c.status || a.Header.Get("Location") != c.location || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Onsale-Visitor") != "" {
			t.Errorf("%s: %d, sent to %q, want %d and %q", c.name, a.StatusCode, a.Header.Get("Location"), c.status, c.location)
		}
		if c.status == 401 {
			var doc struct{ Queue string }
			if err := json.Unmarshal(a.text, &doc); err != nil || a.code() != string(fault.PassRequired) || doc.Queue != c.location {
				t.Errorf("%s: %v %s", c.name, err, a.text)
			}
		} else if len(a.text) > 0 {
			t.Errorf("%s: a redirect with a body: %s", c.name, a.text)
		}
	}
	if a := e.do("GET", roomPath+"/check?mode=x", ""); a.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown mode: %d", a.StatusCode)
	}
	if a := e.do("GET", "/v1/rooms/0190b0a0-0000-7000-8000-000000000002/check?mode=redirect", "", "Accept", "text/html"); a.StatusCode != http.StatusNotFound || a.Header.Get("Location") != "" {
		t.Errorf("no such room: %d %v", a.StatusCode, a.Header)
	}
}

// TestEnterHandsThePassOver to allowed sites on other hosts, and to nobody else.
func TestEnterHandsThePassOver(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	joined, shopping := e.shopper()
	waiting := e.do("POST", roomPath+"/join", "{}").me(t) // shops or waits: has claimed nothing
	mine, theirs := visitorCookie+"="+joined.VisitorToken, visitorCookie+"="+waiting.VisitorToken
	queue := "http://tickets.example/queue/" + testEvent
	for _, c := range []struct{ name, cookie, to, want string }{
		{"a partner", mine, "https://partner.example/buy?x=1#a", "https://partner.example/buy?x=1&onsale_pass=" + *shopping.Pass + "#a"},
		{"a partner, twice", mine, "https://partner.example/?onsale_pass=x", "https://partner.example/?onsale_pass=" + *shopping.Pass},
		{"a site on our host", mine, "http://tickets.example:80/buy", "http://tickets.example/buy"},
		{"another site", mine, "https://evil.example/", "http://tickets.example/events/" + testEvent},
		{"a user for a host", mine, "https://partner.example@evil.example/", "http://tickets.example/events/" + testEvent},
		{"nowhere", mine, "", "http://tickets.example/events/" + testEvent},
		{"somebody who has no turn", theirs, "https://partner.example/buy", queue + "?return=https%3A%2F%2Fpartner.example%2Fbuy"},
		{"nobody", "", "https://partner.example/buy", queue + "?return=https%3A%2F%2Fpartner.example%2Fbuy"},
		{"nobody, to another site", "", "https://evil.example/", queue},
		{"a pass is no visitor", passCookie + testEvent + "=" + *shopping.Pass, "https://partner.example/", queue + "?return=https%3A%2F%2Fpartner.example%2F"},
	} {
		a := e.do("GET", roomPath+"/enter?return="+url.QueryEscape(c.to), "", "Cookie", c.cookie, "Accept", "text/html")
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != c.want || a.Header.Get("Referrer-Policy") != "no-referrer" || a.Header.Get("Cache-Control") != "no-store" || len(a.text) > 0 {
			t.Errorf("%s: %d, sent to %q, want %q (%v)", c.name, a.StatusCode, a.Header.Get("Location"), c.want, a.Header)
		}
	}
	if a := e.do("GET", "/v1/rooms/0190b0a0-0000-7000-8000-000000000002/enter", ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("no such room: %d", a.StatusCode)
	}
}

// A way back makes no page of its own: the page leads through enter, which judges
// it. What many load in a surge is rendered and compressed once.
func TestAnyWayBackLoadsTheSamePage(t *testing.T) {
	t.Parallel()
	e := newEntrance(t, waitroom.Options{})
	e.server.UI = fstest.MapFS{
		"csp.json":      {Data: []byte(`{"queue.en.html":{}}`)},
		"queue.en.html": {Data: []byte("<title><!--onsale:title--></title><!--onsale:data-->")},
	}
	var err error
	if e.server.pages, err = loadPages(e.server.UI, nil); err != nil {
		t.Fatal(err)
	}
	plain := e.do("GET", "/queue/"+testEvent, "", "Accept", "text/html")
	for _, back := range []string{"/buy", "https://partner.example/a?b", "https://evil.example/", "javascript:alert(1)", `</script><script>alert(1)</script>`} {
		a := e.do("GET", "/queue/"+testEvent+"?return="+url.QueryEscape(back), "", "Accept", "text/html")
		if a.StatusCode != http.StatusOK || string(a.text) != string(plain.text) {
			t.Errorf("%s: %d %s", back, a.StatusCode, a.text)
		}
	}
	if n := len(e.server.pages.kept.items); n != 1 {
		t.Errorf("%d pages are kept", n)
	}
}
