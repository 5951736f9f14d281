package checkout_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onsale/checkout"
	"onsale/internal/fault"
)

// watched is a hold store that looks whether another import of the event could begin
// while tickets that one has taken are given back.
type watched struct {
	checkout.HoldStore

	h     *house
	taken func() // is called when tickets were taken
	alone []bool // of each time
}

func (w *watched) Allot(ctx context.Context, event string, channel int, evenTaken bool, ordinals []int) ([]int, error) {
	if evenTaken {
		w.alone = append(w.alone, w.h.importing())
	}
	got, err := w.HoldStore.Allot(ctx, event, channel, evenTaken, ordinals)
	if !evenTaken && w.taken != nil {
		w.taken()
	}
	return got, err
}

// importing reports whether an import of the event goes on.
func (h *house) importing() bool {
	h.t.Helper()
	err := pgx.BeginFunc(h.t.Context(), h.db, func(tx pgx.Tx) error {
		_, err := tx.Exec(h.t.Context(), `select from events where id = $1 for no key update nowait`, h.event)
		return err
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "55P03" { // lock_not_available
		return true
	}
	if err != nil {
		h.t.Error(err)
	}
	return false
}

// An import that comes to nothing gives back what it has taken before the next one may
// take it: afterwards, the next one's tickets would be given to buyers.
func TestAFailedImportGivesBackBeforeTheNext(t *testing.T) {
	t.Parallel()
	table := []byte("section,row,seat,name\nStalls,A,1,Box\nStalls,A,2,Box\n")
	for name, fail := range map[string]func(h *house, w *watched){
		"a seat is on hold": func(h *house, _ *watched) { h.hold(h.admit(time.Hour), 1) },
		"a seat was ordered a moment ago": func(h *house, w *watched) {
			visitor := h.admit(time.Hour)
			h.order(visitor, h.hold(visitor, 5))
			w.taken = func() { // as if the inventory had not known of the order
				_, err := h.db.Exec(h.t.Context(), `
					update tickets t set status = o.status, order_id = o.order_id, user_id = o.user_id, reserved_until = o.reserved_until
					from tickets o where t.event_id = $1 and t.ordinal = 1 and o.event_id = $1 and o.ordinal = 5`, h.event)
				if err != nil {
					h.t.Error(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &watched{}
			w.h = newHouse(t, func(d *checkout.Deps) {
				w.HoldStore, d.Holds = d.Holds, w
			})
			fail(w.h, w)
			_, err := w.h.ImportTickets(t.Context(), checkout.OutsideImport{Event: w.h.event, File: table})
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("the import: %v", err)
			}
			if len(w.alone) == 0 {
				t.Error("nothing was given back")
			}
			for _, alone := range w.alone {
				if !alone {
					t.Error("another import could begin before the seat was given back")
				}
			}
			w.h.hold(w.h.admit(time.Hour), 0) // which is nobody's again
			if w.h.importing() {
				t.Error("the import is not over")
			}
		})
	}
}
