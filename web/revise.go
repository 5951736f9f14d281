package web

import (
	"context"
	"slices"
	"time"

	"onsale/catalog"
	"onsale/internal/fault"
	"onsale/waitroom"
)

// Reviser makes events and series what their documents say, with their rooms. Events
// are in Postgres and rooms in Redis: what can be refused is refused before anything is
// done, and then the rooms come first. Where that is cut short, the same document again
// does the rest.
type Reviser struct {
	Store Revised
	Rooms Rooms // nil: they stay as they are, which is noted
	// Record notes an operator's doing in the audit log, before it is done. What is done
	// to events is noted with it, by the store.
	Record func(ctx context.Context, action, subject string, detail any) error
}

// Revised is where the events are; the catalog's pgstore.Store is one.
type Revised interface {
	ReviseEvent(ctx context.Context, id string, doc catalog.NewEvent, how catalog.Revising) (catalog.Revision, error)
	ImportSeries(ctx context.Context, doc catalog.NewEvent, how catalog.Revising) (catalog.ImportedSeries, error)
}

// Rooms is where the settings of rooms are; *waitroom.Service is one.
type Rooms interface {
	Room(ctx context.Context, event string) (waitroom.Room, error)
	Configure(ctx context.Context, event string, p waitroom.Patch) error
	Message(ctx context.Context, event, text string) error
}

// Event makes an event what its document says. The answer tells of the room, too. Its
// errors are those of the store and of the room.
func (v Reviser) Event(ctx context.Context, id string, doc catalog.NewEvent, how catalog.Revising) (r catalog.Revision, err error) {
	how.RoomsToo = v.Rooms != nil
	var room roomRevision
	if how.RoomsToo && doc.Says("room") {
		try := how
		try.DryRun = true
		if r, err = v.Store.ReviseEvent(ctx, id, doc, try); err == nil {
			room, err = v.reviseRoom(ctx, id, &doc)
		}
		if err == nil && !how.DryRun {
			err = v.configure(ctx, id, room)
		}
	}
	if err == nil {
		r, err = v.Store.ReviseEvent(ctx, id, doc, how)
	}
	return room.within(r), err
}

// Series makes a series what its document says, and so the room of each date that was
// there before. Rooms of dates that are created are made from their rows.
func (v Reviser) Series(ctx context.Context, doc catalog.NewEvent, how catalog.Revising) (done catalog.ImportedSeries, err error) {
	how.RoomsToo = v.Rooms != nil
	dates := doc.Performances()
	rooms := make([]roomRevision, len(dates))
	if how.RoomsToo && slices.ContainsFunc(dates, func(one catalog.NewEvent) bool { return one.Says("room") }) {
		try := how
		try.DryRun = true
		if done, err = v.Store.ImportSeries(ctx, doc, try); err != nil {
			return done, err
		}
		for i, one := range dates {
			if !done.Dates[i].IsNew {
				if rooms[i], err = v.reviseRoom(ctx, done.Dates[i].ID, &one); err != nil {
					return done, catalog.OfDate(err, one)
				}
			}
		}
		for i, one := range dates {
			if !how.DryRun {
				if err = v.configure(ctx, done.Dates[i].ID, rooms[i]); err != nil {
					return done, catalog.OfDate(err, one)
				}
			}
		}
	}
	if done, err = v.Store.ImportSeries(ctx, doc, how); err != nil {
		return done, err
	}
	for i, room := range rooms {
		done.Dates[i].Revision = room.within(done.Dates[i].Revision)
	}
	return done, nil
}

func (v Reviser) configure(ctx context.Context, event string, room roomRevision) error {
	if len(room.changes) == 0 {
		return nil
	}
	err := v.Record(ctx, "room.configure", event, map[string]any{"changes": room.changes})
	if err == nil {
		err = v.Rooms.Configure(ctx, event, room.patch)
	}
	if err == nil && room.message != nil {
		err = v.Rooms.Message(ctx, event, *room.message)
	}
	return err
}

// within is r with what is said of the room.
func (r roomRevision) within(event catalog.Revision) catalog.Revision {
	event.Changes, event.Notes = slices.Concat(event.Changes, r.changes), slices.Concat(event.Notes, r.notes)
	return event
}

// roomRevision is what a document says otherwise of its event's room.
type roomRevision struct {
	changes []catalog.Difference
	notes   []string // what the document says and nobody does

	patch   waitroom.Patch
	message *string
}

// differs takes a value that the document says, and is another one than that of now.
func differs[T comparable](r *roomRevision, doc *catalog.NewEvent, name string, now, to T, into **T) {
	if doc.Says("room."+name) && now != to {
		r.changes = append(r.changes, catalog.NewDifference("room."+name, now, to))
		*into = &to
	}
}

// reviseRoom compares the room's settings with what the document says of them. What it
// leaves out stays as it is; so does the state, which people wait for.
func (v Reviser) reviseRoom(ctx context.Context, event string, doc *catalog.NewEvent) (r roomRevision, err error) {
	now, err := v.Rooms.Room(ctx, event)
	if err != nil {
		return r, err
	}
	to := roomOf(catalog.Event{ID: event}, doc.Room)
	t := &r.patch.Throttle
	differs(&r, doc, "rate_per_minute", now.Throttle.RatePerMinute, to.Throttle.RatePerMinute, &t.RatePerMinute)
	differs(&r, doc, "burst", now.Throttle.Burst, to.Throttle.Burst, &t.Burst)
	differs(&r, doc, "max_shoppers", now.Throttle.MaxShoppers, to.Throttle.MaxShoppers, &t.MaxShoppers)
	for _, d := range [...]struct {
		name    string
		now, to time.Duration
		into    **time.Duration
	}{
		{"lease_s", now.Throttle.Lease, to.Throttle.Lease, &t.Lease},
		{"claim_window_s", now.Throttle.ClaimWindow, to.Throttle.ClaimWindow, &t.ClaimWindow},
		{"grace_s", now.Throttle.Grace, to.Throttle.Grace, &t.Grace},
	} {
		if doc.Says("room."+d.name) && d.now != d.to {
			r.changes = append(r.changes, catalog.NewDifference("room."+d.name, int(d.now/time.Second), int(d.to/time.Second)))
			*d.into = &d.to
		}
	}
	differs(&r, doc, "order", now.Order, to.Order, &r.patch.Order)
	differs(&r, doc, "invite_only", now.InviteOnly, to.InviteOnly, &r.patch.InviteOnly)
	differs(&r, doc, "challenge", now.Challenge, to.Challenge, &r.patch.Challenge)
	differs(&r, doc, "public_source", now.Draw.PublicSource, to.Draw.PublicSource, &r.patch.PublicSource)
	for _, d := range [...]struct {
		name    string
		now, to time.Time
		into    **time.Time
	}{
		{"opens_at", now.OpensAt, to.OpensAt, &r.patch.OpensAt},
		{"lobby_opens_at", now.LobbyOpensAt, to.LobbyOpensAt, &r.patch.LobbyOpensAt},
		{"closes_at", now.ClosesAt, to.ClosesAt, &r.patch.ClosesAt},
	} {
		d.to = d.to.Truncate(time.Millisecond) // as rooms have it
		if doc.Says("room."+d.name) && !d.now.Equal(d.to) {
			r.changes = append(r.changes, catalog.NewDifference("room."+d.name, stamp(d.now), stamp(d.to)))
			*d.into = &d.to
		}
	}
	differs(&r, doc, "message", now.Message, to.Message, &r.message)
	if r.message != nil {
		if err := shortText("$.room.message", *r.message, 500); err != nil {
			return r, err
		}
	}
	if doc.Says("room.state") && now.State != to.State {
		r.notes = append(r.notes, "room.state: stays "+string(now.State)+"; POST /v1/admin/rooms/{event}/{action} changes it")
	}
	if opened := now.State != waitroom.Scheduled && now.State != waitroom.Lobby; opened && (r.patch.OpensAt != nil || r.patch.LobbyOpensAt != nil) {
		// The room says so, too, but when others may have been changed.
		return r, fault.New(fault.Conflict, "the room has opened: when it opens cannot be changed any more")
	}
	return r, r.patch.Validate()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
