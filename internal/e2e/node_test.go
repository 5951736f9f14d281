package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	catalogpg "onsale/catalog/pgstore"
	"onsale/waitroom/pass"
)

const adminToken = "an-admin-token-for-tests"

// patience is how long tests wait for what comes about by itself: far longer than it
// takes, even where many programs share few processors. It is no promise of the program;
// a test of one says so and has a bound of its own.
const patience = 2 * time.Minute

// binary builds the program once, able to crash on demand.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "onsale-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "onsale")
	args := []string{"build", "-tags", "crashtest", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "onsale/cmd/onsale")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // a left-over in the temporary folder harms nobody
	}
	os.Exit(code)
}

func migrate(ctx context.Context, url string) error {
	return catalogpg.Migrate(ctx, url, slog.New(slog.DiscardHandler))
}

// site is the stores that the nodes of one test share.
type site struct {
	redis, postgres string
	key             string
	db              *pgxpool.Pool
}

func newSite(t *testing.T, redis, postgres string) *site {
	t.Helper()
	db, err := pgxpool.New(t.Context(), postgres)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return &site{redis: redis, postgres: postgres, key: pass.Generate().Secret(), db: db}
}

// node is one running process of the program.
type node struct {
	t    *testing.T
	url  string
	cmd  *exec.Cmd
	done chan error
	log  *bytes.Buffer
	mu   *sync.Mutex
}

type lockedWriter struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// serving is what a node logs when it listens.
var serving = regexp.MustCompile(`msg=serving .*url=(http://\S+)`)

// start runs `onsale serve` and waits until it answers. It is killed when the
// test ends, if it still runs then.
func (s *site) start(t *testing.T, settings ...string) *node {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, done: make(chan error, 1), log: &bytes.Buffer{}, mu: &sync.Mutex{}}
	n.cmd = exec.Command(path, "serve")
	n.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "ONSALE_DATA_DIR=" + t.TempDir(),
		"ONSALE_ADDR=127.0.0.1:0", "ONSALE_REDIS_URL=" + s.redis, "ONSALE_DATABASE_URL=" + s.postgres,
		"ONSALE_ADMIN_TOKEN=" + adminToken, "ONSALE_SIGNING_KEY=" + s.key,
		"ONSALE_WAITROOM_JOINS_PER_ADDRESS_PER_MINUTE=0", "ONSALE_SHUTDOWN_GRACE=3s",
		"ONSALE_CHECKOUT_GATEWAY_TIMEOUT=5s",
	}, settings...)
	n.cmd.Stdout, n.cmd.Stderr = lockedWriter{n.mu, n.log}, lockedWriter{n.mu, n.log}
	if runtime.GOOS == "linux" {
		n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { n.done <- n.cmd.Wait() }()
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", n.url, n.logged())
		}
	})
	n.until(patience, "the node answers", func() bool {
		select {
		case err := <-n.done:
			n.done <- err
			t.Fatalf("the node ended: %v\n%s", err, n.logged())
		default:
		}
		said := serving.FindStringSubmatch(n.logged())
		if said == nil {
			return false
		}
		n.url = said[1]
		r, err := http.Get(n.url + "/healthz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	return n
}

func (n *node) logged() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// kill ends the node as a power cut would.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // may have ended
	n.wait()
}

func (n *node) wait() {
	select {
	case err := <-n.done:
		n.done <- err
	case <-time.After(patience):
		n.t.Errorf("the node at %s did not end", n.url)
	}
}

// until asks again and again, for at most d, whether something has come true.
func (n *node) until(d time.Duration, what string, ok func() bool) {
	n.t.Helper()
	if !poll(d, ok) {
		n.t.Fatalf("after %s it is still not true that %s", d, what)
	}
}

func poll(d time.Duration, ok func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); <-tick.C {
		if ok() {
			return true
		}
	}
	return ok()
}

// answer is what came back: an HTTP status and a JSON object.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (a answer) str(path ...string) string {
	var v any = a.body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

// code is the stable name of a problem, "" for an answer that is none.
func (a answer) code() string {
	t := a.str("type")
	return t[strings.LastIndex(t, "/")+1:]
}

func (a answer) String() string { return fmt.Sprintf("%d %v", a.status, a.body) }

// try sends a request. The error is of the connection: no answer came.
func (n *node) try(method, path, token, key string, body any) (answer, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		payload = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, n.url+path, payload)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if err := json.NewDecoder(resp.Body).Decode(&a.body); err != nil && !errors.Is(err, io.EOF) {
		return a, err
	}
	return a, nil
}

// call sends a request and demands an answer with the status.
func (n *node) call(status int, method, path, token, key string, body any) answer {
	n.t.Helper()
	a, err := n.try(method, path, token, key, body)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != status {
		n.t.Fatalf("%s %s: %s; want %d", method, path, a, status)
	}
	return a
}

// event creates an event of the given number of standing places, and tries again while
// the machine is too busy for that.
func (n *node) event(capacity int, room map[string]any) string {
	n.t.Helper()
	body := map[string]any{
		"name": "Night " + uuid.NewString(), "starts_at": "2031-05-01T19:00:00Z",
		"venue": map[string]any{"name": "Hall"}, "currency": "EUR", "max_per_buyer": 6,
		"areas": []map[string]any{{"name": "Floor", "capacity": capacity, "price": 2500}},
		"room":  room,
	}
	var a answer
	n.until(patience, "the event is there", func() (made bool) {
		var err error
		if a, err = n.try("POST", "/v1/admin/events", adminToken, "", body); err != nil {
			n.t.Fatal(err)
		}
		if a.status != http.StatusCreated && a.status != http.StatusServiceUnavailable {
			n.t.Fatalf("POST /v1/admin/events: %s", a)
		}
		return a.status == http.StatusCreated
	})
	return a.str("id")
}

// join takes a place in line.
func (n *node) join(event string) (token string) {
	n.t.Helper()
	return n.call(http.StatusOK, "POST", "/v1/rooms/"+event+"/join", "", "", map[string]any{}).str("visitor_token")
}

// me asks where a visitor stands, as often as they may.
func (n *node) me(event, token string) answer {
	n.t.Helper()
	for {
		a, err := n.try("GET", "/v1/rooms/"+event+"/me", token, "", nil)
		switch {
		case err != nil:
			n.t.Fatal(err)
		case a.status == http.StatusTooManyRequests: // as a client would
			<-time.After(time.Second)
		case a.status != http.StatusOK:
			n.t.Fatalf("GET …/me: %s", a)
		default:
			return a
		}
	}
}

// enter waits for a visitor's turn and claims it.
func (n *node) enter(event, token string) (ticket string) {
	n.t.Helper()
	n.until(patience, "it is the visitor's turn", func() bool {
		a, err := n.try("GET", "/v1/rooms/"+event+"/me", token, "", nil)
		return err == nil && a.str("state") == "ready"
	})
	return n.call(http.StatusOK, "POST", "/v1/rooms/"+event+"/claim", token, "", nil).str("pass")
}

// hold holds the best tickets.
func (n *node) hold(event, pass string, quantity int) string {
	n.t.Helper()
	return n.call(http.StatusCreated, "POST", "/v1/events/"+event+"/holds", pass, "",
		map[string]any{"best_available": map[string]any{"quantity": quantity}}).str("hold")
}

func orderBody(hold string) map[string]any {
	return map[string]any{"hold": hold, "buyer": map[string]any{"name": "Test Buyer", "email": "buyer@example.org"}}
}

// query reads one value from the truth.
func query[T any](t *testing.T, s *site, sql string, args ...any) (v T) {
	t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < patience; time.Sleep(50 * time.Millisecond) {
		if err = s.db.QueryRow(t.Context(), sql, args...).Scan(&v); err == nil {
			return v
		}
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && !strings.HasPrefix(pg.Code, "57") {
			break // the question is wrong; otherwise Postgres is away, as tests want it to be
		}
	}
	t.Fatalf("%s: %v", sql, err)
	return v
}

// checkBooks holds what must be true when everything has come to its end.
func (s *site) checkBooks(t *testing.T) {
	t.Helper()
	for what, sql := range map[string]string{
		"tickets were sold twice": `select count(*) from (select ticket_id from order_items where sold group by 1 having count(*) > 1) x`,
		"orders are not at an end": `select count(*) from orders
			where status not in ('fulfilled', 'expired', 'cancelled', 'refunded', 'partially_refunded')`,
		"fulfilled orders lack a ticket": `select count(*) from orders o join order_items i on i.order_id = o.id join tickets t on t.id = i.ticket_id
			where o.status = 'fulfilled' and (t.status <> 'purchased' or t.order_id is distinct from o.id or not i.sold or not exists (
				select from admissions a where a.order_id = o.id and a.ticket_id = i.ticket_id and a.ended_at is null))`,
		"tickets are taken without a fulfilled order": `select count(*) from tickets t left join orders o on o.id = t.order_id
			where t.status <> 'available' and o.status is distinct from 'fulfilled'`,
		"fulfilled orders were not paid once and in full": `select count(*) from orders o where o.status = 'fulfilled' and o.total_amount <>
			(select coalesce(sum(g.amount - g.refunded), 0) from payments p join sandbox_payments g on g.id = p.id::text
			 where p.order_id = o.id and g.status = 'captured')`,
		"payments are held for nothing": `select count(*) from sandbox_payments g left join payments p on p.id::text = g.id left join orders o on o.id = p.order_id
			where g.status in ('authorised', 'requires_action') or (g.status = 'captured' and g.refunded < g.amount and o.status is distinct from 'fulfilled')`,
	} {
		if n := query[int](t, s, sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}
