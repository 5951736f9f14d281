package web

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"
)

// adminEventDocument answers with the document that creates such an event.
func (s *Server) adminEventDocument(c *gin.Context) { s.document(c, s.Catalog.EventDocument) }

// adminSeriesDocument answers with the document that creates such a series.
func (s *Server) adminSeriesDocument(c *gin.Context) { s.document(c, s.Organiser.SeriesDocument) }

func (s *Server) document(c *gin.Context, read func(ctx context.Context, id string, withPlan bool) ([]byte, error)) {
	err := knownQuery(c, "plan")
	var withPlan bool
	if err == nil {
		withPlan, err = yesOrNo(c, "plan")
	}
	var what string
	if err == nil {
		what, err = id(c, "id")
	}
	var doc []byte
	if err == nil {
		doc, err = read(c.Request.Context(), what, withPlan)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, json.RawMessage(doc))
}
