package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

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
	startsAt, doorsAt               time.Time
	venue                           catalog.Venue
	maxPerBuyer                     int
	singleSeats                     catalog.SingleSeats
	// What is behind these pointers is replaced when it changes, never written to.
	artists *catalog.Artist // the first of them
	tiers   *catalog.Tier   // the first of them
	stock   *checkout.Stock // nil: not known now

	room         waitroom.State // "": not known now
	opensAt      time.Time
	closedReason string
}

// eventDoc is the encoded document of an event.
type eventDoc struct {
	from eventSources
	body []byte
	// Header values, as net/http has them; they are shared and not changed.
	etag, length []string
}

// eventDocs keeps the documents of the events people look at, so that a crowd
// costs one encoding whenever something changed, not one per request.
type eventDocs struct {
	mu   sync.RWMutex
	made map[string]*eventDoc // by event
}

// mostEventDocs bounds the kept documents, of some KB each.
const mostEventDocs = 1000

// of returns the document of e as it is now.
func (d *eventDocs) of(ctx context.Context, s *Server, e *catalog.Event) (*eventDoc, error) {
	from := s.eventSources(ctx, e)
	d.mu.RLock()
	doc := d.made[e.ID]
	d.mu.RUnlock()
	if doc != nil && doc.from == from {
		return doc, nil
	}
	body, err := json.Marshal(s.eventView(ctx, *e))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	doc = &eventDoc{
		from: from, body: body,
		etag: []string{`"` + hex.EncodeToString(sum[:12]) + `"`}, length: []string{strconv.Itoa(len(body))},
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.made) >= mostEventDocs {
		clear(d.made)
	}
	d.made[e.ID] = doc
	return doc, nil
}

// eventSources looks at everything the document of e is made from, most of it
// in this node's memory.
func (s *Server) eventSources(ctx context.Context, e *catalog.Event) eventSources {
	from := eventSources{
		name: e.Name, kind: e.Type, description: e.Description, status: e.Status, timezone: e.Timezone, startsAt: e.StartsAt,
		venue: e.Venue, maxPerBuyer: e.MaxPerBuyer, singleSeats: e.SingleSeats,
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

// answerEvent answers with the document, or 304 to who has it.
func answerEvent(c *gin.Context, doc *eventDoc) {
	h := c.Writer.Header()
	h["Etag"] = doc.etag
	h["Cache-Control"] = eventCaching
	if matches(c, doc.etag[0]) {
		c.Status(http.StatusNotModified)
		return
	}
	h["Content-Type"] = eventType
	if len(doc.body) > selfCounted {
		h["Content-Length"] = doc.length
	}
	c.Status(http.StatusOK)
	_, _ = c.Writer.Write(doc.body) // who has gone does not read it
}

// selfCounted is what net/http surely counts itself. A header less keeps the
// header map in one group, and that is felt by a crowd.
const selfCounted = 2000

// Header values that all documents of events have.
var (
	eventCaching = []string{cacheEvents}
	eventType    = []string{jsonType}
)
