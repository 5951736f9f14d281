package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"onsale/checkout/account"
	"onsale/checkout/mail"
	"onsale/waitroom/identity"
)

// grace is a buyer who stands in no other test's data.
const graceName, graceEmail = "Grace Traceable", "grace.trace@buyers.example"

type signedIn struct {
	Account struct {
		Account, Name string
		Email         *string
	}
	Token string `json:"session_token"`
}

// codeFor asks for a code and reads it as the mail program of its owner would: it is
// derived from the id of the latest.
func (s *stage) codeFor(email string) string {
	s.t.Helper()
	s.post("/v1/account/code", `{"email":"`+email+`"}`).ok(202, nil)
	return account.CodeText(s.keys, query[string](s, `select id::text from sign_in_codes where email = lower($1) order by created_at desc, id desc limit 1`, email))
}

func (s *stage) signedIn(email string, with ...func(*http.Request)) (in signedIn) {
	s.t.Helper()
	s.post("/v1/account/session", fmt.Sprintf(`{"email":%q,"code":%q}`, email, s.codeFor(email)), with...).ok(200, &in)
	return in
}

// buys has a visitor order, and pay for, tickets.
func (s *stage) buys(m me, name, email string, tickets ...string) (o order) {
	s.t.Helper()
	h := s.held(s.event, m.Pass, tickets...)
	s.post("/v1/orders", fmt.Sprintf(`{"hold":%q,"buyer":{"name":%q,"email":%q}}`, h.Hold, name, email), bearing(m.Pass), keyed("order "+h.Hold)).ok(201, &o)
	s.paid(o, "tok_ok")
	return eventually(s.t, "fulfilled", func() order { return s.orderNow(o) }, func(o order) bool { return o.Status == "fulfilled" })
}

func (s *stage) myOrders(session string) (ids []string) {
	s.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Orders []order
			Next   *string `json:"next_cursor"`
		}
		s.get("/v1/account/orders?limit=1"+cursor, bearing(session)).ok(200, &page)
		for _, o := range page.Orders {
			if !strings.Contains(o.Link, o.Token) {
				s.t.Errorf("order %s has the link %q", o.Order, o.Link)
			}
			ids = append(ids, o.Order)
		}
		if page.Next == nil {
			return ids
		}
		cursor = "&cursor=" + *page.Next
	}
}

func TestSignInByCode(t *testing.T) {
	t.Parallel()
	box := &mailbox{}
	s := newStage(t, stageOptions{messages: soon(), mail: box})
	buyer := s.admitted(s.event)
	guest := s.buys(buyer, graceName, "Grace.Trace@Buyers.example", s.tickets[0])
	elsewhere := s.buys(s.admitted(s.event), graceName, graceEmail, s.tickets[1]) // another device, the same address
	s.buys(s.admitted(s.event), "Ada", "ada@buyers.example", s.tickets[2])

	code := s.codeFor("Grace.TRACE@buyers.example")
	mails := eventually(t, "the code comes", box.mails, func(l []mail.Message) bool { return slices.ContainsFunc(l, isCode) })
	sent := mails[slices.IndexFunc(mails, isCode)]
	if sent.To.Email != graceEmail || !strings.Contains(sent.Text, code) || !strings.Contains(sent.HTML, code) {
		t.Errorf("to %s: %s", sent.To.Email, sent.Text)
	}
	if n := query[int](s, `select count(*) from emails e where e::text ilike '%' || $1 || '%'`, code) +
		query[int](s, `select count(*) from sign_in_codes c where c::text ilike '%' || $1 || '%'`, code); n != 0 {
		t.Error("the code stands in the database")
	}

	typed := fmt.Sprintf(`{"email":%q,"code":%q}`, "GRACE.trace@buyers.example", strings.ToLower(strings.ReplaceAll(code, "-", " ")))
	var in signedIn
	got := s.post("/v1/account/session", typed, header("Cookie", "onsale_visitor="+buyer.VisitorToken)).ok(200, &in)
	if cookie := got.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "onsale_session="+in.Token+"; ") || !strings.Contains(cookie, "; HttpOnly; SameSite=Lax") {
		t.Errorf("cookie: %s", cookie)
	}
	if in.Account.Email == nil || *in.Account.Email != graceEmail {
		t.Errorf("account: %+v", in.Account)
	}
	s.post("/v1/account/session", typed).refused(401, "unauthorized") // it works once
	for _, with := range []func(*http.Request){bearing(in.Token), header("Cookie", "onsale_session="+in.Token)} {
		s.get("/v1/account", with).ok(200, nil)
	}
	s.get("/v1/account", bearing(buyer.VisitorToken)).refused(401, "unauthorized")
	s.get("/v1/orders/"+guest.Order, bearing(in.Token)).refused(401, "unauthorized") // a session is no visitor
	s.post("/v1/account/session", typed, header("Origin", "https://evil.example"), header("Sec-Fetch-Site", "cross-site")).refused(403, "forbidden")

	if ids := s.myOrders(in.Token); !slices.Equal(ids, []string{elsewhere.Order, guest.Order}) {
		t.Errorf("orders %v, want %s and %s", ids, elsewhere.Order, guest.Order)
	}
	var renamed struct{ Name string }
	s.do(http.MethodPatch, "/v1/account", `{"name":" Grace "}`, bearing(in.Token)).ok(200, &renamed)
	if renamed.Name != "Grace" {
		t.Errorf("name %q", renamed.Name)
	}

	// Signing in again is the same account; signing out everywhere ends both sessions.
	again := s.signedIn(graceEmail)
	if again.Account.Account != in.Account.Account {
		t.Error("another account with the same address")
	}
	out := s.do(http.MethodDelete, "/v1/account/session", `{}`, bearing(again.Token), header("Cookie", "onsale_visitor="+buyer.VisitorToken)).ok(204, nil)
	if gone := strings.Join(out.header.Values("Set-Cookie"), "\n"); !strings.Contains(gone, "onsale_session=; Path=/; Max-Age=0") || !strings.Contains(gone, "onsale_visitor=; Path=/; Max-Age=0") {
		t.Errorf("cookies: %s", gone)
	}
	s.get("/v1/account", bearing(in.Token)).ok(200, nil)
	s.do(http.MethodDelete, "/v1/account/session", `{"everywhere":true}`, bearing(again.Token)).ok(204, nil)
	for _, token := range []string{in.Token, again.Token} {
		s.get("/v1/account", bearing(token)).refused(401, "unauthorized")
	}
	s.get("/v1/account", bearing(s.signedIn(graceEmail).Token)).ok(200, nil) // in the new epoch

	// The address is used up for a while, and says when it is not.
	busy := s.post("/v1/account/code", `{"email":"`+graceEmail+`"}`)
	busy.refused(429, "too-many-requests")
	if busy.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func isCode(m mail.Message) bool { return m.Subject == "Your code to sign in" }

// A device belongs to one account: somebody else who signs in with it is sent on as
// somebody new.
func TestDeviceOfAnotherAccount(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{mail: &mailbox{}})
	device := s.admitted(s.event)
	cookie := header("Cookie", "onsale_visitor="+device.VisitorToken+"; onsale_pass_"+s.event+"="+device.Pass)
	first := s.signedIn(graceEmail, cookie)
	o := s.buys(device, graceName, graceEmail, s.tickets[0])
	got := s.post("/v1/account/session", fmt.Sprintf(`{"email":"eve@buyers.example","code":%q}`, s.codeFor("eve@buyers.example")), cookie)
	var second signedIn
	got.ok(200, &second)
	if gone := strings.Join(got.header.Values("Set-Cookie"), "\n"); !strings.Contains(gone, "onsale_visitor=; ") || !strings.Contains(gone, "onsale_pass_"+s.event+"=; ") {
		t.Errorf("cookies: %s", gone)
	}
	if mine, hers := s.myOrders(second.Token), s.myOrders(first.Token); len(mine) != 0 || !slices.Equal(hers, []string{o.Order}) {
		t.Errorf("orders %v and %v", mine, hers)
	}
}

// Whatever an address is, the answers are the same.
func TestAddressesTellNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{mail: &mailbox{}})
	s.signedIn(graceEmail)
	known := s.post("/v1/account/code", `{"email":"`+graceEmail+`"}`).ok(202, nil)
	unknown := s.post("/v1/account/code", `{"email":"nobody@buyers.example"}`).ok(202, nil)
	if string(known.body) != string(unknown.body) {
		t.Errorf("%s and %s", known.body, unknown.body)
	}
	var details []string
	for _, email := range []string{graceEmail, "nobody@buyers.example", "never@buyers.example"} { // with an account and a code, with a code, with neither
		details = append(details, s.post("/v1/account/session", `{"email":"`+email+`","code":"0000-0000"}`).refused(401, "unauthorized").Detail)
	}
	if details = slices.Compact(details); len(details) != 1 {
		t.Errorf("answers %q", details)
	}
}

func TestSignInSwitchedOff(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{}) // without a mail server
	s.post("/v1/account/code", `{"email":"a@b.example"}`).refused(503, "unavailable")
	off := newStage(t, stageOptions{mail: &mailbox{}, signIn: account.SignInOff})
	off.post("/v1/account/code", `{"email":"a@b.example"}`).refused(404, "not-found")
	off.post("/v1/account/session", `{"email":"a@b.example","code":"0000-0000"}`).refused(404, "not-found")
}

// tried sends so many tries at once and counts the answers.
func (s *stage) tried(n int, body func(i int) string) map[int]int {
	s.t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range n {
		all.Go(func() {
			got, err := s.send(http.MethodPost, "/v1/account/session", body(i))
			if err != nil {
				s.t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[got.status]++
		})
	}
	all.Wait()
	return statuses
}

// TestCodesCannotBeGuessed, however many guess at once.
func TestCodesCannotBeGuessed(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{mail: &mailbox{}})
	code := s.codeFor(graceEmail)
	guesses := s.tried(50, func(i int) string { return fmt.Sprintf(`{"email":%q,"code":"0000-00%02d"}`, graceEmail, i) })
	if guesses[401] < 5 || guesses[401]+guesses[429] != 50 { // eight at a time are looked at
		t.Fatalf("answers %v", guesses)
	}
	if n := query[int](s, `select tries from sign_in_codes where email = $1`, graceEmail); n != 5 {
		t.Errorf("%d tries were counted, want 5 and no more looked at", n)
	}
	s.post("/v1/account/session", fmt.Sprintf(`{"email":%q,"code":%q}`, graceEmail, code)).refused(401, "unauthorized")

	// A right one signs in once, whoever else shows it at the same time.
	code = s.codeFor(graceEmail)
	right := s.tried(20, func(int) string { return fmt.Sprintf(`{"email":%q,"code":%q}`, graceEmail, code) })
	if right[200] != 1 || right[401]+right[429] != 19 {
		t.Errorf("answers %v, want one 200", right)
	}
	if n := query[int](s, `select count(*) from accounts`); n != 1 {
		t.Errorf("%d accounts", n)
	}

	// An old one does not.
	code = s.codeFor(graceEmail)
	if _, err := s.db.Exec(t.Context(), `update sign_in_codes set expires_at = now() - interval '1 second'`); err != nil {
		t.Fatal(err)
	}
	s.post("/v1/account/session", fmt.Sprintf(`{"email":%q,"code":%q}`, graceEmail, code)).refused(401, "unauthorized")
}

// TestCodesAreLimited: per address, and per network, at once too.
func TestCodesAreLimited(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{mail: &mailbox{}})
	ask := func(n int, email func(i int) string) map[int]int {
		var all sync.WaitGroup
		var mu sync.Mutex
		statuses := map[int]int{}
		for i := range n {
			all.Go(func() {
				got, err := s.send(http.MethodPost, "/v1/account/code", `{"email":"`+email(i)+`"}`)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				statuses[got.status]++
			})
		}
		all.Wait()
		return statuses
	}
	if got := ask(10, func(int) string { return graceEmail }); got[202] != 3 || got[429] != 7 {
		t.Errorf("one address: %v", got)
	}
	for i := range 30 {
		want := 202
		if i >= 27 {
			want = 429
		}
		if got := s.post("/v1/account/code", fmt.Sprintf(`{"email":"somebody%d@buyers.example"}`, i)); got.status != want {
			t.Errorf("address %d of one network: %d, want %d", i, got.status, want)
		}
	}
}

// TestLimitOfAnAccount: all its devices are one buyer, whatever they do at once.
func TestLimitOfAnAccount(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{mail: &mailbox{}}) // four tickets per buyer
	devices := make([]me, 5)
	holds := make([]hold, len(devices))
	session := s.signedIn(graceEmail).Token
	code := s.codeFor(graceEmail)
	s.post("/v1/account/session", fmt.Sprintf(`{"email":%q,"code":%q}`, graceEmail, code)).ok(200, nil)
	for i := range devices {
		devices[i] = s.admitted(s.event)
		holds[i] = s.held(s.event, devices[i].Pass, s.tickets[2*i:2*i+2]...)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range devices {
		all.Go(func() { // as a browser that is signed in
			got, err := s.send(http.MethodPost, "/v1/orders", `{"hold":"`+holds[i].Hold+`",`+someBuyer+`}`, bearing(devices[i].Pass), keyed(holds[i].Hold), header("Cookie", "onsale_session="+session))
			if err != nil {
				t.Error(err)
				return
			}
			if got.status != 201 {
				got.refused(409, "limit-reached")
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[got.status]++
		})
	}
	all.Wait()
	if statuses[201] != 2 || statuses[409] != 3 {
		t.Errorf("answers %v, want two orders of two tickets", statuses)
	}
	if n := query[int](s, `select count(*) from tickets t join users u on u.id = t.user_id where u.account_id is not null`); n != 4 {
		t.Errorf("the account has %d tickets", n)
	}
	// A guest is a buyer of their own, and so is a device whose session is over.
	guest := s.admitted(s.event)
	h := s.held(s.event, guest.Pass, s.tickets[20:24]...)
	s.do(http.MethodDelete, "/v1/account/session", `{"everywhere":true}`, bearing(session)).ok(204, nil)
	s.post("/v1/orders", `{"hold":"`+h.Hold+`",`+someBuyer+`}`, bearing(guest.Pass), keyed(h.Hold), header("Cookie", "onsale_session="+session)).ok(201, nil)
}

// TestPromoCodesOfAnAccount: a code is good once for a buyer, on whichever of two
// devices, at the same moment.
func TestPromoCodesOfAnAccount(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{mail: &mailbox{}})
	promo := s.newPromo(s.event, `{"code":"ONCE","percent":10,"per_buyer":1}`)
	session := header("Cookie", "onsale_session="+s.signedIn(graceEmail).Token)
	var devices [2]me
	var holds [2]hold
	for i := range devices {
		devices[i] = s.admitted(s.event)
		holds[i] = s.held(s.event, devices[i].Pass, s.tickets[i])
	}
	buy := func(i int, key string) (reply, error) {
		return s.send(http.MethodPost, "/v1/orders", `{"hold":"`+holds[i].Hold+`","promo":"once",`+someBuyer+`}`, bearing(devices[i].Pass), keyed(key), session)
	}
	var replies [2]reply
	var errs [2]error
	var all sync.WaitGroup
	for i := range devices {
		all.Go(func() { replies[i], errs[i] = buy(i, "at once") })
	}
	all.Wait()
	winner, loser := 0, 1
	for i := range devices {
		must(t, errs[i])
		if replies[i].status == 201 {
			winner, loser = i, 1-i
		}
	}
	var o order
	replies[winner].ok(201, &o)
	var refusal struct{ Reason string }
	replies[loser].refused(409, "promo-invalid")
	if replies[loser].ok(409, &refusal); refusal.Reason != "used_by_you" {
		t.Errorf("refused since it is %q", refusal.Reason)
	}
	price := "/v1/events/" + s.event + "/holds/" + holds[loser].Hold + "/price"
	s.post(price, `{"promo":"ONCE"}`, bearing(devices[loser].Pass)).refused(409, "promo-invalid")
	if n := query[int](s, `select used from promo_codes where id = $1`, promo); n != 1 {
		t.Errorf("%d uses are counted", n)
	}
	s.post("/v1/orders/"+o.Order+"/cancel", "", bearing(o.Token)).ok(200, nil)
	again, err := buy(loser, "given up")
	must(t, err)
	again.ok(201, nil)
}

// places lists where a text stands in the database, in any letters.
func (s *stage) places(text string) (found []string) {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), `
		select format('select %L || count(*)::text from %I.%I t where position(lower($1) in lower(%s)) > 0 having count(*) > 0',
			c.table_name || '.' || c.column_name || ' ', c.table_schema, c.table_name,
			case when c.data_type = 'bytea' then format('encode(%I, ''escape'')', c.column_name) else format('%I::text', c.column_name) end)
		from information_schema.columns c join information_schema.tables b using (table_schema, table_name)
		where b.table_type = 'BASE TABLE' and c.table_schema not in ('pg_catalog', 'information_schema')
		and c.data_type in ('text', 'character varying', 'jsonb', 'json', 'bytea', 'ARRAY')`)
	must(s.t, err)
	var queries []string
	for rows.Next() {
		var sql string
		must(s.t, rows.Scan(&sql))
		queries = append(queries, sql)
	}
	must(s.t, rows.Err())
	if len(queries) < 100 {
		s.t.Fatalf("only %d columns are looked at", len(queries))
	}
	for _, sql := range queries {
		rows, err := s.db.Query(s.t.Context(), sql, text)
		must(s.t, err)
		for rows.Next() {
			var place string
			must(s.t, rows.Scan(&place))
			found = append(found, place)
		}
		must(s.t, rows.Err())
	}
	slices.Sort(found)
	return found
}

// sums is what must be the same after somebody was erased.
func (s *stage) sums() string {
	s.t.Helper()
	return query[string](s, `select concat_ws('; ',
		(select string_agg(concat_ws(' ', id, status, total_amount, refunded_amount, visitor), ', ' order by id) from orders),
		(select string_agg(concat_ws(' ', id, status, order_id, user_id), ', ' order by id) from tickets where status <> 'available'),
		(select string_agg(concat_ws(' ', id, code, ended_at, scanned_at, encode(secret, 'hex')), ', ' order by id) from admissions),
		(select string_agg(concat_ws(' ', id, status, amount), ', ' order by id) from payments))`)
}

func (s *stage) traces() (found []string) {
	s.t.Helper()
	for _, text := range []string{graceName, graceEmail, "grace.trace"} {
		found = append(found, s.places(text)...)
	}
	return found
}

// TestErasedAccount leaves the books as they are, and no trace of the person.
func TestErasedAccount(t *testing.T) {
	t.Parallel()
	box := &mailbox{}
	s := newStage(t, stageOptions{messages: soon(), mail: box})
	device := s.admitted(s.event)
	in := s.signedIn(graceEmail, bearing(device.VisitorToken))
	s.do(http.MethodPatch, "/v1/account", `{"name":"`+graceName+`"}`, bearing(in.Token)).ok(200, nil)
	bought := s.buys(device, graceName, graceEmail, s.tickets[0], s.tickets[1])
	s.buys(s.admitted(s.event), graceName, "GRACE.trace@buyers.example", s.tickets[2])
	// Somebody else passes one on to her, and she passes one on to somebody else.
	ada := s.buys(s.admitted(s.event), "Ada", "ada@friends.example", s.tickets[3])
	give := func(o order, ticket, to string) {
		t.Helper()
		s.post("/v1/orders/"+o.Order+"/tickets/"+ticket+"/transfer", to, bearing(o.Token)).ok(200, nil)
	}
	give(ada, s.tickets[3], fmt.Sprintf(`{"name":%q,"email":%q}`, graceName, graceEmail))
	give(bought, s.tickets[1], `{"name":"Eve","email":"eve@friends.example"}`)
	s.post("/v1/admin/orders/"+bought.Order+"/refund", `{"reason":"asked by grace.TRACE@buyers.example"}`, asOperator, keyed("back")).ok(200, nil)
	eventually(t, "the money is back", func() string {
		return query[string](s, `select status from payments where order_id = $1`, bought.Order)
	},
		func(status string) bool { return status == "refunded" })
	eventually(t, "all is written", func() int { return query[int](s, `select count(*) from emails where status in ('pending', 'sending')`) }, func(n int) bool { return n == 0 })

	before := s.traces()
	for _, table := range []string{"accounts.", "users.", "orders.", "admissions.", "emails.", "idempotency_keys.", "refunds.", "audit_log."} {
		if !slices.ContainsFunc(before, func(p string) bool { return strings.HasPrefix(p, table) }) {
			t.Errorf("nothing of her is in %s", table)
		}
	}

	var all map[string]json.RawMessage
	file := s.get("/v1/account/export", bearing(in.Token)).ok(200, &all)
	if file.header.Get("Content-Disposition") != `attachment; filename="personal-data.json"` {
		t.Errorf("headers %v", file.header)
	}
	for name, want := range map[string]int{"identities": 0, "devices": 2, "orders": 2, "payments": 2, "refunds": 1, "tickets": 4, "audit": 1} {
		var list []json.RawMessage
		must(t, json.Unmarshal(all[name], &list))
		if len(list) != want {
			t.Errorf("the export has %d %s, want %d: %s", len(list), name, want, all[name])
		}
	}
	if emails := string(all["emails"]); strings.Count(emails, `"recipient"`) < 4 || !strings.Contains(emails, "sign_in") || !strings.Contains(emails, "confirmation") {
		t.Errorf("e-mails: %s", emails)
	}
	if strings.Contains(string(file.body), "tok_ok") || strings.Contains(string(file.body), "eve@friends.example") || strings.Contains(string(file.body), bought.Token) {
		t.Errorf("the export has what it must not: %s", file.body)
	}
	var byOperator map[string]json.RawMessage
	s.get("/v1/admin/people/export?email="+graceEmail, asOperator).ok(200, &byOperator)
	if string(byOperator["orders"]) != string(all["orders"]) {
		t.Errorf("the operator's export has %s", byOperator["orders"])
	}

	sums := s.sums()
	refusal := s.do(http.MethodDelete, "/v1/account", `{}`, bearing(in.Token)).refused(409, "conflict")
	if !strings.Contains(refusal.Detail, "even_with_tickets") {
		t.Errorf("refused: %s", refusal.Detail)
	}
	s.do(http.MethodDelete, "/v1/account", `{"even_with_tickets":true}`, bearing(in.Token)).ok(204, nil)
	if left := s.traces(); len(left) != 0 {
		t.Errorf("left of her: %v", left)
	}
	if now := s.sums(); now != sums {
		t.Errorf("the books are\n%s\nand were\n%s", now, sums)
	}
	for _, other := range []string{"eve@friends.example", "ada@friends.example"} {
		if len(s.places(other)) == 0 {
			t.Errorf("%s was erased, too", other)
		}
	}
	s.get("/v1/account", bearing(in.Token)).refused(401, "unauthorized")
	var now struct{ Buyer struct{ Name, Email string } }
	s.get("/v1/orders/"+bought.Order, bearing(bought.Token)).ok(200, &now) // its link still opens it
	if now.Buyer.Name != "Erased" || !strings.HasPrefix(now.Buyer.Email, "erased+") {
		t.Errorf("buyer %+v", now.Buyer)
	}
	if n := query[int](s, `select count(*) from audit_log where action = 'person.erase' and actor = 'account' and detail->>'orders' = '2'`); n != 1 {
		t.Errorf("%d entries in the audit log", n)
	}
	s.post("/v1/admin/people/erase", `{"email":"`+graceEmail+`"}`, asOperator).refused(404, "not-found")
	if fresh := s.signedIn(graceEmail); fresh.Account.Account == in.Account.Account || len(s.myOrders(fresh.Token)) != 0 {
		t.Errorf("the same address has %+v and its orders", fresh.Account)
	}
}

// TestErasedGuest: by the link of the order, and by an operator.
func TestErasedGuest(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{messages: soon(), mail: &mailbox{}})
	m := s.admitted(s.event)
	h := s.held(s.event, m.Pass, s.tickets[0])
	var open order
	s.post("/v1/orders", fmt.Sprintf(`{"hold":%q,"buyer":{"name":%q,"email":%q}}`, h.Hold, graceName, graceEmail), bearing(m.Pass), keyed("one")).ok(201, &open)
	erase := "/v1/orders/" + open.Order + "/erase"
	s.post(erase, `{"even_with_tickets":true}`, bearing(open.Token)).refused(409, "conflict")
	s.post("/v1/admin/people/erase", `{"email":"`+graceEmail+`","even_with_tickets":true}`, asOperator).refused(409, "conflict")
	s.post("/v1/orders/"+open.Order+"/cancel", `{}`, bearing(open.Token)).ok(200, nil)
	s.post(erase, `{}`, bearing(s.keys.SignOrder("another", time.Now().Add(time.Hour)))).refused(403, "forbidden")
	s.post(erase, `{}`, bearing(open.Token)).ok(200, nil)
	if left := s.traces(); len(left) != 0 {
		t.Errorf("left of the guest: %v", left)
	}
	// The key of the order still gives the order, which is nobody's now.
	var again struct{ Buyer struct{ Name string } }
	s.post("/v1/orders", fmt.Sprintf(`{"hold":%q,"buyer":{"name":%q,"email":%q}}`, h.Hold, graceName, graceEmail), bearing(m.Pass), keyed("one")).ok(201, &again)
	if again.Buyer.Name != "Erased" {
		t.Errorf("the stored answer says %q", again.Buyer.Name)
	}

	s.buys(s.admitted(s.event), graceName, graceEmail, s.tickets[1])
	s.post("/v1/admin/people/erase", `{"email":"`+graceEmail+`"}`, asOperator).refused(409, "conflict")
	var done struct{ Orders int }
	s.post("/v1/admin/people/erase", `{"email":"GRACE.trace@buyers.example","even_with_tickets":true}`, asOperator).ok(200, &done)
	if left := s.traces(); len(left) != 0 || done.Orders != 1 {
		t.Errorf("%d orders; left: %v", done.Orders, left)
	}
}

// TestSignInByIssuer exchanges ID tokens of an issuer that is reached over HTTP.
func TestSignInByIssuer(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	token := p.signed
	s := newStage(t, stageOptions{mail: &mailbox{}, signIn: account.SignInBoth, identity: identity.New(p.url, "onsale", "")})
	by := func(more jwt.MapClaims) (in signedIn) {
		t.Helper()
		s.post("/v1/account/session", `{"id_token":"`+token(more)+`"}`).ok(200, &in)
		return in
	}
	o := s.buys(s.admitted(s.event), graceName, graceEmail, s.tickets[0])
	unproven := by(jwt.MapClaims{"email": graceEmail})
	if unproven.Account.Email != nil || len(s.myOrders(unproven.Token)) != 0 {
		t.Errorf("an address that the issuer has not verified counts: %+v", unproven.Account)
	}
	if again := by(nil); again.Account.Account != unproven.Account.Account {
		t.Error("the same subject has two accounts")
	}
	byCode := s.signedIn(graceEmail)
	proven := by(jwt.MapClaims{"sub": "8", "email": "Grace.Trace@buyers.example", "email_verified": true})
	if proven.Account.Account != byCode.Account.Account || !slices.Equal(s.myOrders(proven.Token), []string{o.Order}) {
		t.Errorf("a verified address is the account of the code: %+v, %+v", proven.Account, byCode.Account)
	}
	for name, bad := range map[string]jwt.MapClaims{
		"another audience": {"aud": "other"}, "another issuer": {"iss": "https://evil.example"}, "expired": {"exp": time.Now().Add(-time.Hour).Unix()}, "nobody": {"sub": ""},
	} {
		if got := s.post("/v1/account/session", `{"id_token":"`+token(bad)+`"}`); got.status != 401 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	s.do(http.MethodDelete, "/v1/account", `{"even_with_tickets":true}`, bearing(proven.Token)).ok(204, nil)
	if n := query[int](s, `select count(*) from account_identities where subject = '8'`); n != 0 {
		t.Error("the identity is still there")
	}
}
