package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed purchase.pgbench
var purchaseScript string

// Reference has pgbench write the rows of purchases, and counts them afterwards.
func (t *purchasesTrial) Reference(ctx context.Context) (float64, error) {
	if t.answers == (answerSizes{}) {
		return 0, errors.New("nobody knows how large answers are before ours were measured")
	}
	address, err := t.fresh(ctx, "onsale_reference")
	if err != nil {
		return 0, err
	}
	script, err := os.CreateTemp("", "onsale-purchase-*.pgbench")
	if err != nil {
		return 0, err
	}
	defer os.Remove(script.Name())
	_, err = script.WriteString(purchaseScript)
	if err := errors.Join(err, script.Close()); err != nil {
		return 0, err
	}
	before, err := t.written(ctx)
	if err != nil {
		return 0, err
	}
	said, err := t.run(ctx, address, script.Name())
	if err != nil {
		return 0, err
	}
	after, err := t.written(ctx)
	if err != nil {
		return 0, err
	}
	perSecond, count, latency, err := readPgbench(said)
	if err != nil {
		return 0, err
	}
	if err := t.counted(ctx, address, count); err != nil {
		return 0, err
	}
	t.notef("pgbench: %s a second, %.1f ms each; %s", thousands(perSecond), latency, after.per(count, before))
	return perSecond, nil
}

// run runs the script for as long as ours was measured. Its clients connect before
// the clock starts.
func (t *purchasesTrial) run(ctx context.Context, address, script string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	password, _ := u.User.Password()
	environ := append(childEnviron(os.Environ()), "LC_ALL=C",
		"PGHOST="+u.Hostname(), "PGPORT="+u.Port(), "PGUSER="+u.User.Username(), "PGPASSWORD="+password, "PGDATABASE="+strings.TrimPrefix(u.Path, "/"),
		"PGOPTIONS=-c enable_seqscan=off") // as checkout's transactions have it: plans are made while tables are empty
	return output(ctx, []string{
		t.program, "-M", "prepared", "-c", strconv.Itoa(saleClients), "-j", "2", "-T", strconv.Itoa(max(1, int(t.duration.Round(time.Second)/time.Second))),
		"-n", "-f", script, "-D", "i=-1", "-D", "event=" + t.event, "-D", "share=" + strconv.Itoa(t.tickets/saleClients),
		"-D", "created=" + strconv.Itoa(t.answers.created), "-D", "answered=" + strconv.Itoa(t.answers.paid),
	}, environ)
}

var (
	pgbenchRate    = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)
	pgbenchCount   = regexp.MustCompile(`(?m)^number of transactions actually processed: ([0-9]+)`)
	pgbenchLatency = regexp.MustCompile(`(?m)^latency average = ([0-9.]+) ms`)
)

// readPgbench reads what pgbench says at its end.
func readPgbench(said string) (perSecond float64, count int, latency float64, err error) {
	rate, n, average := pgbenchRate.FindStringSubmatch(said), pgbenchCount.FindStringSubmatch(said), pgbenchLatency.FindStringSubmatch(said)
	if rate == nil || n == nil || average == nil {
		return 0, 0, 0, fmt.Errorf("pgbench said:\n%s", said)
	}
	perSecond, err = strconv.ParseFloat(rate[1], 64)
	count, cerr := strconv.Atoi(n[1])
	latency, lerr := strconv.ParseFloat(average[1], 64)
	return perSecond, count, latency, errors.Join(err, cerr, lerr)
}

// counted is an error unless the database has so many purchases, each with all rows.
func (t *purchasesTrial) counted(ctx context.Context, address string, purchases int) (err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var whole, orders, sold int
	err = conn.QueryRow(ctx, `
		select count(*) filter (where
				tickets between 1 and 2
				and tickets = (select count(*) from order_items i where i.order_id = o.id and i.sold)
				and exists (select from payments p where p.order_id = o.id and p.status = 'authorised' and p.amount = o.total_amount)
				and 3 = (select count(*) from order_events e where e.order_id = o.id)),
			count(*), coalesce(sum(tickets), 0)
		from orders o, lateral (
			select count(*) as tickets from tickets t where t.order_id = o.id and t.user_id = o.user_id and t.status = 'purchased') as t
		where o.status = 'paid'`).Scan(&whole, &orders, &sold)
	if err != nil {
		return err
	}
	var keys, jobs, tickets int
	err = conn.QueryRow(ctx, `
		select (select count(*) from idempotency_keys where length(body) > 0), (select count(*) from river_job where kind = 'capture_payment'),
			(select count(*) from tickets where status = 'purchased')`).Scan(&keys, &jobs, &tickets)
	if err == nil && (whole != purchases || orders != purchases || keys != 2*purchases || jobs != purchases || tickets != sold) {
		err = fmt.Errorf("pgbench made %d purchases; the database has %d, %d of them whole, with %d answers, %d jobs and %d of %d tickets",
			purchases, orders, whole, keys, jobs, sold, tickets)
	}
	return err
}
