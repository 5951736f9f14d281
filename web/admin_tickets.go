package web

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"onsale/checkout"
	"onsale/internal/fault"
)

const (
	importTicketsPath  = adminEventsPath + "/:id/tickets"
	importTicketsBytes = 32 << 20
)

// adminImportTickets brings tickets in that were sold elsewhere.
func (s *Server) adminImportTickets(c *gin.Context) {
	ctx := c.Request.Context()
	event, err := id(c, "id")
	r := checkout.OutsideImport{Event: event}
	if err == nil {
		r.DryRun, err = yesOrNo(c, "dry_run")
	}
	if err == nil { // an unknown event, before its file
		_, err = s.Catalog.Event(ctx, event)
	}
	if err == nil && !isTable(c) {
		err = fault.New(fault.Invalid, "a table of tickets is expected, with Content-Type text/csv")
	}
	if err == nil {
		r.File, err = wholeBody(c)
	}
	var rows []checkout.OutsideRow
	if err == nil {
		rows, err = checkout.ParseOutside(r.File)
	}
	if err == nil && !r.DryRun {
		err = s.record(c, "tickets.import", event, gin.H{"rows": len(rows)})
	}
	var done checkout.OutsideDone
	if err == nil {
		done, err = s.Shop.ImportTickets(ctx, r)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, done)
}
