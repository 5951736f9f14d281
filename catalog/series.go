package catalog

import (
	"maps"
	"slices"
	"time"

	"onsale/internal/fault"
)

// SeriesName is the series that an event is one of the dates of.
type SeriesName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Series is several dates of one thing, each an event of its own.
type Series struct {
	SeriesName
	Events []Event // drafts included, by their start; mostDates at most
}

// Dates are the dates of a document that has several.
type Dates struct {
	Series string // id of a series that exists; "": a new one, or the one that has these dates
	All    []Date // in the order of their start
}

// Date is what one of several dates has for itself.
type Date struct {
	Event        string // id of an event that exists; "": a new one, or the one at this time
	StartsAt     time.Time
	DoorsAt      *time.Time
	Status       string // "": as the document says
	OpensAt      *time.Time
	LobbyOpensAt *time.Time
	ClosesAt     *time.Time
}

// ImportedSeries is what an import of a series did, or would do.
type ImportedSeries struct {
	Series  SeriesName // without an id: it would be created
	IsNew   bool
	Changes []Difference   // of the series itself
	Dates   []ImportedDate // as Performances has them
	Notes   []string       // what the series has and the document does not
}

// ImportedDate is one date of them.
type ImportedDate struct {
	ID       string // "": it would be created
	StartsAt time.Time
	IsNew    bool
	Joined   bool  // was there without the series
	Event    Event // of a new one that was created
	Tickets  int   // of a new one
	Revision Revision
}

// unsaid is a start that is not missed, where something else was found wrong.
var unsaid = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// MostSeriesTickets is how many tickets one import of a series may create.
const MostSeriesTickets = 1_000_000

// MostDates is how many dates a series may have.
const MostDates = mostDates

// Performances are the events of a document: one for each date, or itself.
func (e NewEvent) Performances() []NewEvent {
	if e.Dates == nil {
		return []NewEvent{e}
	}
	all := make([]NewEvent, len(e.Dates.All))
	for i, d := range e.Dates.All {
		one := e
		one.Dates, one.ID, one.StartsAt, one.DoorsAt = nil, d.Event, d.StartsAt, d.DoorsAt
		one.said = maps.Clone(e.said)
		if d.DoorsAt != nil {
			one.said["doors_at"] = true
		}
		if d.Status != "" {
			one.Status, one.said["status"] = d.Status, true
		}
		if d.OpensAt != nil {
			one.Room.OpensAt = d.OpensAt
			one.said["room"], one.said["room.opens_at"] = true, true
			if !e.said["room.state"] {
				one.Room.State = "scheduled"
			}
		}
		if d.LobbyOpensAt != nil {
			one.Room.LobbyOpensAt = d.LobbyOpensAt
			one.said["room"], one.said["room.lobby_opens_at"] = true, true
		}
		if d.ClosesAt != nil {
			one.Room.ClosesAt = d.ClosesAt
			one.said["room"], one.said["room.closes_at"] = true, true
		}
		all[i] = one
	}
	return all
}

// OfDate says which of the dates could not be: err is a fault about one of them.
func OfDate(err error, one NewEvent) error {
	f, ok := fault.Of(err)
	if !ok {
		return err
	}
	at := one.StartsAt.In(one.Zone()).Format(time.RFC3339)
	dated := *f
	dated.Detail, dated.Members = "the date "+at+": "+f.Detail, maps.Clone(f.Members)
	if problems, ok := f.Members["problems"].([]Problem); ok {
		problems = slices.Clone(problems)
		for i := range problems {
			problems[i].Message = "on " + at + ": " + problems[i].Message
		}
		dated.Members["problems"] = problems
	}
	return &dated
}

// Zone is the event's time zone, UTC where there is none of this name.
func (e NewEvent) Zone() *time.Location {
	if place, err := time.LoadLocation(e.Timezone); err == nil {
		return place
	}
	return time.UTC
}

// ShareRooms gives a document with dates what their rooms have in common, and each date
// the times at which its own does otherwise. rooms has one for each date.
func (e *NewEvent) ShareRooms(rooms []RoomSettings) {
	r := rooms[0]
	for _, o := range rooms[1:] {
		common(&r.State, o.State)
		common(&r.Message, o.Message)
		common(&r.RatePerMinute, o.RatePerMinute)
		common(&r.Burst, o.Burst)
		common(&r.MaxShoppers, o.MaxShoppers)
		common(&r.Lease, o.Lease)
		common(&r.ClaimWindow, o.ClaimWindow)
		common(&r.Grace, o.Grace)
		common(&r.Order, o.Order)
		common(&r.InviteOnly, o.InviteOnly)
		common(&r.Challenge, o.Challenge)
		common(&r.PublicSource, o.PublicSource)
	}
	for _, at := range [...]struct {
		of func(*RoomSettings) **time.Time
		in func(*Date) **time.Time
	}{
		{func(r *RoomSettings) **time.Time { return &r.OpensAt }, func(d *Date) **time.Time { return &d.OpensAt }},
		{func(r *RoomSettings) **time.Time { return &r.LobbyOpensAt }, func(d *Date) **time.Time { return &d.LobbyOpensAt }},
		{func(r *RoomSettings) **time.Time { return &r.ClosesAt }, func(d *Date) **time.Time { return &d.ClosesAt }},
	} {
		first := *at.of(&rooms[0])
		if !slices.ContainsFunc(rooms, func(o RoomSettings) bool { return !sameTime(*at.of(&o), first) }) {
			continue
		}
		*at.of(&r) = nil
		for i := range e.Dates.All {
			*at.in(&e.Dates.All[i]) = *at.of(&rooms[i])
		}
	}
	e.Room = r
}

// common keeps what both have.
func common[T comparable](v *T, other T) {
	if *v != other {
		var none T
		*v = none
	}
}

func sameTime(a, b *time.Time) bool { return (a == nil) == (b == nil) && (a == nil || a.Equal(*b)) }

// dates reads "dates", or "starts_at" with "repeat" and "except". What the document
// says of doors is about the first date, and the others have them as long before.
func (r *review) dates(root *node, e *NewEvent) {
	list, repeat, except := root.given("dates"), root.given("repeat"), root.given("except")
	if list == nil && repeat == nil {
		if except != nil {
			r.problemf(except, "there is no repeat that these days could be missing from")
		}
		return
	}
	place, err := time.LoadLocation(e.Timezone)
	if err != nil || e.Timezone == "Local" {
		e.StartsAt = unsaid
		return // the zone itself is reported
	}
	d, before := &Dates{Series: e.ID}, r.found
	e.ID = ""
	switch {
	case list != nil && repeat != nil:
		r.problemf(repeat, "an event has either a list of dates or a rule that repeats it")
	case list != nil:
		if except != nil {
			r.problemf(except, "belongs to repeat; what is not in the list of dates is no date")
		}
		if s := root.given("starts_at"); s != nil {
			r.problemf(s, "the dates say when it starts")
		}
		d.All = r.listed(root, e.Timezone)
	default:
		d.All = r.repeated(repeat, root, e.StartsAt, place)
	}
	if len(d.All) == 0 {
		if r.found == before { // why is told
			r.problemAtf("$.dates", "there is no date")
		}
		e.StartsAt = unsaid
		return
	}
	slices.SortStableFunc(d.All, func(a, b Date) int { return a.StartsAt.Compare(b.StartsAt) })
	e.Dates, e.StartsAt = d, d.All[0].StartsAt
	r.doors(e, place)
}

// doors gives every date without its own the document's.
func (r *review) doors(e *NewEvent, place *time.Location) {
	all := e.Dates.All
	if e.DoorsAt != nil {
		before := onTheClock(*e.DoorsAt, place).Sub(onTheClock(e.StartsAt, place))
		if before < -24*time.Hour {
			r.problemAtf("$.doors_at", "is more than a day before the first date, of which it is said")
		}
		for i := range all {
			if all[i].DoorsAt == nil {
				t := atTheClock(onTheClock(all[i].StartsAt, place).Add(before), place)
				all[i].DoorsAt = &t
			}
		}
	} else if all[0].DoorsAt != nil {
		e.DoorsAt = all[0].DoorsAt
	}
}

func (r *review) listed(root *node, zone string) []Date {
	items := r.array(root, "dates")
	if len(items) > mostDates {
		r.problemf(root.get("dates"), "are %d, more than %d", len(items), mostDates)
		return nil
	}
	var all []Date
	at := make(map[int64]bool)
	ids := make(map[string]bool)
	for _, m := range items {
		var d Date
		var starts *time.Time
		if m.kind == isObject {
			starts = r.date(m, zone, &d)
		} else {
			starts = r.timeOf(m, zone)
		}
		if starts == nil {
			continue
		}
		d.StartsAt = *starts
		switch year := d.StartsAt.Year(); {
		case year < 2000 || year > 2200:
			r.problemf(m, "is not a plausible year")
		case at[d.StartsAt.UnixNano()]:
			r.problemf(m, "stands twice among the dates")
		case d.Event != "" && ids[d.Event]:
			r.problemf(m, "the id of another date is given again")
		case d.DoorsAt != nil && d.DoorsAt.After(d.StartsAt):
			r.problemf(m.get("doors_at"), "is after starts_at")
		}
		at[d.StartsAt.UnixNano()], ids[d.Event] = true, true
		all = append(all, d)
	}
	return all
}

// date reads a date that says more than when it starts.
func (r *review) date(m *node, zone string, d *Date) (starts *time.Time) {
	if !r.object(m, r.strange, "id", "starts_at", "doors_at", "status", "room") {
		return nil
	}
	if d.Event = r.text(m, "id"); d.Event != "" && !IsID(d.Event) {
		r.problemf(m.get("id"), "is not the id of an event")
	}
	if m.given("starts_at") == nil {
		r.problemf(m, "starts_at is missing")
	}
	d.DoorsAt = r.time(m, "doors_at", zone)
	if d.Status = r.text(m, "status"); d.Status != "" && !slices.Contains(eventStatuses, d.Status) {
		r.problemf(m.get("status"), "must be one of draft, on_sale, postponed, cancelled, ended")
	}
	if room := m.given("room"); room != nil && r.object(room, r.strange, "opens_at", "lobby_opens_at", "closes_at") {
		d.OpensAt, d.LobbyOpensAt, d.ClosesAt = r.time(room, "opens_at", zone), r.time(room, "lobby_opens_at", zone), r.time(room, "closes_at", zone)
	}
	return r.time(m, "starts_at", zone)
}

func (r *review) repeated(repeat, root *node, start time.Time, place *time.Location) []Date {
	rule := r.textOf(repeat, mostText)
	if rule == "" || start.IsZero() {
		if rule != "" {
			r.problemAtf("$.starts_at", "is missing")
		}
		return nil
	}
	times, err := recur(rule, start, place)
	if err != nil {
		r.problemf(repeat, "%s", err)
		return nil
	}
	for _, m := range r.array(root, "except") {
		if m.kind != isString {
			r.problemf(m, "a day such as 2027-04-02 is expected, not %s", m.kind)
			continue
		}
		var left []time.Time
		if day, err := time.Parse(time.DateOnly, m.text); err == nil {
			left = slices.DeleteFunc(slices.Clone(times), func(t time.Time) bool {
				return onTheClock(t, place).Truncate(24 * time.Hour).Equal(day)
			})
		} else if at := r.timeOf(m, place.String()); at != nil {
			left = slices.DeleteFunc(slices.Clone(times), at.Equal)
		} else {
			continue
		}
		if len(left) == len(times) {
			r.problemf(m, "is none of the dates")
		}
		times = left
	}
	all := make([]Date, len(times))
	for i, t := range times {
		all[i].StartsAt = t
	}
	return all
}
