package web_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"onsale/waitroom"
)

type scheduledEvent struct {
	Status, Was string
	Changed     bool
	Told        int
	StartsAt    time.Time  `json:"starts_at"`
	DoorsAt     *time.Time `json:"doors_at"`
	Room        struct{ State string }
}

// TestPostponedEventsSellNothing until they are published again, and those who have
// tickets are told, once each time.
func TestPostponedEventsSellNothing(t *testing.T) {
	t.Parallel()
	post := &mailbox{}
	s := newStage(t, stageOptions{mail: post})
	buyer := s.admitted(s.event)
	done := s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_ok")
	eventually(t, "fulfilled", func() order { return s.orderNow(done) }, func(o order) bool { return o.Status == "fulfilled" })
	waiting := s.held(s.event, buyer.Pass, s.tickets[1])
	open := s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[2]))
	path := "/v1/admin/events/" + s.event
	told := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d e-mails about it are sent", n), func() int {
			return query[int](s, `select count(*) from emails where kind = 'reschedule' and status = 'sent'`)
		}, func(got int) bool { return got == n })
	}

	var got scheduledEvent
	s.post(path+"/postpone", `{"message":"The hall is flooded."}`, asOperator).ok(200, &got)
	if got.Status != "postponed" || got.Was != "on_sale" || !got.Changed || got.Told != 1 || got.Room.State != "paused" {
		t.Fatalf("%+v", got)
	}
	told(1)
	s.post(path+"/postpone", `{}`, asOperator).ok(200, &got) // the answer was lost
	if got.Changed || got.Told != 0 {
		t.Errorf("twice: %+v", got)
	}
	// Nobody holds, orders or pays.
	s.post("/v1/events/"+s.event+"/holds", `{"tickets":["`+s.tickets[5]+`"]}`, bearing(buyer.Pass)).refused(409, "conflict")
	s.post("/v1/orders", `{"hold":"`+waiting.Hold+`",`+someBuyer+`}`, bearing(buyer.Pass), keyed(uuid.NewString())).refused(409, "conflict")
	s.post("/v1/orders/"+open.Order+"/pay", `{"method":"tok_ok"}`, bearing(open.Token), keyed(uuid.NewString())).refused(409, "conflict")
	if m := s.join(s.event); m.Room.State != "paused" || m.Room.Message == nil || *m.Room.Message != "The hall is flooded." {
		t.Errorf("the room says %+v", m.Room)
	}

	// The new date is another change; the doors come along.
	s.post(path+"/postpone", `{"starts_at":"2032-05-01T19:00:00Z"}`, asOperator).ok(200, &got)
	if !got.Changed || got.Told != 1 || got.StartsAt.Year() != 2032 || got.DoorsAt == nil || !got.DoorsAt.Equal(got.StartsAt.Add(-time.Hour)) {
		t.Errorf("%+v", got)
	}
	told(2)
	if m := s.join(s.event); m.Room.Message == nil || !strings.Contains(*m.Room.Message, "1 May 2032") {
		t.Errorf("the room says %+v", m.Room)
	}
	s.post(path+"/publish", `{"starts_at":"2032-05-02T19:00:00Z"}`, asOperator).ok(200, &got)
	if got.Status != "on_sale" || got.Was != "postponed" || got.Told != 1 || got.Room.State != "open" {
		t.Errorf("%+v", got)
	}
	told(3)
	var texts string
	for _, m := range post.mails() {
		texts += m.Text
	}
	for _, want := range []string{"does not take place on Thursday 1 May 2031", "The hall is flooded.", "Saturday 1 May 2032", "Sunday 2 May 2032"} {
		if !strings.Contains(texts, want) {
			t.Errorf("nobody was told %q", want)
		}
	}
	if m := s.join(s.event); m.Room.Message != nil && *m.Room.Message != "" {
		t.Errorf("the room still says %q", *m.Room.Message)
	}
	s.held(s.event, s.admitted(s.event).Pass, s.tickets[6])
	s.post(path+"/publish", `{"starts_at":"2032-05-03T19:00:00Z"}`, asOperator).refused(409, "conflict")
	s.post(path+"/publish", ``, asOperator).ok(200, &got)
	if got.Changed {
		t.Errorf("published twice: %+v", got)
	}
	if n := query[int](s, `select count(*) from audit_log where subject = $1 and action in ('event.postpone', 'event.publish')`, s.event); n != 5 {
		t.Errorf("the audit log has %d entries", n)
	}
}

// TestMovedEventsAreTold whichever way they are moved, once for each change.
func TestMovedEventsAreTold(t *testing.T) {
	t.Parallel()
	post := &mailbox{}
	s := newStage(t, stageOptions{mail: post})
	buyer := s.admitted(s.event)
	done := s.paid(s.ordered(buyer.Pass, s.held(s.event, buyer.Pass, s.tickets[0])), "tok_ok")
	eventually(t, "fulfilled", func() order { return s.orderNow(done) }, func(o order) bool { return o.Status == "fulfilled" })
	path := "/v1/admin/events/" + s.event
	sent := 0
	told := func(what string, r reply, want int) {
		t.Helper()
		var got struct{ Told *int }
		r.ok(200, &got)
		if got.Told == nil || *got.Told != want {
			t.Errorf("%s: %s", what, r.body)
		}
		sent += want
		// All that are due are there at once; a further one would be, too.
		if n := query[int](s, `select count(*) from emails where kind = 'reschedule'`); n != sent {
			t.Errorf("%s: %d e-mails, not %d", what, n, sent)
		}
	}
	edited := func(members map[string]any) string {
		t.Helper()
		doc := s.documentOf(s.event)
		maps.Copy(doc, members)
		return text(t, doc)
	}
	told("a name", s.do(http.MethodPatch, path, `{"name":"Duo at the mill"}`, asOperator), 0)
	told("PATCH", s.do(http.MethodPatch, path, `{"starts_at":"2031-05-02T19:00:00Z","doors_at":"2031-05-02T18:00:00Z"}`, asOperator), 1)
	told("PATCH again", s.do(http.MethodPatch, path, `{"starts_at":"2031-05-02T21:00:00+02:00"}`, asOperator), 0)
	next := map[string]any{"starts_at": "2031-05-03T19:00:00Z", "doors_at": "2031-05-03T18:00:00Z"}
	told("PUT, dry", s.do(http.MethodPut, path+"?dry_run=true", edited(next), asOperator), 0)
	told("PUT", s.do(http.MethodPut, path, edited(next), asOperator), 1)
	told("PUT again", s.do(http.MethodPut, path, edited(next), asOperator), 0)
	told("PUT of a change", s.do(http.MethodPut, path, `{"doors_at":"2031-05-03T17:30:00Z"}`, asOperator), 1)
	told("in another time zone", s.do(http.MethodPut, path, edited(map[string]any{"starts_at": "2031-05-03T19:00:00", "timezone": "America/New_York"}), asOperator), 1)
	told("quietly by PATCH", s.do(http.MethodPatch, path+"?notify=false", `{"starts_at":"2031-05-04T19:00:00Z"}`, asOperator), 0)
	told("quietly by PUT", s.do(http.MethodPut, path+"?notify=false", edited(map[string]any{"starts_at": "2031-05-05T19:00:00Z"}), asOperator), 0)
	told("notify=true", s.do(http.MethodPatch, path+"?notify=true", `{"starts_at":"2031-05-06T19:00:00Z"}`, asOperator), 1)
	told("postponed", s.post(path+"/postpone", `{"starts_at":"2031-05-07T19:00:00Z"}`, asOperator), 1)
	told("while postponed", s.do(http.MethodPatch, path, `{"starts_at":"2031-05-08T19:00:00Z"}`, asOperator), 1)
	told("withdrawn", s.do(http.MethodPatch, path, `{"status":"draft"}`, asOperator), 0)
	told("a draft", s.do(http.MethodPatch, path, `{"starts_at":"2031-05-09T19:00:00Z"}`, asOperator), 0)
	if n := query[int](s, `select count(*) from audit_log where subject = $1 and action = 'event.update' and detail->>'quiet' = 'true'`, s.event); n != 1 {
		t.Errorf("%d quiet changes are noted", n)
	}
	eventually(t, "all e-mails are sent", func() int {
		return query[int](s, `select count(*) from emails where kind = 'reschedule' and status = 'sent'`)
	}, func(n int) bool { return n == sent })
	var texts string
	for _, m := range post.mails() {
		texts += m.Text
	}
	for _, want := range []string{"at another time than Thursday 1 May 2031", "at another time than Friday 2 May 2031"} {
		if !strings.Contains(texts, want) {
			t.Errorf("nobody was told %q", want)
		}
	}
}

// TestWhatIsOverStaysSo whoever asks, and by which way.
func TestWhatIsOverStaysSo(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	ended, draft := s.newEvent("Ended", "ended"), s.newEvent("Draft", "draft")
	s.post("/v1/admin/events/"+s.event+"/cancel", `{}`, asOperator).ok(202, nil)
	for _, event := range []string{ended, s.event} {
		path := "/v1/admin/events/" + event
		s.post(path+"/publish", ``, asOperator).refused(409, "conflict")
		s.post(path+"/postpone", ``, asOperator).refused(409, "conflict")
		s.do(http.MethodPatch, path, `{"status":"on_sale"}`, asOperator).refused(409, "conflict")
		doc := s.documentOf(event)
		doc["status"] = "on_sale"
		delete(doc, "room")
		s.do(http.MethodPut, path, text(t, doc), asOperator).refused(409, "conflict")
	}
	s.post("/v1/admin/events/"+draft+"/postpone", ``, asOperator).refused(409, "conflict")
	s.post("/v1/admin/events/"+ended+"/cancel", `{}`, asOperator).ok(202, nil) // the money goes back even so
}

// TestPublishingCountsDown: an event is on sale when its room opens, and not before.
func TestPublishingCountsDown(t *testing.T) {
	t.Parallel()
	s := newStage(t, stageOptions{})
	event := s.newEvent("Counted down", "draft")
	opens := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	body := fmt.Sprintf(`{"opens_at":%q,"lobby_opens_at":%q}`, opens.Format(time.RFC3339), opens.Add(-time.Minute).Format(time.RFC3339))
	var got scheduledEvent
	s.post("/v1/admin/events/"+event+"/publish", body, asOperator).ok(200, &got)
	if got.Was != "draft" || got.Room.State != "scheduled" || got.Told != 0 {
		t.Errorf("%+v", got)
	}
	room, err := s.rooms.Room(t.Context(), event)
	must(t, err)
	if !room.OpensAt.Equal(opens) || room.State != waitroom.Scheduled {
		t.Errorf("%+v", room.Settings)
	}
	// A line goes on where it was: it does not become a countdown.
	s.join(s.event)
	s.post("/v1/admin/events/"+s.event+"/publish", body, asOperator).refused(409, "conflict")

	// Postponed while it counts down, it does not open by itself.
	s.post("/v1/admin/events/"+event+"/postpone", ``, asOperator).ok(200, &got)
	if room, err = s.rooms.Room(t.Context(), event); err != nil || !room.OpensAt.IsZero() || room.Message == "" {
		t.Errorf("%+v, %v", room.Settings, err)
	}
	s.post("/v1/admin/events/"+event+"/publish", body, asOperator).ok(200, &got)
	if room, err = s.rooms.Room(t.Context(), event); err != nil || !room.OpensAt.Equal(opens) || room.Message != "" {
		t.Errorf("%+v, %v", room.Settings, err)
	}
}
