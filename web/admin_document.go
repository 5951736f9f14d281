package web

import (
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"

	"onsale/internal/fault"
)

// adminEventDocument answers with the document that creates such an event.
func (s *Server) adminEventDocument(c *gin.Context) {
	err := knownQuery(c, "plan")
	var withPlan bool
	if err == nil {
		switch c.Query("plan") {
		case "", "false":
		case "true":
			withPlan = true
		default:
			err = fault.New(fault.Invalid, `query parameter "plan" must be true or false`)
		}
	}
	var event string
	if err == nil {
		event, err = id(c, "id")
	}
	var doc []byte
	if err == nil {
		doc, err = s.Catalog.EventDocument(c.Request.Context(), event, withPlan)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, json.RawMessage(doc))
}
