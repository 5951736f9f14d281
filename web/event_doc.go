package web

import (
	"context"
	"encoding/json"
	"time"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom"
)

// eventSources is what the document of an event is made from. Two that are
// equal make the same bytes.
type eventSources struct {
	name, kind, description, status string
	timezone                        string
	updatedAt                       time.Time
	series                          catalog.SeriesName
	startsAt, doorsAt               time.Time
	venue                           catalog.Venue
	maxPerBuyer                     int
	singleSeats                     catalog.SingleSeats
	terms                           catalog.Terms // without the pointer, whose policy is next
	cancel                          catalog.CancelPolicy
	cancels                         bool
	// What is behind these pointers is replaced when it changes, never written to.
	artists *catalog.Artist // the first of them
	tiers   *catalog.Tier   // the first of them
	images  *catalog.Image  // the first of them
	stock   *checkout.Stock // nil: not known now
	plan    string

	room         waitroom.State // "": not known now
	opensAt      time.Time
	closedReason string
}

// eventAnswer is what is said of an event for a moment.
type eventAnswer struct {
	from eventSources
	doc  *codedDocument // shared by all answers that say the same,
	raw  *rawAnswers    // as is this
}

// mostEventDocs bounds the kept documents of events, of some KB each, in bytes.
const mostEventDocs = 64 << 20

// eventDoc returns the document of e as it is now. It is encoded only when something
// has changed.
func (s *Server) eventDoc(ctx context.Context, e *catalog.Event) (*codedDocument, error) {
	answer, err := s.eventDocs.of(ctx, s.Clock, e.ID, func(ctx context.Context, last *eventAnswer) (*eventAnswer, int, error) {
		now := &eventAnswer{from: s.eventSources(ctx, e)}
		if last != nil && last.from == now.from {
			now.doc, now.raw = last.doc, last.raw
		} else {
			body, err := json.Marshal(s.fullEventView(ctx, *e))
			if err != nil {
				return nil, 0, err
			}
			now.doc, now.raw = newCoded(body), new(rawAnswers)
		}
		return now, now.doc.size(), nil
	})
	if err != nil {
		return nil, err
	}
	return answer.doc, nil
}

// eventSources looks at everything the document of e is made from, most of it
// in this node's memory.
func (s *Server) eventSources(ctx context.Context, e *catalog.Event) eventSources {
	from := eventSources{
		name: e.Name, kind: e.Type, description: e.Description, status: e.Status, timezone: e.Timezone, startsAt: e.StartsAt,
		venue: e.Venue, maxPerBuyer: e.MaxPerBuyer, singleSeats: e.SingleSeats, terms: e.Terms,
	}
	if from.terms.Cancel != nil {
		from.cancel, from.cancels, from.terms.Cancel = *e.Terms.Cancel, true, nil
	}
	from.updatedAt = e.UpdatedAt
	if e.Series != nil {
		from.series = *e.Series
	}
	if e.DoorsAt != nil {
		from.doorsAt = *e.DoorsAt
	}
	if len(e.Artists) > 0 {
		from.artists = &e.Artists[0]
	}
	if len(e.Tiers) > 0 {
		from.tiers = &e.Tiers[0]
	}
	if len(e.Images) > 0 {
		from.images = &e.Images[0]
	}
	from.plan = s.planURL(ctx, e.ID)
	stock, err := s.Inventory.Stock(ctx, e.ID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return from // the room, which is in the same place, is not known either
	}
	from.stock = stock
	if room, err := s.Rooms.Room(ctx, e.ID); err == nil {
		from.room, from.opensAt, from.closedReason = room.State, room.OpensAt, room.ClosedReason
	}
	return from
}

// Header values that all documents of events have.
var (
	eventCaching = []string{cacheEvents}
	eventType    = []string{jsonType}
)
