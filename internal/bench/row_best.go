package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// The house of the best row, and what is left of it.
const (
	bestSeats   = 80_000
	bestPerRow  = 40
	bestSingles = 200 // seats whose neighbours are sold
	bestPairs   = 3   // in the last row
)

var _ = register(Row{
	Name: "best", Order: 120,
	Figure:  "time in Redis, by its SLOWLOG, of holding the best two seats next to each other, of 80,000 of which 200 single ones and three pairs in the last row are left",
	Unit:    Micros,
	Goal:    Goal{Below: 300},
	Runs:    struct{ Full, Short int }{5, 1},
	Prepare: prepareBest,
})

// bestTrial has one shopper hold the best pair and give it back, again and again.
type bestTrial struct {
	servers  *Servers
	node     *Node
	redis    *redis.Client
	client   *http.Client
	shopper  shopper
	duration time.Duration
}

func prepareBest(ctx context.Context, env *Env) (_ Trial, err error) {
	t := &bestTrial{duration: env.MeasureFor() / 2, client: joiningClient()}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.servers, err = StartServers(ctx, env.Options); err != nil {
		return nil, err
	}
	if t.redis, err = t.servers.redis(); err != nil {
		return nil, err
	}
	// The house is sold before there is a node, which then finds it like this.
	h := house{seats: bestSeats, perRow: bestPerRow}
	event, err := t.servers.importEvent(ctx, h.document(wideOpen()))
	if err != nil {
		return nil, err
	}
	left := leftovers(bestSeats, bestPerRow, bestSingles, bestPairs)
	if err := sellAllBut(ctx, t.servers.DatabaseURL(), event, left); err != nil {
		return nil, err
	}
	if t.node, err = t.servers.Serve(ctx); err != nil {
		return nil, err
	}
	if err := t.node.onSale(ctx, event, len(left)); err != nil {
		return nil, err
	}
	shoppers, err := t.node.admit(ctx, event, 1)
	if err != nil {
		return nil, err
	}
	t.shopper = shoppers[0]
	if err := t.redis.ConfigSet(ctx, "slowlog-max-len", "100000").Err(); err != nil {
		return nil, err
	}
	// Not what scripts call, which would be logged, too, within the time of the script.
	return t, t.redis.ConfigSet(ctx, "slowlog-log-slower-than", "30").Err()
}

// leftovers are the ordinals of what is left of a house: single seats all over
// it, of which every second two are the last of a row and the first of the next,
// and pairs in the last row.
func leftovers(seats, perRow, singles, pairs int) []int {
	rows := seats/perRow - 1 // the last is for the pairs
	var left []int
	for n := range singles / 2 {
		row := n * rows / (singles / 2)
		if n%2 == 0 {
			left = append(left, row*perRow+perRow-1, (row+1)*perRow)
		} else {
			left = append(left, row*perRow+n%(perRow/2), row*perRow+perRow/2+n%(perRow/2-1)+1)
		}
	}
	for n := range pairs {
		first := rows*perRow + perRow/2 + 3*n
		left = append(left, first, first+1)
	}
	return left
}

// importEvent creates an event while no node runs.
func (s *Servers) importEvent(ctx context.Context, document object) (id string, err error) {
	encoded, err := json.Marshal(document)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, "event.json")
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		return "", err
	}
	said, err := s.ask(ctx, "import", "event", file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(said) {
		if id, ok := strings.CutPrefix(line, "event: "); ok {
			return strings.TrimSpace(id), nil
		}
	}
	return "", fmt.Errorf("the import names no event: %s", said)
}

// sellAllBut sells the tickets of an event, but for some, to one buyer with one
// order: nobody asks here what was in it.
func sellAllBut(ctx context.Context, databaseURL, event string, left []int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("the program's database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	_, err = conn.Exec(ctx, `
		with buyer as (
			insert into users (id, visitor, name, email)
			values (gen_random_uuid(), 'bench', 'Everybody', 'everybody@bench.example')
			returning id, visitor, name, email
		), sale as (
			insert into orders (id, event_id, user_id, visitor, hold_id, status, currency, total_amount, buyer_name, buyer_email, pay_by)
			select gen_random_uuid(), e.id, b.id, b.visitor, 'bench', 'fulfilled', e.currency,
				(select sum(price_amount) from tickets where event_id = e.id and ordinal <> all(@left)), b.name, b.email, now()
			from events e, buyer b where e.id = @event
			returning id, event_id, user_id
		)
		update tickets t set status = 'purchased', user_id = s.user_id, order_id = s.id
		from sale s where t.event_id = s.event_id and t.ordinal <> all(@left)`,
		pgx.NamedArgs{"event": event, "left": left})
	if err != nil {
		return fmt.Errorf("sell the house: %w", err)
	}
	return nil
}

func (t *bestTrial) Measure(ctx context.Context) (float64, error) {
	if err := t.redis.SlowLogReset(ctx).Err(); err != nil {
		return 0, err
	}
	var holds []string
	for end := time.Now().Add(t.duration); time.Now().Before(end) && ctx.Err() == nil; {
		hold, err := t.holdAndRelease(ctx)
		if err != nil {
			return 0, err
		}
		holds = append(holds, hold)
	}
	calls, err := t.redis.SlowLogGet(ctx, -1).Result()
	if err != nil {
		return 0, err
	}
	took := firstCalls(calls, holds)
	if fewest := len(holds)*9/10 + 1; len(took) < fewest {
		return 0, fmt.Errorf("of %d holds only %d are in Redis' log", len(holds), len(took))
	}
	return median(took), ctx.Err()
}

// holdAndRelease holds the best pair and gives it back.
func (t *bestTrial) holdAndRelease(ctx context.Context) (hold string, err error) {
	path, header := t.node.base.String()+"/v1/events/"+t.shopper.event+"/holds", http.Header{"Authorization": {"Bearer " + t.shopper.pass}}
	var h held
	if err := exchange(ctx, t.client, http.MethodPost, path, header, object{"best_available": object{"quantity": 2}}, &h); err != nil {
		return "", err
	}
	if err := adjacent(h.Tickets, 2); err != nil {
		return "", err
	}
	return h.ID, exchange(ctx, t.client, http.MethodDelete, path+"/"+h.ID, header, nil, nil)
}

// firstCalls are the times, in µs, of the first calls of scripts that name each of
// the holds: those that made them. The log has the latest calls first.
func firstCalls(calls []redis.SlowLog, holds []string) []float64 {
	made := make(map[string]float64, len(holds))
	for _, hold := range holds {
		made[hold] = -1
	}
	for _, c := range slices.Backward(calls) {
		if len(c.Args) == 0 || !strings.HasPrefix(strings.ToLower(c.Args[0]), "evalsha") {
			continue
		}
		for _, arg := range c.Args {
			if took, ours := made[arg]; ours && took < 0 {
				made[arg] = float64(c.Duration.Nanoseconds()) / 1e3
			}
		}
	}
	var took []float64
	for _, hold := range holds {
		if made[hold] >= 0 {
			took = append(took, made[hold])
		}
	}
	return took
}

// adjacent is an error unless these are so many seats next to each other in one
// row: tickets are numbered along the rows.
func adjacent(seats []seat, quantity int) error {
	if len(seats) != quantity {
		return fmt.Errorf("%d seats are held, not %d", len(seats), quantity)
	}
	for i := 1; i < len(seats); i++ {
		a, b := seats[i-1], seats[i]
		if b.Ordinal != a.Ordinal+1 || b.Row != a.Row || b.Section != a.Section {
			return fmt.Errorf("seats %d (%s, row %s) and %d (%s, row %s) are not next to each other", a.Ordinal, a.Section, a.Row, b.Ordinal, b.Section, b.Row)
		}
	}
	return nil
}

func (t *bestTrial) Reference(context.Context) (float64, error) { return 0, nil }

func (t *bestTrial) Close() error {
	t.client.CloseIdleConnections()
	return closeAll(t.redis, t.node, t.servers)
}
