package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// API is the program's public API as an operator uses it.
type API struct {
	base   *url.URL
	token  string // of an operator
	client *http.Client
}

// NewAPI makes a client of the program at base.
func NewAPI(base *url.URL, adminToken string) *API {
	return &API{base: base, token: adminToken, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}}
}

func (a *API) close() { a.client.CloseIdleConnections() }

// host is where the program listens.
func (a *API) host() string {
	if a.base.Port() == "" {
		return net.JoinHostPort(a.base.Hostname(), "80")
	}
	return a.base.Host
}

// refusal is an answer other than success.
type refusal struct {
	Status int
	Code   string // last segment of the problem's type
	Detail string
	After  time.Duration // of Retry-After
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the program answered %d %s: %s", r.Status, r.Code, r.Detail)
}

// call sends a request as an operator and decodes the answer. in may be nil,
// out too.
func (a *API) call(ctx context.Context, method, path string, in, out any) error {
	return exchange(ctx, a.client, method, a.base.String()+path, http.Header{"Authorization": {"Bearer " + a.token}}, in, out)
}

// exchange sends a JSON request and decodes the JSON answer; what is no success
// is a *refusal.
func exchange(ctx context.Context, client *http.Client, method, address string, header http.Header, in, out any) error {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return err
	}
	maps.Copy(request.Header, header)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	const most = 64 << 20
	answer, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return refused(response, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("answer to %s %s: %w", method, request.URL.Path, err)
	}
	return nil
}

func refused(response *http.Response, answer []byte) *refusal {
	r := &refusal{Status: response.StatusCode}
	var problem struct{ Type, Detail string }
	if json.Unmarshal(answer, &problem) == nil {
		r.Detail = problem.Detail
		if u, err := url.Parse(problem.Type); err == nil && u.Path != "" {
			r.Code = lastSegment(u.Path)
		}
	}
	if wait, err := time.ParseDuration(response.Header.Get("Retry-After") + "s"); err == nil && wait > 0 {
		r.After = wait
	}
	return r
}

func lastSegment(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}

// awaitReady waits until the program says that it can serve.
func (a *API) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	var err error
	return poll(ctx, 50*time.Millisecond, func() bool {
		err = a.call(ctx, http.MethodGet, "/readyz", nil, nil)
		return err == nil
	}, func() error { return fmt.Errorf("the program is not ready: %w", err) })
}

// poll calls done until it is true. When ctx ends first, it returns what late says.
func poll(ctx context.Context, every time.Duration, done func() bool, late func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return late()
		case <-tick.C:
		}
	}
	return nil
}

// Room is a waiting room as operators see it.
type Room struct {
	State    string    `json:"state"`
	Reason   string    `json:"reason"` // why the line stands still; "" when it moves
	Throttle Throttle  `json:"throttle"`
	Waiting  int       `json:"waiting"`
	Ready    int       `json:"ready"`
	Shopping int       `json:"shopping"`
	Joined   int64     `json:"joined_total"`
	Admitted int64     `json:"admitted_total"`
	Tickets  *Stock    `json:"tickets"`
	AsOf     time.Time `json:"as_of"`
}

// Throttle is how fast a room lets people in.
type Throttle struct {
	RatePerMinute int `json:"rate_per_minute"`
	Burst         int `json:"burst"`
	MaxShoppers   int `json:"max_shoppers"`
	LeaseS        int `json:"lease_s"`
	ClaimWindowS  int `json:"claim_window_s"`
}

// Stock counts an event's tickets.
type Stock struct {
	Total     int `json:"total"`
	Available int `json:"available"`
	Held      int `json:"held"`
	Sold      int `json:"sold"`
}

func (a *API) room(ctx context.Context, event string) (Room, error) {
	var r Room
	return r, a.call(ctx, http.MethodGet, "/v1/admin/rooms/"+event, nil, &r)
}

// event is the part of an event that the bench looks at.
type event struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Tickets *Stock `json:"tickets"`
}

func (a *API) event(ctx context.Context, id string) (event, error) {
	var e event
	return e, a.call(ctx, http.MethodGet, "/v1/events/"+id, nil, &e)
}

// object is a JSON object.
type object map[string]any

// house is what an event that is created has to sell.
type house struct {
	seats       int
	perRow      int // at most; 0: 25
	maxPerBuyer int // 0: six
}

// document writes the event with these seats, in rows.
func (h house) document(throttle Throttle) object {
	perRow, maxPerBuyer := cmp.Or(h.perRow, 25), cmp.Or(h.maxPerBuyer, 6)
	sections := make([]object, 0, 4)
	section := func(name string, rows, width int) {
		if rows > 0 && width > 0 {
			sections = append(sections, object{"name": name, "rows": rows, "seats_per_row": width, "category": name})
		}
	}
	rows := h.seats / perRow
	const mostRows = 1000 // of a section
	for stalls, n := (rows+1)/2, 0; stalls > 0; n++ {
		section(numbered("Stalls", n), min(stalls, mostRows), perRow)
		stalls -= mostRows
	}
	for balcony, n := rows/2, 0; balcony > 0; n++ {
		section(numbered("Balcony", n), min(balcony, mostRows), perRow)
		balcony -= mostRows
	}
	section("Gallery", 1, h.seats%perRow)
	prices := object{}
	for i, s := range sections {
		prices[s["name"].(string)] = object{"amount": max(7500-1500*i, 1500)}
	}
	return object{
		"name": "Bench " + time.Now().UTC().Format("2006-01-02 15:04:05.000000"), "type": "concert",
		"starts_at": time.Now().AddDate(0, 6, 0).UTC().Format(time.RFC3339), "timezone": "Europe/Berlin",
		"venue":   object{"name": "Bench Hall", "address": "1 Loopback Lane", "city": "Localhost", "country": "DE"},
		"artists": []string{"The Percentiles", "Median Absolute Deviation"}, "currency": "EUR", "max_per_buyer": maxPerBuyer,
		"generate": object{"kind": "rows", "sections": sections}, "prices": prices,
		"room": object{
			"state": "open", "rate_per_minute": throttle.RatePerMinute, "burst": throttle.Burst, "max_shoppers": throttle.MaxShoppers,
			"lease_s": throttle.LeaseS, "claim_window_s": throttle.ClaimWindowS,
		},
	}
}

// numbered names the nth section of a kind, from zero.
func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	return name + " " + strconv.Itoa(n+1)
}

// createEvent puts an event on sale whose seats stand in rows of at most 25 and
// of which a buyer may have six.
func (a *API) createEvent(ctx context.Context, seats int, throttle Throttle) (event, error) {
	return a.createHouse(ctx, house{seats: seats}, throttle)
}

// createHouse puts an event on sale.
func (a *API) createHouse(ctx context.Context, h house, throttle Throttle) (event, error) {
	var e event
	if err := a.call(ctx, http.MethodPost, "/v1/admin/events", h.document(throttle), &e); err != nil {
		return e, fmt.Errorf("create an event: %w", err)
	}
	return e, a.onSale(ctx, e.ID, h.seats)
}

// onSale waits until so many tickets of an event can be had, and its room is
// there: both follow on their own.
func (a *API) onSale(ctx context.Context, id string, available int) error {
	wait, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	var err error
	return poll(wait, 50*time.Millisecond, func() bool {
		var now event
		if now, err = a.event(wait, id); err != nil || now.Tickets == nil || now.Tickets.Available != available {
			return false
		}
		_, err = a.room(wait, id)
		return err == nil
	}, func() error {
		return fmt.Errorf("the event is not on sale: %w", errOr(err, "its tickets are not available"))
	})
}
