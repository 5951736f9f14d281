package web_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"onsale/checkout/ticket"
	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// heldTicket is a ticket as its holder gets it.
type heldTicket struct {
	Ticket, Admission, Code string
	QRText                  *string `json:"qr_text"`
	Holder                  struct{ Name, Email string }
	State                   string
	Valid                   bool
	ScannedAt               *time.Time `json:"scanned_at"`
	Rotating                *struct {
		Secret *string
		Step   int `json:"step_s"`
		Digits int
	}
	QR, PDF, Link string
	Event         struct{ ID, Name string }
}

// fragment is the token in a link.
func fragment(t *testing.T, link string) string {
	t.Helper()
	_, token, ok := strings.Cut(link, "#t=")
	if !ok {
		t.Fatalf("the link %q has no token", link)
	}
	return token
}

// soldTickets buys tickets of the stage's event and waits until they are there.
func (s *stage) soldTickets(ordinals ...int) (order, []heldTicket) {
	s.t.Helper()
	m := s.admitted(s.event)
	names := make([]string, len(ordinals))
	for i, o := range ordinals {
		names[i] = s.tickets[o]
	}
	o := s.paid(s.ordered(m.Pass, s.held(s.event, m.Pass, names...)), "tok_ok")
	eventually(s.t, "fulfilled", func() order { return s.orderNow(o) }, func(o order) bool { return o.Status == "fulfilled" })
	return o, s.ticketsOf(o, bearing(o.Token))
}

func (s *stage) ticketsOf(o order, who func(*http.Request)) []heldTicket {
	s.t.Helper()
	var list struct{ Tickets []heldTicket }
	s.get("/v1/orders/"+o.Order+"/tickets", who).ok(200, &list)
	return list.Tickets
}

type scanned struct {
	ID, Result string
	Ticket     *struct{ Admission, Holder, Seat string }
	ScannedAt  *time.Time `json:"scanned_at"`
	ScannedBy  *string    `json:"scanned_by"`
	Gate       *string
}

func (s *stage) scans(want, code string, more ...string) scanned {
	s.t.Helper()
	var r scanned
	s.post("/v1/admin/scan", fmt.Sprintf(`{"code":%q%s}`, code, strings.Join(more, "")), asOperator).ok(200, &r)
	if r.Result != want {
		s.t.Errorf("scan of %.20s… %v: %s, want %s", code, more, r.Result, want)
	}
	return r
}

// TestTicketsOpenDoors from the sale to the seat: signed, printed, passed on,
// scanned once.
func TestTicketsOpenDoors(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	o, list := s.soldTickets(0, 1)
	if len(list) != 2 {
		t.Fatalf("tickets: %+v", list)
	}
	public, err := pass.ParseJWKS(s.get("/.well-known/jwks.json").ok(200, nil).body)
	must(t, err)
	for _, held := range list {
		p, err := ticket.Verify(*held.QRText, public)
		if err != nil || p.Ticket.Ticket.String() != held.Ticket || p.Ticket.Event.String() != s.event || p.Ticket.Admission.String() != held.Admission {
			t.Errorf("%+v verifies as %+v, %v", held, p, err)
		}
		if !held.Valid || held.State != "valid" || held.Holder.Name == "" || held.Rotating != nil || !strings.HasPrefix(held.Link, s.url+"/t/"+held.Admission+"#t=") {
			t.Errorf("ticket: %+v", held)
		}
	}
	pdf := s.get("/v1/orders/"+o.Order+"/tickets.pdf", bearing(o.Token)).ok(200, nil)
	if !bytes.HasPrefix(pdf.body, []byte("%PDF-")) || !bytes.Contains(pdf.body, []byte("/Count 2")) || pdf.header.Get("Content-Type") != "application/pdf" {
		t.Errorf("PDF: %v, %.20q", pdf.header, pdf.body)
	}
	if again := s.get("/v1/orders/"+o.Order+"/tickets.pdf", bearing(o.Token)).ok(200, nil); !bytes.Equal(again.body, pdf.body) {
		t.Error("the PDF is another one the second time")
	}
	if one := s.get(list[0].PDF, bearing(o.Token)).ok(200, nil); !bytes.Contains(one.body, []byte("/Count 1")) {
		t.Error("one ticket's PDF has another number of pages")
	}

	// The buyer passes the first one on.
	give := "/v1/orders/" + o.Order + "/tickets/" + list[0].Ticket + "/transfer"
	var first, again struct {
		Admission, Link string
		Token           string `json:"holder_token"`
	}
	s.post(give, `{"name":"Grace","email":"grace@friends.example"}`, bearing(o.Token)).ok(200, &first)
	s.post(give, `{"name":"Grace","email":"grace@friends.example"}`, bearing(o.Token)).ok(200, &again)
	if again != first || fragment(t, first.Link) != first.Token || !strings.Contains(first.Link, "/t/"+first.Admission+"#t=") {
		t.Errorf("passed on: %+v, then %+v", first, again)
	}
	s.post(give, `{"name":"Eve","email":"eve@friends.example"}`, bearing(o.Token)).refused(409, "conflict")
	after := s.ticketsOf(o, bearing(o.Token))
	if gone := after[0]; gone.State != "transferred" || gone.Valid || gone.Code != "" || gone.QRText != nil || gone.Link != "" || gone.QR != "" || gone.Holder.Name != "Grace" {
		t.Errorf("the buyer still has %+v", gone)
	}
	if kept := after[1]; kept.Code != list[1].Code || !kept.Valid {
		t.Errorf("the other ticket: %+v", kept)
	}
	s.get(list[0].QR, bearing(o.Token)).refused(404, "not-found")
	s.get(list[0].PDF, bearing(o.Token)).refused(404, "not-found")
	s.scans("transferred", *list[0].QRText)
	s.scans("transferred", list[0].Code)

	// Grace passes it on, too.
	path := "/v1/admissions/" + first.Admission
	var held heldTicket
	s.get(path, bearing(first.Token)).ok(200, &held)
	if held.Holder.Name != "Grace" || !held.Valid || held.Event.Name != "Trio at the mill" || held.Code == list[0].Code {
		t.Errorf("the new holder's: %+v", held)
	}
	s.get(held.PDF, bearing(first.Token)).ok(200, nil)
	s.get(path, bearing(o.Token)).refused(401, "unauthorized")
	s.get(path, bearing(fragment(t, list[1].Link))).refused(403, "forbidden")
	s.post(path+"/transfer", `{"name":"Ada","email":"ada@friends.example"}`, asOperator).refused(403, "forbidden")
	var last struct {
		Admission string
		Token     string `json:"holder_token"`
	}
	s.post(path+"/transfer", `{"name":"Ada","email":"ada@friends.example"}`, bearing(first.Token)).ok(200, &last)
	s.get(path, bearing(first.Token)).ok(200, &held)
	if held.State != "transferred" || held.Code != "" || held.QRText != nil || held.Holder.Name != "Ada" {
		t.Errorf("Grace still has %+v", held)
	}
	s.get(path+"/ticket.pdf", bearing(first.Token)).refused(404, "not-found")
	s.get("/v1/admissions/"+last.Admission, bearing(last.Token)).ok(200, &held)

	// The door.
	s.scans("wrong_event", *held.QRText, `,"event":"`+uuid.NewString()+`"`)
	in := s.scans("admitted", strings.ToLower(held.Code), `,"gate":"North","id":"n1","event":"`+s.event+`"`)
	if in.Ticket == nil || in.Ticket.Admission != last.Admission || in.Ticket.Holder != "Ada" || in.ScannedAt == nil || *in.Gate != "North" || *in.ScannedBy != "admin" || in.ID != "n1" {
		t.Errorf("admitted: %+v", in)
	}
	twice := s.scans("already_scanned", *held.QRText, `,"gate":"South"`)
	if *twice.Gate != "North" || !twice.ScannedAt.Equal(*in.ScannedAt) {
		t.Errorf("scanned again: %+v", twice)
	}
	s.scans("admitted", *held.QRText, `,"gate":"North","id":"n1"`)
	s.scans("not_valid", "nonsense")
	s.get("/v1/admissions/"+last.Admission, bearing(last.Token)).ok(200, &held)
	if held.State != "scanned" || held.Valid || held.ScannedAt == nil {
		t.Errorf("scanned: %+v", held)
	}
	s.post("/v1/admissions/"+last.Admission+"/transfer", `{"name":"Eve","email":"eve@friends.example"}`, bearing(last.Token)).refused(409, "conflict")

	s.post("/v1/admin/orders/"+o.Order+"/refund", "", asOperator).ok(200, nil)
	s.scans("refunded", list[1].Code)
	if left := s.ticketsOf(o, bearing(o.Token)); len(left) != 0 {
		t.Errorf("a refunded order has %+v", left)
	}
	s.get("/v1/orders/"+o.Order+"/tickets.pdf", bearing(o.Token)).refused(404, "not-found")
	s.get("/v1/admissions/"+last.Admission, bearing(last.Token)).ok(200, &held)
	if held.State != "refunded" || held.Valid || held.Code != "" {
		t.Errorf("after the refund: %+v", held)
	}
}

// TestRotatingCodesAtTheDoor: the event asks for them, the holder's page makes
// them, and a picture of one does not last.
func TestRotatingCodesAtTheDoor(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	o, _ := s.soldTickets(0)
	s.do(http.MethodPatch, "/v1/admin/events/"+s.event, `{"rotating_codes":true}`, asOperator).ok(200, nil)
	held := s.ticketsOf(o, bearing(o.Token))[0]
	if held.Rotating == nil || held.Rotating.Secret == nil || held.Rotating.Step != 15 || held.Rotating.Digits != 8 {
		t.Fatalf("rotating: %+v", held)
	}
	if looked := s.ticketsOf(o, asOperator)[0]; looked.Rotating == nil || looked.Rotating.Secret != nil {
		t.Errorf("operators get %+v", looked.Rotating)
	}
	secret, err := base64.RawURLEncoding.DecodeString(*held.Rotating.Secret)
	must(t, err)
	s.scans("rotating_required", *held.QRText)
	s.scans("rotating_required", held.Code)
	s.scans("code_expired", ticket.Rotate(*held.QRText, secret, time.Now().Add(-2*time.Minute)))
	s.scans("admitted", ticket.Rotate(*held.QRText, secret, time.Now()))
}

// TestOfflineDoor takes the list, scans without a connection, and uploads.
func TestOfflineDoor(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	_, list := s.soldTickets(0, 1, 2)
	path := "/v1/admin/events/" + s.event + "/scanlist"
	var file struct {
		JWKS       json.RawMessage `json:"jwks"`
		Admissions []struct {
			Admission, State, Holder string
			Digest                   string `json:"code_sha256"`
		}
	}
	got := s.get(path, asOperator).ok(200, &file)
	if len(file.Admissions) != 3 || bytes.Contains(got.body, []byte(list[0].Code)) || bytes.Contains(got.body, []byte(list[0].Holder.Name)) {
		t.Fatalf("the list: %s", got.body)
	}
	tag := header("If-None-Match", got.header.Get("ETag"))
	s.get(path, asOperator, tag).ok(304, nil)
	sum := sha256.Sum256([]byte(list[1].Code))
	known := make(map[string]bool)
	for _, a := range file.Admissions {
		known[a.Admission], known[a.Digest] = a.State == "valid", true
	}
	public, err := pass.ParseJWKS(file.JWKS)
	must(t, err)
	if p, err := ticket.Verify(*list[0].QRText, public); err != nil || !known[p.Ticket.Admission.String()] || !known[hex.EncodeToString(sum[:])] {
		t.Errorf("the list does not know the tickets: %+v, %v", file.Admissions, err)
	}

	s.scans("admitted", list[2].Code, `,"gate":"South"`)
	now := time.Now().UTC()
	one := func(id, code string, at time.Time) string {
		return fmt.Sprintf(`{"id":%q,"code":%q,"scanned_at":%q}`, id, code, at.Format(time.RFC3339))
	}
	batch := fmt.Sprintf(`{"event":%q,"gate":"North","scans":[%s]}`, s.event, strings.Join([]string{
		one("1", *list[0].QRText, now.Add(-time.Minute)), one("2", list[1].Code, now), one("3", list[2].Code, now), one("4", "?", now),
	}, ","))
	for range 2 {
		var r struct {
			Admitted, Conflicts int
			Results             []scanned
		}
		s.post("/v1/admin/scan/batch", batch, asOperator).ok(200, &r)
		if r.Admitted != 2 || r.Conflicts != 2 || len(r.Results) != 4 || r.Results[0].Result != "admitted" || r.Results[1].Result != "admitted" ||
			r.Results[2].Result != "already_scanned" || *r.Results[2].Gate != "South" || r.Results[3].Result != "not_valid" {
			t.Errorf("uploaded: %+v", r)
		}
	}
	if n := query[int](s, `select count(*) from audit_log where action = 'door.upload'`); n != 2 {
		t.Errorf("%d uploads are in the audit log", n)
	}
	rows, err := csv.NewReader(bytes.NewReader(s.get(path+"?format=csv", asOperator, tag).ok(200, nil).body)).ReadAll()
	must(t, err)
	if len(rows) != 4 || rows[0][8] != "state" || rows[1][8] != "scanned" || rows[2][8] != "scanned" || rows[3][8] != "scanned" {
		t.Errorf("csv: %v", rows)
	}
	s.post("/v1/admin/scan/batch", `{"scans":[`+strings.Repeat(" ", 1<<20)+`]}`, asOperator).refused(413, string(fault.TooLarge))
	full := make([]string, 1000)
	for i := range full {
		full[i] = one(fmt.Sprint(i), ticket.Rotate(*list[i%3].QRText, make([]byte, ticket.SecretSize), now), now)
	}
	s.post("/v1/admin/scan/batch", `{"scans":[`+strings.Join(full, ",")+`]}`, asOperator).ok(200, nil)
	empty := s.newEvent("Nobody comes", "on_sale")
	s.get("/v1/admin/events/"+empty+"/scanlist", asOperator).ok(200, &file)
	if len(file.Admissions) != 0 {
		t.Errorf("an event without tickets has %+v", file.Admissions)
	}
}
