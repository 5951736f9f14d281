package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Journey is a crowd of virtual visitors who all want tickets of one event.
type Journey struct {
	Options

	Visitors int
	Event    string // to be visited; "" creates one
	Seats    int    // of the created event
	Throttle Throttle
	Arrive   time.Duration // within which all visitors come
	Limit    time.Duration // of the whole journey

	// URL is a program that runs; "" starts one, with servers of its own. It must
	// be on this machine.
	URL         string
	AdminToken  string
	DatabaseURL string // of the program at URL, to be read; "" when not known
}

// Validate says what cannot be done.
func (j *Journey) Validate() error {
	positive := func(name string, n int) error {
		if n < 1 {
			return fmt.Errorf("%s must be 1 or more, not %d", name, n)
		}
		return nil
	}
	err := errors.Join(positive("visitors", j.Visitors), positive("seats", j.Seats), positive("rate", j.Throttle.RatePerMinute),
		positive("burst", j.Throttle.Burst), positive("shoppers", j.Throttle.MaxShoppers))
	if j.URL != "" {
		base, perr := url.Parse(j.URL)
		switch {
		case perr != nil || base.Host == "":
			err = errors.Join(err, fmt.Errorf("%q is not the address of a program, such as http://127.0.0.1:8080", j.URL))
		case base.Scheme != "http":
			err = errors.Join(err, fmt.Errorf("%s: the bench speaks plain HTTP only", j.URL))
		case !isLoopback(base.Hostname()):
			err = errors.Join(err, fmt.Errorf("%s is not on this machine: a crowd is sent to loopback addresses only", base.Host))
		case j.AdminToken == "":
			err = errors.Join(err, errors.New("the admin token of the running program is needed"))
		}
	}
	return errors.Join(err, fits(j.Visitors+minHTTP))
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// minHTTP is how many connections a journey needs besides the visitors'
// WebSockets.
const minHTTP = 128

// ErrBroken is returned when an invariant did not hold; the report says which.
var ErrBroken = errors.New("an invariant is broken")

// Run walks all visitors and checks what must hold. The report is there unless
// nobody could be sent on the way.
func (j *Journey) Run(ctx context.Context) (_ *JourneyReport, err error) {
	if err := j.Validate(); err != nil {
		return nil, err
	}
	if j.Progress == nil {
		j.Progress = silent{}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, j.Limit, fmt.Errorf("the journey took longer than %v", j.Limit))
	defer cancel()
	j.Progress.Begin(j.Visitors, "visitors")
	defer j.Progress.End()
	j.Progress.Stepf(0, "starting")
	api, databaseURL, closeAPI, err := j.program(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAPI()) }()
	if j.Event == "" {
		e, err := api.createEvent(ctx, j.Seats, j.Throttle)
		if err != nil {
			return nil, err
		}
		j.Event = e.ID
		if j.URL != "" {
			defer func() { err = errors.Join(err, retire(ctx, api, e.ID)) }()
		}
		return j.walk(ctx, api, databaseURL, true)
	}
	return j.walk(ctx, api, databaseURL, false)
}

// retire takes the bench's event from the list of a program that goes on.
func retire(ctx context.Context, api *API, event string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := api.call(ctx, http.MethodPatch, "/v1/admin/events/"+event, object{"status": "ended"}, nil)
	if err != nil {
		return fmt.Errorf("the event of the bench is still on sale: %w", err)
	}
	return nil
}

// program finds the running program, or starts one.
func (j *Journey) program(ctx context.Context) (api *API, databaseURL string, closeAPI func() error, err error) {
	if j.URL != "" {
		base, err := url.Parse(j.URL)
		if err != nil {
			return nil, "", nil, err
		}
		base.Path = ""
		api = NewAPI(base, j.AdminToken)
		if err := api.call(ctx, http.MethodGet, "/v1/admin/rooms", nil, nil); err != nil {
			return nil, "", nil, fmt.Errorf("%s: %w", j.URL, err)
		}
		return api, j.DatabaseURL, func() error { api.close(); return nil }, nil
	}
	servers, err := StartServers(ctx, j.Options)
	if err != nil {
		return nil, "", nil, err
	}
	node, err := servers.Serve(ctx)
	if err != nil {
		return nil, "", nil, errors.Join(err, servers.Close())
	}
	return node.API, servers.DatabaseURL(), func() error { return errors.Join(node.Close(), servers.Close()) }, nil
}

// walk sends the visitors on their way and checks what came of it.
func (j *Journey) walk(ctx context.Context, api *API, databaseURL string, own bool) (*JourneyReport, error) {
	before, err := api.room(ctx, j.Event)
	if err != nil {
		return nil, err
	}
	w := &walk{
		api: api, event: j.Event, notes: newNotes(), visitors: j.Visitors, progress: j.Progress, began: time.Now(),
		claimWindow: time.Duration(before.Throttle.ClaimWindowS) * time.Second,
	}
	if err := w.openClients(j.Visitors); err != nil {
		return nil, err
	}
	defer w.closeClients()

	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { w.watch(watching, before.Throttle) })
	var g errgroup.Group
	for n := range j.Visitors {
		g.Go(func() error {
			pause(ctx, time.Duration(rand.Int64N(int64(j.Arrive)+1)))
			w.visit(ctx, n)
			return nil
		})
	}
	_ = g.Wait() // what went wrong is in the notes
	took := time.Since(w.began)
	stopWatching()
	watch.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	report := w.report(j.Event, took)
	report.Checks, err = w.check(ctx, before, databaseURL, own)
	if err == nil && report.Broken() {
		err = ErrBroken
	}
	return report, err
}

// check holds what was seen against the program's own books, once they are
// settled.
func (w *walk) check(ctx context.Context, before Room, databaseURL string, own bool) ([]Check, error) {
	var sales []sale
	var stock Stock
	var err error
	settled, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	_ = poll(settled, 500*time.Millisecond, func() bool {
		if sales, err = w.api.sales(settled, w.event); err != nil {
			return false
		}
		var e event
		if e, err = w.api.event(settled, w.event); err != nil || e.Tickets == nil {
			return false
		}
		stock = *e.Tickets
		items := 0
		for i := range sales {
			if sales[i].Status == "paid" || sales[i].Status == "payment_unknown" {
				return false
			}
			if sales[i].sold() {
				items += len(sales[i].Items)
			}
		}
		return items == stock.Sold
	}, func() error { return nil }) // what is not settled by now is for the checks
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("check the sale: %w", err)
	}
	n := w.notes
	n.mu.Lock()
	defer n.mu.Unlock()
	checks := checkSales(n.purchases, sales, stock, own)
	checks = append(checks, checkRate("admissions within the throttle, as visitors saw them", n.admitted, before.Throttle),
		checkSlots(n.spans, before.Throttle.MaxShoppers))
	if n.throttleChanged {
		return nil, errors.New("somebody changed the throttle meanwhile: nothing can be said about it")
	}
	checks = append(checks, holds("never more shoppers than the throttle allows, as operators saw it",
		fmt.Sprintf("at most %d seen, %d allowed", n.mostShoppers, before.Throttle.MaxShoppers),
		some(exceeds(n.mostShoppers, before.Throttle.MaxShoppers))...))
	if databaseURL != "" {
		b, err := settledBooks(settled, databaseURL, w.event, before.AsOf, len(n.admitted))
		if err != nil {
			return nil, err
		}
		checks = append(checks, checkBooks(b, stock)...)
		checks = append(checks, checkLog(b.admissions, len(n.admitted)),
			checkRate("database: admissions within the throttle", b.admissions, before.Throttle))
	}
	return append(checks, checkAnswers(n.answers), checkEnds(w.visitors, n.ends, n.failures)), nil
}

// settledBooks reads the books once they know of as many admissions as visitors
// do: the log of admissions is written seconds later. When that takes too long,
// they are what they are.
func settledBooks(ctx context.Context, databaseURL, event string, since time.Time, admitted int) (b books, err error) {
	_ = poll(ctx, 500*time.Millisecond, func() bool {
		var now books
		if now, err = openBooks(context.WithoutCancel(ctx), databaseURL, event, since); err == nil {
			b = now
		}
		return err != nil || total(b.admissions) >= admitted
	}, ctx.Err)
	return b, err
}

// settlePatience is how long jobs may take to capture the last payments.
const settlePatience = time.Minute

func exceeds(n, most int) string {
	if n <= most {
		return ""
	}
	return fmt.Sprintf("%d shoppers at once, where %d are allowed", n, most)
}

// sales lists all orders of an event.
func (a *API) sales(ctx context.Context, event string) ([]sale, error) {
	var all []sale
	for cursor := ""; ; {
		var page struct {
			Orders []sale  `json:"orders"`
			Next   *string `json:"next_cursor"`
		}
		path := "/v1/admin/orders?limit=200&event=" + event + "&cursor=" + url.QueryEscape(cursor)
		if err := a.call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Orders...)
		if page.Next == nil {
			return all, nil
		}
		cursor = *page.Next
	}
}

// openClients makes HTTP clients that come from the visitors' addresses, as
// many connections each as this process has files for.
func (w *walk) openClients(visitors int) error {
	most, err := mostConnections()
	if err != nil {
		return err
	}
	sources := (visitors + perSource - 1) / perSource
	each := min(max((most-visitors)/sources, 1), perSource)
	for n := range sources {
		from := &net.Dialer{LocalAddr: source(n * perSource), Timeout: 10 * time.Second}
		w.clients = append(w.clients, &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			DialContext: from.DialContext, MaxConnsPerHost: each, MaxIdleConnsPerHost: each, IdleConnTimeout: 30 * time.Second,
		}})
	}
	return nil
}

func (w *walk) closeClients() {
	for _, client := range w.clients {
		client.CloseIdleConnections()
	}
}

// watch counts shoppers as operators see them and says how far the crowd is.
func (w *walk) watch(ctx context.Context, throttle Throttle) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		room, err := w.api.room(ctx, w.event)
		if err != nil {
			continue
		}
		w.notes.saw(room, throttle)
		sold := 0
		if room.Tickets != nil {
			sold = room.Tickets.Sold
		}
		w.progress.Stepf(0, "%d waiting, %d shopping, %d tickets sold", room.Waiting, room.Ready+room.Shopping, sold)
	}
}
