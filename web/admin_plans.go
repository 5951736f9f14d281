package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/internal/fault"
)

func (s *Server) planRoutes(a gin.IRouter) {
	a.GET("/plans", func(c *gin.Context) { listed(s, c, "plans", s.Organiser.Plans) })
	a.POST("/plans", s.adminImportPlan)
	a.GET("/plans/:id", func(c *gin.Context) { found(s, c, s.wholePlan) })
	a.DELETE("/plans/:id", func(c *gin.Context) {
		deleted(s, c, "plan", s.planRecord, func(p catalog.PlanRecord) int { return p.Events }, s.Organiser.DeletePlan)
	})
}

type planWhole struct {
	catalog.PlanRecord

	Document json.RawMessage `json:"document"`
}

func (s *Server) wholePlan(ctx context.Context, plan string) (planWhole, error) {
	p, doc, err := s.Organiser.PlanDocument(ctx, plan)
	return planWhole{p, doc}, err
}

func (s *Server) planRecord(ctx context.Context, plan string) (catalog.PlanRecord, error) {
	p, _, err := s.Organiser.PlanDocument(ctx, plan)
	return p, err
}

// isTable reports whether the body is CSV, by its Content-Type.
func isTable(c *gin.Context) bool {
	kind, _, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	return err == nil && kind == "text/csv"
}

// wholeBody reads a body that is no JSON, or is read by somebody else.
func wholeBody(c *gin.Context) ([]byte, error) {
	doc, err := io.ReadAll(c.Request.Body)
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, badJSON(e)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the body cannot be read")
	}
	return doc, nil
}

// adminImportPlan keeps a plan for events: a seating plan as JSON, or a table of seats.
func (s *Server) adminImportPlan(c *gin.Context) {
	err := query(c, "name")
	var doc []byte
	if err == nil {
		doc, err = wholeBody(c)
	}
	var plan *catalog.Plan
	var notices []catalog.Notice
	switch {
	case err != nil:
	case isTable(c):
		if err = shortText(`query parameter "name"`, c.Query("name"), 200); err == nil {
			plan, notices, err = catalog.ParseSeats(doc, c.Query("name"))
		}
	case c.Query("name") != "":
		err = fault.New(fault.Invalid, `query parameter "name" goes with a table of seats (Content-Type text/csv); a plan has its name inside`)
	default:
		plan, notices, err = catalog.ParsePlan(doc)
	}
	if err == nil {
		err = s.record(c, "plan.import", plan.Version, gin.H{"name": plan.Name, "seats": plan.Seats})
	}
	var made string
	var isNew bool
	if err == nil {
		made, isNew, err = s.Organiser.ImportPlan(c.Request.Context(), plan)
	}
	var p catalog.PlanRecord
	if err == nil {
		p, err = s.planRecord(c.Request.Context(), made)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
	}
	c.Header("Location", adminPlansPath+"/"+made)
	private(c, status, struct {
		catalog.PlanRecord
		IsNew   bool             `json:"is_new"`
		Notices []catalog.Notice `json:"notices"`
	}{p, isNew, orNone(notices)})
}
