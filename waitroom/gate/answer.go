package gate

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"onsale/waitroom/pass"
)

// problemBase is what the types of onsale's problem documents start with.
const problemBase = "https://onsale.example/problems/"

// hush keeps an answer out of caches, and the address it was given at out of
// the next request.
func hush(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// redirect sends the browser on with a GET. Unlike http.Redirect it writes no
// page with the address in it and does not touch the address.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// refuse sends a browser that opens a page to the queue, and tells anything
// else where the queue is.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, err error) {
	hush(w)
	queue := g.queueFor(r)
	switch {
	case errors.Is(err, errNoKeys):
		// The queue would only send them back here.
		g.explain(w, r, http.StatusServiceUnavailable, "unavailable", "One moment, please", err.Error(), "", "")
	case opensPage(r):
		redirect(w, queue)
	default:
		g.explain(w, r, http.StatusUnauthorized, "pass-required", "A pass is needed", why(err), queue, "")
	}
}

// disagree answers somebody whom the queue sent here with a pass that is no
// good here.
func (g *Gate) disagree(w http.ResponseWriter, r *http.Request, err error, again string) {
	queue := g.queueFor(r)
	switch {
	case errors.Is(err, errNoKeys):
		g.explain(w, r, http.StatusServiceUnavailable, "unavailable", "One moment, please", err.Error(), "", "")
	case errors.Is(err, pass.ErrExpired), errors.Is(err, errTurnOver):
		g.explain(w, r, http.StatusForbidden, "pass-lapsed", "The pass has lapsed", why(err), queue, again)
	default:
		g.log.WarnContext(r.Context(), "the queue sent a visitor with a pass that does not verify", "error", err)
		g.explain(w, r, http.StatusForbidden, "forbidden", "The pass is not accepted", why(err), queue, again)
	}
}

// why says what is wrong with a pass, to a person.
func why(err error) string {
	switch {
	case errors.Is(err, pass.ErrExpired), errors.Is(err, errTurnOver):
		return "The time that this pass gave is over; join the queue again."
	case errors.Is(err, pass.ErrOtherEvent):
		return "This pass is for another event."
	case errors.Is(err, errNoPass):
		return "This site is entered through its waiting room."
	default:
		return "This is not a valid pass."
	}
}

// explain answers in the form the client can read.
func (g *Gate) explain(w http.ResponseWriter, r *http.Request, status int, code, title, detail, queue, again string) {
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="onsale"`)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "2")
	}
	if opensPage(r) {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_ = page.Execute(w, map[string]string{"Title": title, "Detail": detail, "Queue": queue, "Again": again}) // the client may be gone
		}
		return
	}
	doc := map[string]any{
		"type": problemBase + code, "title": title, "status": status, "detail": detail, "instance": r.URL.Path,
	}
	if queue != "" {
		doc["queue"] = queue
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // it is read by people, and never as HTML
	_ = enc.Encode(doc)      // the client may be gone
}

var page = template.Must(template.New("gate").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title></head><body><main><h1>{{.Title}}</h1><p>{{.Detail}}</p>
{{with .Again}}<p><a href="{{.}}">Try again</a></p>
{{end}}{{with .Queue}}<p><a href="{{.}}">Go to the queue</a></p>
{{end}}</main></body></html>
`))

// opensPage reports whether a browser wants to show the answer as a page, so
// that a redirect leads somewhere. Browsers say so since 2023; older ones at
// least accept HTML.
func opensPage(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html") && r.Header.Get("X-Requested-With") == "" && r.Header.Get("Upgrade") == ""
}
