package web_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/bits"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"onsale/waitroom"
)

// eventWith creates an event whose room is set as given.
func (s *stage) eventWith(name, room string) string {
	s.t.Helper()
	document := fmt.Sprintf(stageEvent, name, "on_sale")
	before, _, _ := strings.Cut(document, `"room":`)
	document = before + `"room":` + room + `}`
	var created struct{ ID string }
	s.post("/v1/admin/events", document, asOperator).ok(201, &created)
	return created.ID
}

// A draw as its visitors see it: committed to, drawn, and checked by each of them.
func TestDrawOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.eventWith("Drawn", `{"state":"scheduled","opens_at":"2031-01-01T10:00:00Z","order":"draw"}`)
	room, admin := "/v1/rooms/"+event, "/v1/admin/rooms/"+event
	var committed waitroom.DrawProof
	s.get(room+"/draw").ok(200, &committed)
	if committed.Status != "committed" || len(committed.Commitment) != 64 || committed.Secret != nil || committed.You != nil {
		t.Errorf("before the lobby opens: %+v", committed)
	}
	s.post(admin+"/lobby", "", asOperator).ok(200, nil)
	s.post(admin+"/lobby", "", asOperator).refused(409, "conflict")
	var visitors []me
	for range 12 {
		m := s.join(event)
		if m.State != "lobby" || m.Receipt == "" || m.Place != nil {
			t.Errorf("in the lobby: %+v", m)
		}
		visitors = append(visitors, m)
	}
	s.post(admin+"/draw", `{"public_value":"7"}`, asOperator).refused(409, "conflict") // none was announced
	s.post(admin+"/draw", `{}`, asOperator).ok(200, nil)
	seen := make(map[int64]bool)
	for i, v := range visitors {
		proof := eventually(t, "the place is brought", func() (p waitroom.DrawProof) {
			s.get(room+"/draw", bearing(v.VisitorToken)).ok(200, &p)
			return p
		}, func(p waitroom.DrawProof) bool { return p.Status == "drawn" && p.You != nil && p.You.Place != nil })
		if err := proof.Verify(); err != nil || proof.Commitment != committed.Commitment || proof.You.Index != int64(i+1) || seen[*proof.You.Place] {
			t.Errorf("visitor %d: %+v of %+v: %v", i, proof.You, proof, err)
		}
		seen[*proof.You.Place] = true
	}
	var log struct {
		Entries []struct{ Actor, Action string }
	}
	s.get("/v1/admin/audit?subject="+event, asOperator).ok(200, &log)
	if len(log.Entries) < 4 {
		t.Errorf("the room's audit log: %+v", log.Entries)
	}
	var view struct {
		Draw struct {
			Status string
			N      int
		}
	}
	s.get(admin, asOperator).ok(200, &view)
	if view.Draw.Status != "drawn" || view.Draw.N != 12 {
		t.Errorf("operators see %+v", view)
	}
	s.get("/v1/rooms/"+s.newEvent("Not drawn", "on_sale")+"/draw").refused(404, "not-found")
}

// A phone continues on a laptop; the code works once.
func TestHandOverOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.eventWith("Handed over", `{"state":"paused"}`)
	room := "/v1/rooms/" + event
	phone := s.join(event)
	s.post(room+"/handover", `{}`).refused(401, "unknown-visitor")
	var h struct{ Code, URL string }
	s.post(room+"/handover", `{}`, bearing(phone.VisitorToken)).ok(201, &h)
	if u, err := url.Parse(h.URL); err != nil || u.Path != "/queue/"+event || u.Fragment != "handover="+h.Code || u.RawQuery != "" {
		t.Errorf("the link %q: the code belongs into the fragment, which no server sees", h.URL)
	}
	var laptop me
	s.post(room+"/join", `{"handover":"`+h.Code+`"}`).ok(200, &laptop)
	if laptop.Visitor != phone.Visitor || laptop.VisitorToken == "" || *laptop.Place != *phone.Place {
		t.Errorf("the laptop is %+v, the phone %+v", laptop, phone)
	}
	s.post(room+"/join", `{"handover":"`+h.Code+`"}`).refused(410, "handover-invalid")
	s.get(room+"/me", bearing(laptop.VisitorToken)).ok(200, nil)
}

// A presale: invitations of an operator, lanes, and the support desk's look-up.
func TestPresaleOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.eventWith("Presale", `{"state":"paused","invite_only":true}`)
	room, admin := "/v1/rooms/"+event, "/v1/admin/rooms/"+event
	s.post(room+"/join", `{}`).refused(403, "invite-required")
	s.post(room+"/join", `{"invite":"x"}`).refused(403, "invite-invalid")
	var made struct {
		Invites []struct {
			Invite, URL, Lane string
			Email             *string
		}
	}
	s.post(admin+"/invites", `{"lane":"general","count":1,"expires_at":"2099-01-01T00:00:00Z"}`, asOperator).ok(201, &made)
	var first me
	s.post(room+"/join", `{"invite":"`+made.Invites[0].Invite+`"}`).ok(200, &first)
	s.post(admin+"/invites", `{"lane":"fan","emails":["jo@example.org","al@example.org"],"single_use":true,"expires_at":"2099-01-01T00:00:00Z"}`, asOperator).ok(201, &made)
	if len(made.Invites) != 2 || *made.Invites[0].Email != "jo@example.org" || !strings.Contains(made.Invites[0].URL, "#invite=") {
		t.Fatalf("invitations %+v", made)
	}
	s.post(room+"/join", `{"invite":"`+made.Invites[0].Invite+`"}`).refused(403, "invite-invalid")
	var fan me
	s.post(room+"/join", `{"invite":"`+made.Invites[0].Invite+`","email":"Jo@example.org"}`).ok(200, &fan)
	var view struct {
		State, Lane, Explanation string
		Place                    int64
		Ahead                    int
	}
	s.get(admin+"/visitors/"+fan.Visitor, asOperator).ok(200, &view)
	if view.State != "waiting" || view.Lane != "fan" || view.Place != 2 || view.Ahead != 0 || !strings.Contains(view.Explanation, "paused") {
		t.Errorf("the fan: %+v", view)
	}
	s.post(admin+"/visitors/"+first.Visitor, `{"lane":"staff"}`, asOperator).ok(200, &view)
	if view.Lane != "staff" || view.Place != 1 || view.Ahead != 0 {
		t.Errorf("moved: %+v", view)
	}
	s.get(admin+"/visitors/AAAAAAAAAAAAAAAAAAAAAA", asOperator).refused(404, "not-found")
	s.post(room+"/claim", "", bearing(fan.VisitorToken)).refused(409, "not-your-turn")
	if got := query[string](s, `select detail::text from audit_log where action = 'room.invite' order by id desc limit 1`); strings.Contains(got, made.Invites[0].Invite) || strings.Contains(got, "jo@") {
		t.Errorf("the audit log keeps invitations: %s", got)
	}
}

// A room that asks for a proof of work says so, and takes the answer once.
func TestChallengeOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.eventWith("Guarded", `{"state":"paused","challenge":"pow"}`)
	room := "/v1/rooms/" + event
	var p struct {
		Challenge waitroom.Puzzle
	}
	refusal := s.post(room+"/join", `{}`)
	refusal.refused(403, "challenge-required")
	if err := json.Unmarshal(refusal.body, &p); err != nil || p.Challenge.Token == "" {
		t.Fatalf("%s: %v", refusal.body, err)
	}
	answer := 0
	for ; ; answer++ {
		sum := sha256.Sum256([]byte(p.Challenge.Token + ":" + strconv.Itoa(answer)))
		if zeros := bits.LeadingZeros32(uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])); zeros >= p.Challenge.Bits {
			break
		}
	}
	body := fmt.Sprintf(`{"challenge":{"token":%q,"answer":"%d"}}`, p.Challenge.Token, answer)
	var m me
	s.post(room+"/join", body).ok(200, &m)
	s.post(room+"/join", body).refused(403, "challenge-required")
	s.post(room+"/appeal", `{}`, bearing(m.VisitorToken)).refused(409, "conflict")
}

// Who polls all the time is told when to come back, and keeps the place.
func TestPollingTooOftenOverHTTP(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.eventWith("Polled", `{"state":"paused"}`)
	m := s.join(event)
	for range 80 {
		r := s.get("/v1/rooms/"+event+"/me", bearing(m.VisitorToken))
		if r.status == http.StatusOK {
			continue
		}
		r.refused(429, "too-many-requests")
		if after, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || after < 1 || after > 20 {
			t.Errorf("Retry-After %q", r.header.Get("Retry-After"))
		}
		return
	}
	t.Error("80 polls at once were all answered")
}

// Operators change everything about a room, let people in, and take the room away.
func TestOperatorConfiguresTheRoom(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.eventWith("Steered", `{"state":"paused","rate_per_minute":1,"burst":1,"max_shoppers":5}`)
	admin := "/v1/admin/rooms/" + event
	patch := func(body string) reply {
		t.Helper()
		return s.do(http.MethodPatch, admin, body, asOperator)
	}
	var view struct {
		Throttle struct {
			Grace int `json:"grace_s"`
		}
		Order     string
		Bypass    bool
		Challenge string
		ClosesAt  *string `json:"closes_at"`
		Waiting   int
		Ready     int
		Autopilot struct {
			Enabled bool
			Target  int     `json:"target_p95_ms"`
			Errors  float64 `json:"max_error_share"`
		}
		Effective int `json:"effective_rate_per_minute"`
	}
	patch(`{"grace_s":30,"order":"random","challenge":"off","closes_at":"2031-01-01T00:00:00Z",
		"autopilot":{"enabled":true,"target_p95_ms":250,"max_error_share":0.125}}`).ok(200, &view)
	if view.Throttle.Grace != 30 || view.Order != "random" || view.ClosesAt == nil || !view.Autopilot.Enabled || view.Autopilot.Target != 250 || view.Autopilot.Errors != 0.125 || view.Effective != 1 {
		t.Errorf("configured: %+v", view)
	}
	patch(`{"closes_at":null,"autopilot":{"enabled":false}}`).ok(200, &view)
	if view.ClosesAt != nil || view.Autopilot.Enabled || view.Autopilot.Target != 250 {
		t.Errorf("taken back: %+v", view)
	}
	var all []me
	for range 8 {
		all = append(all, s.join(event))
	}
	patch(`{"order":"fifo"}`).refused(409, "conflict")
	s.post(admin+"/admit", `{}`, asOperator).refused(400, "invalid-request")
	s.post(admin+"/admit", `{"count":3}`, asOperator).ok(200, &view)
	if view.Ready != 3 || view.Waiting != 5 {
		t.Errorf("three were let in: %+v", view)
	}
	s.post(admin+"/admit", `{"count":100}`, asOperator).ok(200, &view)
	if view.Ready != 5 {
		t.Errorf("beyond the cap: %+v", view)
	}
	s.post(admin+"/resume", ``, asOperator).ok(200, nil)
	patch(`{"bypass":true}`).ok(200, nil)
	s.get("/v1/rooms/"+event+"/check").ok(204, nil)
	eventually(t, "everybody is let in", func() int {
		s.get(admin, asOperator).ok(200, &view)
		return view.Ready
	}, func(n int) bool { return n == len(all) })
}

// The last tickets: while they are held the door is shut and says so, it opens when
// they come back, and when they are sold the room is over for everybody at once.
func TestSoldOutIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	document := fmt.Sprintf(stageEvent, "Two left", "on_sale")
	before, _, _ := strings.Cut(document, `"generate"`)
	var created struct{ ID string }
	s.post("/v1/admin/events", before+`"areas":[{"name":"Floor","capacity":2,"price":1000}],
		"room":{"state":"open","rate_per_minute":60000,"burst":1000,"max_shoppers":100,"lease_s":600,"claim_window_s":60}}`, asOperator).ok(201, &created)
	event := created.ID
	must(t, s.rooms.ShopOK(t.Context(), event, 2, 0, 2))
	buyer := s.admitted(event)
	var page struct{ Tickets []struct{ ID string } }
	s.get("/v1/events/"+event+"/tickets").ok(200, &page)
	h := s.held(event, buyer.Pass, page.Tickets[0].ID, page.Tickets[1].ID)
	reason := func() string {
		var v struct{ State, Reason string }
		s.get("/v1/admin/rooms/"+event, asOperator).ok(200, &v)
		return v.State + " " + v.Reason
	}
	eventually(t, "all is held", reason, func(r string) bool { return r == "open all_held" })
	waiting := s.join(event)
	if waiting.State != "waiting" {
		t.Fatalf("let in to nothing: %+v", waiting)
	}
	socket := s.dial("/v1/rooms/"+event+"/ws", http.Header{"Authorization": {"Bearer " + waiting.VisitorToken}}, "onsale.v1")
	socket.until("why the line stands", func(m me) bool { return m.Room.Reason != nil && *m.Room.Reason == "all_held" })
	s.do(http.MethodDelete, "/v1/events/"+event+"/holds/"+h.Hold, "", bearing(buyer.Pass)).ok(204, nil)
	socket.until("the turn, since the tickets came back", func(m me) bool { return m.State == "ready" })
	h = s.held(event, buyer.Pass, page.Tickets[0].ID, page.Tickets[1].ID)
	eventually(t, "all is held again", reason, func(r string) bool { return r == "open all_held" })
	late := s.join(event)
	lateSocket := s.dial("/v1/rooms/"+event+"/ws", http.Header{"Authorization": {"Bearer " + late.VisitorToken}}, "onsale.v1")
	o := s.paid(s.ordered(buyer.Pass, h), "tok_ok")
	if o.Status != "paid" && o.Status != "fulfilled" {
		t.Fatalf("order %+v", o)
	}
	lateSocket.until("that it is over", func(m me) bool { return m.State == "closed" && m.Room.State == "closed" })
	if code := lateSocket.closed(); code != 4010 {
		t.Errorf("closed with %d", code)
	}
	if r := reason(); !strings.HasPrefix(r, "closed ") {
		t.Errorf("the room is %q", r)
	}
	s.post("/v1/rooms/"+event+"/join", "{}").refused(409, "room-closed")
}
