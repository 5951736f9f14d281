package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"onsale/internal/fault"
)

// seriesDoc is a document with the given members about time.
func seriesDoc(members string) []byte {
	return fmt.Appendf(nil, `{"name": "Season", "currency": "EUR", "timezone": "Europe/Berlin", "venue": {"name": "Hall"},
	  "areas": [{"name": "Floor", "capacity": 4, "price": 3000}], %s}`, members)
}

func datesOf(t *testing.T, members string) []NewEvent {
	t.Helper()
	e, _, err := ParseEvent(seriesDoc(members))
	if err != nil {
		t.Fatalf("%s: %v", members, err)
	}
	return e.Performances()
}

func starts(all []NewEvent) (list []string) {
	for _, e := range all {
		list = append(list, e.StartsAt.Format(time.RFC3339))
	}
	return list
}

func TestRepeatedDatesKeepTheirTimeOfDay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ members, want string }{
		// Across both changes of the clock.
		{`"starts_at": "2027-03-19T19:30", "repeat": "FREQ=WEEKLY;COUNT=3"`, "2027-03-19T19:30:00+01:00 2027-03-26T19:30:00+01:00 2027-04-02T19:30:00+02:00"},
		{`"starts_at": "2027-10-30T19:30", "repeat": "rrule:freq=daily;count=3"`, "2027-10-30T19:30:00+02:00 2027-10-31T19:30:00+01:00 2027-11-01T19:30:00+01:00"},
		// A start with an offset is that time of day, too.
		{`"starts_at": "2027-03-19T18:30:00Z", "repeat": "FREQ=WEEKLY;INTERVAL=2;UNTIL=20270403"`, "2027-03-19T19:30:00+01:00 2027-04-02T19:30:00+02:00"},
		// The last day is included, and a time in UTC is that time.
		{`"starts_at": "2027-03-26T19:30", "repeat": "FREQ=WEEKLY;BYDAY=FR,SA;UNTIL=20270402"`, "2027-03-26T19:30:00+01:00 2027-03-27T19:30:00+01:00 2027-04-02T19:30:00+02:00"},
		{`"starts_at": "2027-03-26T19:30", "repeat": "FREQ=WEEKLY;BYDAY=FR,SA;UNTIL=20270402T172959Z"`, "2027-03-26T19:30:00+01:00 2027-03-27T19:30:00+01:00"},
		{`"starts_at": "2027-03-26T19:30", "repeat": "FREQ=WEEKLY;BYDAY=FR,SA;UNTIL=20270402T173000Z"`, "2027-03-26T19:30:00+01:00 2027-03-27T19:30:00+01:00 2027-04-02T19:30:00+02:00"},
		{`"starts_at": "2027-01-31T20:00", "repeat": "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3"`, "2027-01-31T20:00:00+01:00 2027-02-28T20:00:00+01:00 2027-03-31T20:00:00+02:00"},
		{`"starts_at": "2027-03-05T19:30", "repeat": "FREQ=WEEKLY;BYDAY=FR;COUNT=4", "except": ["2027-03-12", "2027-03-26T19:30"]`, "2027-03-05T19:30:00+01:00 2027-03-19T19:30:00+01:00"},
		// Half past two does not exist on the 28th of March, and is there twice on the 31st of October.
		{`"starts_at": "2027-03-27T02:30", "repeat": "FREQ=DAILY;COUNT=3"`, "2027-03-27T02:30:00+01:00 2027-03-28T03:30:00+02:00 2027-03-29T02:30:00+02:00"},
		{`"starts_at": "2027-10-30T02:30", "repeat": "FREQ=DAILY;COUNT=3"`, "2027-10-30T02:30:00+02:00 2027-10-31T02:30:00+02:00 2027-11-01T02:30:00+01:00"},
		{`"dates": ["2027-10-31T02:30", "2027-03-28T02:30", "2027-03-28T12:00:00Z"]`, "2027-03-28T03:30:00+02:00 2027-03-28T12:00:00Z 2027-10-31T02:30:00+02:00"},
	} {
		if got := strings.Join(starts(datesOf(t, c.members)), " "); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.members, got, c.want)
		}
	}
}

// What the clocks skip or show twice is the same for one event as for a date, in
// every zone.
func TestTimesThatTheClocksSkipOrRepeat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, given, want string }{
		{"Europe/Berlin", "2027-03-28T02:30", "2027-03-28T03:30:00+02:00"},
		{"Europe/Berlin", "2027-10-31T02:30", "2027-10-31T02:30:00+02:00"},
		{"America/New_York", "2027-03-14T02:30", "2027-03-14T03:30:00-04:00"},
		{"America/New_York", "2027-11-07T01:30", "2027-11-07T01:30:00-04:00"},
		{"Australia/Lord_Howe", "2027-10-03T02:15", "2027-10-03T02:45:00+11:00"}, // half an hour only
		{"Asia/Kathmandu", "2027-10-03T02:15", "2027-10-03T02:15:00+05:45"},
		{"UTC", "2027-03-28T02:30", "2027-03-28T02:30:00Z"},
	} {
		doc := strings.Replace(string(seriesDoc(`"starts_at": "`+c.given+`"`)), "Europe/Berlin", c.zone, 1)
		e, _, err := ParseEvent([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if got := e.StartsAt.Format(time.RFC3339); got != c.want || e.Dates != nil {
			t.Errorf("%s in %s is %s, want %s", c.given, c.zone, got, c.want)
		}
	}
}

func TestDatesHaveDoorsAndRoomsOfTheirOwn(t *testing.T) {
	t.Parallel()
	// Doors of the first date, an hour earlier; over the change of the clock, too.
	all := datesOf(t, `"starts_at": "2027-03-27T19:30", "doors_at": "2027-03-27T18:30", "repeat": "FREQ=DAILY;COUNT=2", "room": {"opens_at": "2027-01-01T10:00"}`)
	for i, want := range []string{"2027-03-27T18:30:00+01:00", "2027-03-28T18:30:00+02:00"} {
		e := all[i]
		if e.DoorsAt == nil || e.DoorsAt.Format(time.RFC3339) != want || e.Room.OpensAt == nil || e.Room.State != "scheduled" ||
			e.Room.OpensAt.Format(time.RFC3339) != "2027-01-01T10:00:00+01:00" {
			t.Errorf("date %d: doors %v, room %+v", i, e.DoorsAt, e.Room)
		}
	}
	all = datesOf(t, `"doors_at": "2027-03-01T19:00", "dates": ["2027-03-01T19:30",
	  {"id": "01980000-0000-7000-8000-000000000001", "starts_at": "2027-03-02T15:00", "doors_at": "2027-03-02T14:00", "status": "draft",
	   "room": {"opens_at": "2027-02-01T10:00", "closes_at": "2027-03-02T14:00"}}, {"starts_at": "2027-03-03T19:30"}]`)
	if all[0].DoorsAt.Format("15:04") != "19:00" || all[1].DoorsAt.Format("15:04") != "14:00" || all[2].DoorsAt.Format("02 15:04") != "03 19:00" {
		t.Errorf("doors open at %v, %v, %v", all[0].DoorsAt, all[1].DoorsAt, all[2].DoorsAt)
	}
	second := all[1]
	if second.ID == "" || second.Status != "draft" || second.Room.State != "scheduled" || second.Room.ClosesAt == nil || !second.said["status"] {
		t.Errorf("the second date is %+v", second)
	}
	if all[0].Status != "on_sale" || all[0].Room.State != "open" || all[0].Room.OpensAt != nil || all[0].said["status"] {
		t.Errorf("the first date is %+v", all[0])
	}
	for _, e := range all {
		if e.Dates != nil {
			t.Error("a date has dates")
		}
		if _, _, err := Compose(NewEvent{Name: e.Name, StartsAt: e.StartsAt, DoorsAt: e.DoorsAt, Venue: e.Venue, Currency: e.Currency, Areas: e.Areas, Room: e.Room}, func() string { return "" }); err != nil {
			t.Error(err)
		}
	}
}

func TestDatesThatCannotBe(t *testing.T) {
	t.Parallel()
	start := `"starts_at": "2027-03-05T19:30", `
	for _, c := range []struct{ members, path, says string }{
		{`"dates": []`, "$.dates", "no date"},
		{`"dates": "2027-03-01T19:30"`, "$.dates", "array"},
		{`"dates": [7]`, "$.dates[0]", "time"},
		{`"dates": ["soon"]`, "$.dates[0]", "time"},
		{`"dates": ["2027-03-01T19:30", "2027-03-01T18:30:00Z"]`, "$.dates[1]", "twice"},
		{`"dates": ["1027-03-01T19:30"]`, "$.dates[0]", "year"},
		{`"dates": [{}]`, "$.dates[0]", "starts_at"},
		{`"dates": [{"starts_at": "2027-03-01T19:30", "price": 1}]`, "$.dates[0].price", "not known"},
		{`"dates": [{"starts_at": "2027-03-01T19:30", "id": "1"}]`, "$.dates[0].id", "id"},
		{`"dates": [{"starts_at": "2027-03-01T19:30", "status": "sold"}]`, "$.dates[0].status", "one of"},
		{`"dates": [{"starts_at": "2027-03-01T19:30", "doors_at": "2027-03-01T19:31"}]`, "$.dates[0].doors_at", "after"},
		{`"dates": [{"starts_at": "2027-03-01T19:30", "room": {"state": "open"}}]`, "$.dates[0].room.state", "not known"},
		{`"dates": ["2027-03-01T19:30"], "starts_at": "2027-03-01T19:30"`, "$.starts_at", "dates say"},
		{`"dates": ["2027-03-01T19:30"], "repeat": "FREQ=DAILY;COUNT=2"`, "$.repeat", "either"},
		{`"dates": ["2027-03-01T19:30"], "except": ["2027-03-01"]`, "$.except", "repeat"},
		{`"dates": ["2027-03-01T19:30"], "doors_at": "2027-03-02T19:30"`, "$.doors_at", "after"},
		{`"dates": ["2027-03-05T19:30"], "doors_at": "2027-03-02T19:30"`, "$.doors_at", "a day before"},
		{`"dates": [` + strings.Repeat(`"2027-03-01T19:30",`, mostDates) + `"2027-03-01T19:30"]`, "$.dates", "more than 366"},
		{start + `"except": ["2027-03-01"]`, "$.except", "no repeat"},
		{`"repeat": "FREQ=DAILY;COUNT=2"`, "$.starts_at", "missing"},
		{start + `"repeat": 7`, "$.repeat", "not known"},
		{start + `"repeat": {}`, "$.repeat", "string"},
		{start + `"repeat": "weekly"`, "$.repeat", "not known"},
		{start + `"repeat": "COUNT=2"`, "$.repeat", "FREQ"},
		{start + `"repeat": "FREQ=HOURLY;COUNT=2"`, "$.repeat", "FREQ"},
		{start + `"repeat": "FREQ=SECONDLY;COUNT=2"`, "$.repeat", "FREQ"},
		{start + `"repeat": "FREQ=DAILY"`, "$.repeat", "COUNT or UNTIL"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2;UNTIL=20280101"`, "$.repeat", "COUNT or UNTIL"},
		{start + `"repeat": "FREQ=DAILY;COUNT=0"`, "$.repeat", "from 1"},
		{start + `"repeat": "FREQ=DAILY;COUNT=367"`, "$.repeat", "from 1"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2;COUNT=3"`, "$.repeat", "twice"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2;INTERVAL=0"`, "$.repeat", "INTERVAL"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2;INTERVAL=-1"`, "$.repeat", "INTERVAL"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2;BYHOUR=1,2"`, "$.repeat", "BYHOUR"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2;DTSTART=20270101"`, "$.repeat", "DTSTART"},
		{start + `"repeat": "FREQ=WEEKLY;BYDAY=XX;COUNT=2"`, "$.repeat", "XX"},
		{start + `"repeat": "FREQ=WEEKLY;BYMONTH=13;COUNT=2"`, "$.repeat", "rule"},
		{start + `"repeat": "FREQ=WEEKLY;UNTIL=tomorrow"`, "$.repeat", "rule"},
		{start + `"repeat": "FREQ=DAILY;UNTIL=20990101"`, "$.repeat", "10 years"},
		{start + `"repeat": "FREQ=DAILY;UNTIL=20280601"`, "$.repeat", "more than 366 dates"},
		{start + `"repeat": "FREQ=DAILY;UNTIL=20270101"`, "$.repeat", "no date"},
		{start + `"repeat": "FREQ=WEEKLY;BYDAY=SA;COUNT=2"`, "$.repeat", "none of its dates"},
		{start + `"repeat": "FREQ=YEARLY;COUNT=20"`, "$.repeat", "10 years"},
		{start + `"repeat": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30;COUNT=1"`, "$.repeat", "no date"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2", "except": ["2027-04-01"]`, "$.except[0]", "none of the dates"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2", "except": [7]`, "$.except[0]", "day"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2", "except": ["x"]`, "$.except[0]", "time"},
		{start + `"repeat": "FREQ=DAILY;COUNT=2", "except": ["2027-03-05", "2027-03-06"]`, "$.dates", "no date"},
	} {
		_, _, err := ParseEvent(seriesDoc(c.members))
		f, ok := fault.Of(err)
		if !ok {
			t.Errorf("%s: %v", c.members, err)
			continue
		}
		problems, _ := f.Members["problems"].([]Problem)
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Path == c.path && strings.Contains(p.Message, c.says) }) || len(problems) > 2 {
			t.Errorf("%.200s: %v, want %s … %s", c.members, problems, c.path, c.says)
		}
	}
}

func TestWrittenSeriesReadsBack(t *testing.T) {
	t.Parallel()
	e, _, err := ParseEvent(seriesDoc(`"id": "01980000-0000-7000-8000-00000000000a", "starts_at": "2027-03-26T19:30", "doors_at": "2027-03-26T19:00", "repeat": "FREQ=WEEKLY;COUNT=3"`))
	if err != nil {
		t.Fatal(err)
	}
	e.Dates.All[1].Status = "cancelled"
	doc, err := e.Document()
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := ParseEvent(doc)
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	if again.Dates == nil || again.Dates.Series != e.Dates.Series || again.ID != "" || !slices.Equal(starts(again.Performances()), starts(e.Performances())) ||
		again.Performances()[1].Status != "cancelled" || !again.Performances()[2].DoorsAt.Equal(*e.Performances()[2].DoorsAt) {
		t.Errorf("came back as %+v from %s", again.Dates, doc)
	}
}

func FuzzRecurrence(f *testing.F) {
	for _, rule := range []string{"FREQ=WEEKLY;BYDAY=FR,SA;COUNT=10", "FREQ=MONTHLY;BYDAY=-1FR;BYSETPOS=1;UNTIL=20280101T000000Z", "FREQ=YEARLY;BYWEEKNO=53,-1;WKST=SU;COUNT=3", "FREQ=YEARLY;BYYEARDAY=366;UNTIL=20360101", ";;=,"} {
		f.Add(rule, int64(1_800_000_000))
	}
	place, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rule string, at int64) {
		start := time.Unix(at%10_000_000_000, 0)
		if len(rule) > mostText || start.Year() < 2000 || start.Year() > 2200 {
			return
		}
		dates, err := recur(rule, start, place)
		if err != nil {
			return
		}
		if len(dates) == 0 || len(dates) > mostDates || !onTheClock(dates[0], place).Equal(onTheClock(start, place)) {
			t.Fatalf("%q from %s has %d dates, from %s", rule, start, len(dates), dates[0])
		}
		if !slices.IsSortedFunc(dates, time.Time.Compare) {
			t.Fatalf("%q is not in order: %v", rule, dates)
		}
	})
}
