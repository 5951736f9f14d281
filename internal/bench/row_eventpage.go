package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const eventPageConnections = 64

var _ = register(Row{
	Name: "event-page", Order: 50,
	Figure:    "GET /v1/events/{id} over 64 connections",
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
	file     *load // of nginx
	bytes    int
	duration time.Duration
}

func prepareEventPage(ctx context.Context, env *Env) (_ Trial, err error) {
	program, err := findNginx() // before anything takes time
	if err != nil {
		return nil, err
	}
	t := &eventPageTrial{duration: env.MeasureFor()}
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
	t.file = &load{
		address: t.nginx.address, connections: eventPageConnections, status: http.StatusOK,
		request: requestBytes(http.MethodGet, t.nginx.path, t.nginx.address, nil),
	}
	return t, nil
}

func (t *eventPageTrial) Measure(ctx context.Context) (float64, error) { return t.measure(ctx, t.page) }
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
