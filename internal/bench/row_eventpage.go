package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const eventPageConnections = 64

var _ = register(Row{
	Name: "event-page", Order: 50,
	Figure:    "GET /v1/events/{id} over 64 connections, on each the same request again and again; how many are answered when no two are the same is told beside",
	Reference: "nginx serving the same bytes from a file, with as many workers as the program has processors",
	Unit:      PerSecond,
	Goal:      Goal{AtLeast: 0.70}, Stretch: Goal{AtLeast: 1},
	Prepare: prepareEventPage,
})

type eventPageTrial struct {
	servers  *Servers
	node     *Node
	nginx    *nginx
	page     *load // of the program
	changing *load // too, by requests that differ
	file     *load // of nginx
	bytes    int
	duration time.Duration
	progress Progress
	told     bool
}

func prepareEventPage(ctx context.Context, env *Env) (_ Trial, err error) {
	program, err := findNginx() // before anything takes time
	if err != nil {
		return nil, err
	}
	t := &eventPageTrial{duration: env.MeasureFor(), progress: env.Progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	if t.node, err = t.servers.Serve(ctx); err != nil {
		return nil, err
	}
	e, err := t.node.createEvent(ctx, 2010, Throttle{RatePerMinute: 600, Burst: 50, MaxShoppers: 500, LeaseS: 600, ClaimWindowS: 60})
	if err != nil {
		return nil, err
	}
	path := "/v1/events/" + e.ID
	var document json.RawMessage
	if err := t.node.call(ctx, http.MethodGet, path, nil, &document); err != nil {
		return nil, err
	}
	t.bytes = len(document)
	folder := filepath.Join(t.servers.dir, "nginx")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	if t.nginx, err = startNginx(ctx, program, folder, document); err != nil {
		return nil, err
	}
	t.page = &load{
		address: t.node.host(), connections: eventPageConnections, status: http.StatusOK,
		request: requestBytes(http.MethodGet, path, t.node.host(), nil),
	}
	t.changing = &load{address: t.node.host(), connections: eventPageConnections, status: http.StatusOK, next: named(t.page.request)}
	t.file = &load{
		address: t.nginx.address, connections: eventPageConnections, status: http.StatusOK,
		request: requestBytes(http.MethodGet, t.nginx.path, t.nginx.address, nil),
	}
	return t, nil
}

// named returns the request under another name each time.
func named(request []byte) func(connection int) []byte {
	const name = "X-Request-ID: 0000000000"
	first, rest, _ := bytes.Cut(request, []byte("\r\n"))
	at := len(first) + len("\r\n") + len(name)
	whole := slices.Concat(first, []byte("\r\n"+name+"\r\n"), rest)
	var own [eventPageConnections][]byte
	for c := range own {
		own[c] = bytes.Clone(whole)
	}
	return func(c int) []byte {
		for digit := at - 1; ; digit-- { // counts on
			if own[c][digit]++; own[c][digit] <= '9' {
				return own[c]
			}
			own[c][digit] = '0'
		}
	}
}

func (t *eventPageTrial) Measure(ctx context.Context) (float64, error) {
	if !t.told {
		t.told = true
		each, err := t.measure(ctx, t.changing)
		if err != nil {
			return 0, err
		}
		t.progress.Notef("event-page: %s when no two requests of a connection are the same", PerSecond.text(each))
	}
	return t.measure(ctx, t.page)
}

func (t *eventPageTrial) Reference(ctx context.Context) (float64, error) {
	return t.measure(ctx, t.file)
}

func (t *eventPageTrial) measure(ctx context.Context, l *load) (float64, error) {
	c, err := l.run(ctx, t.duration)
	if err == nil && c.body != t.bytes {
		err = fmt.Errorf("an answer had %d bytes, not %d", c.body, t.bytes)
	}
	return c.perSecond(), err
}

func (t *eventPageTrial) Close() error {
	var errs []error
	if t.nginx != nil {
		errs = append(errs, t.nginx.close())
	}
	if t.node != nil {
		errs = append(errs, t.node.Close())
	}
	if t.servers != nil {
		errs = append(errs, t.servers.Close())
	}
	return errors.Join(errs...)
}
