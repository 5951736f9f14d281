package web

import (
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"onsale/catalog"
	"onsale/checkout/messages"
	"onsale/internal/fault"
)

// What operators see and do about webhooks and e-mails, and buyers about theirs.

func (s *Server) messageRoutes(r gin.IRouter) {
	if s.Messages == nil {
		return
	}
	a := r.Group("/v1/admin", s.requireAdmin)
	a.GET("/webhooks", s.adminWebhooks)
	a.POST("/webhooks", s.adminCreateWebhook)
	a.GET("/webhooks/:id", s.adminWebhook)
	a.PATCH("/webhooks/:id", s.adminUpdateWebhook)
	a.DELETE("/webhooks/:id", s.adminDeleteWebhook)
	a.POST("/webhooks/:id/test", s.adminTestWebhook)
	a.GET("/webhooks/:id/deliveries", s.adminDeliveries)
	a.GET("/webhooks/:id/replay", s.adminCountRange)
	a.POST("/webhooks/:id/replay", s.adminReplayRange)
	a.POST("/webhooks/deliveries/:delivery/replay", s.adminReplay)
	a.GET("/emails", s.adminEmails)
	a.POST("/emails/:id/resend", s.adminResend)
	r.POST("/v1/orders/:id/email", s.atOnce.limit(s), s.emailOrder)
}

// webhookView is an endpoint; its secret is told only when it was made.
type webhookView struct {
	messages.Endpoint
	Secret string `json:"secret,omitempty"`
}

func viewWebhook(e messages.Endpoint, fresh bool) webhookView {
	v := webhookView{Endpoint: e}
	if fresh && len(e.Secrets) > 0 {
		v.Secret = e.Secrets[0].Reveal()
	}
	return v
}

func (s *Server) adminWebhooks(c *gin.Context) {
	list, err := s.Messages.Endpoints(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	views := make([]webhookView, len(list))
	for i := range list {
		views[i] = viewWebhook(list[i], false)
	}
	private(c, http.StatusOK, gin.H{"webhooks": views})
}

func (s *Server) adminWebhook(c *gin.Context) {
	e, err := s.webhook(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, viewWebhook(e, false))
}

// webhook finds the endpoint of the request.
func (s *Server) webhook(c *gin.Context) (messages.Endpoint, error) {
	name, err := id(c, "id")
	if err != nil {
		return messages.Endpoint{}, err
	}
	return s.Messages.Endpoint(c.Request.Context(), name)
}

func (s *Server) adminCreateWebhook(c *gin.Context) {
	var b struct {
		URL   string          `json:"url"`
		Types []messages.Type `json:"types"`
		Note  string          `json:"note"`
	}
	err := body(c, &b)
	if err == nil {
		err = s.Messages.CheckEndpoint(messages.EndpointPatch{URL: &b.URL, Types: &b.Types, Note: &b.Note})
	}
	if err == nil {
		// The address can hold a token of the receiver's; the log of deeds is kept for long.
		err = s.record(c, "webhook.create", "", gin.H{"types": b.Types, "note": b.Note})
	}
	var e messages.Endpoint
	if err == nil {
		e, err = s.Messages.CreateEndpoint(c.Request.Context(), b.URL, b.Types, b.Note)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Location", "/v1/admin/webhooks/"+e.ID)
	private(c, http.StatusCreated, viewWebhook(e, true))
}

func (s *Server) adminUpdateWebhook(c *gin.Context) {
	var b struct {
		URL    *string          `json:"url"`
		Types  *[]messages.Type `json:"types"`
		Active *bool            `json:"active"`
		Note   *string          `json:"note"`
		Rotate bool             `json:"rotate_secret"`
	}
	e, err := s.webhook(c)
	if err == nil {
		err = body(c, &b)
	}
	p := messages.EndpointPatch{URL: b.URL, Types: b.Types, Active: b.Active, Note: b.Note}
	if err == nil && b.URL == nil && b.Types == nil && b.Active == nil && b.Note == nil && !b.Rotate {
		err = fault.New(fault.Invalid, "nothing is to be changed: say url, types, active, note or rotate_secret")
	}
	if err == nil {
		err = s.Messages.CheckEndpoint(p)
	}
	if err == nil {
		err = s.record(c, "webhook.update", e.ID, gin.H{"types": b.Types, "active": b.Active, "note": b.Note, "url_changed": b.URL != nil, "rotate_secret": b.Rotate})
	}
	if err == nil {
		e, err = s.Messages.UpdateEndpoint(c.Request.Context(), e.ID, p, b.Rotate)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, viewWebhook(e, b.Rotate))
}

func (s *Server) adminDeleteWebhook(c *gin.Context) {
	e, err := s.webhook(c)
	if err == nil {
		err = s.record(c, "webhook.delete", e.ID, gin.H{"note": e.Note})
	}
	if err == nil {
		err = s.Messages.DeleteEndpoint(c.Request.Context(), e.ID)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

func (s *Server) adminTestWebhook(c *gin.Context) {
	e, err := s.webhook(c)
	if err == nil {
		err = noBody(c)
	}
	if err == nil {
		err = s.record(c, "webhook.test", e.ID, gin.H{})
	}
	var t messages.Trial
	if err == nil {
		t, err = s.Messages.Test(c.Request.Context(), e.ID, uuid.NewString())
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, t)
}

// choice reads a query parameter that is one of a few words, or nothing.
func choice[T ~string](c *gin.Context, name string, of []T) (T, error) {
	v := T(c.Query(name))
	if v == "" || slices.Contains(of, v) {
		return v, nil
	}
	return "", fault.New(fault.Invalid, "query parameter %q must be one of %v", name, of)
}

func (s *Server) adminDeliveries(c *gin.Context) {
	q := messages.DeliveryQuery{Cursor: c.Query("cursor")}
	err := knownQuery(c, "status", "limit", "cursor")
	if err == nil {
		q.Endpoint, err = id(c, "id")
	}
	if err == nil {
		q.Limit, err = limitOf(c, 50, 200)
	}
	if err == nil {
		q.Status, err = choice(c, "status", messages.DeliveryStatuses)
	}
	var list []messages.Delivery
	var next string
	if err == nil {
		list, next, err = s.Messages.Deliveries(c.Request.Context(), q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"deliveries": list, "next_cursor": orNull(next)})
}

func (s *Server) adminReplay(c *gin.Context) {
	name, err := id(c, "delivery")
	if err == nil {
		err = noBody(c)
	}
	var d messages.Delivery
	if err == nil {
		d, err = s.Messages.Delivery(c.Request.Context(), name)
	}
	if err == nil {
		err = s.record(c, "webhook.replay", d.Endpoint, gin.H{"delivery": d.ID})
	}
	if err == nil {
		d, err = s.Messages.Replay(c.Request.Context(), name)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusAccepted, d)
}

// adminCountRange tells how many messages a replay would send.
func (s *Server) adminCountRange(c *gin.Context) {
	err := knownQuery(c, "from", "to", "failed_only")
	var e messages.Endpoint
	if err == nil {
		e, err = s.webhook(c)
	}
	var r messages.Range
	if err == nil {
		r.From, err = instant(c, "from")
	}
	if err == nil {
		r.To, err = instant(c, "to")
	}
	if err == nil {
		var failed string
		failed, err = choice(c, "failed_only", []string{"true", "false"})
		r.FailedOnly = failed == "true"
	}
	var n int
	if err == nil {
		n, err = s.Messages.CountRange(c.Request.Context(), e.ID, r)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"deliveries": n})
}

func (s *Server) adminReplayRange(c *gin.Context) {
	var b struct {
		From   time.Time `json:"from"`
		To     time.Time `json:"to"`
		Failed bool      `json:"failed_only"`
	}
	e, err := s.webhook(c)
	if err == nil {
		err = body(c, &b)
	}
	r := messages.Range{From: b.From, To: b.To, FailedOnly: b.Failed}
	if err == nil {
		err = s.Messages.CheckRange(r)
	}
	if err == nil {
		err = s.record(c, "webhook.replay", e.ID, b)
	}
	var n int
	if err == nil {
		n, err = s.Messages.ReplayRange(c.Request.Context(), e.ID, r)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusAccepted, gin.H{"deliveries": n})
}

func (s *Server) adminEmails(c *gin.Context) {
	q := messages.EmailQuery{Cursor: c.Query("cursor"), Order: c.Query("order")}
	err := knownQuery(c, "status", "order", "limit", "cursor")
	if err == nil {
		q.Limit, err = limitOf(c, 50, 200)
	}
	if err == nil {
		q.Status, err = choice(c, "status", messages.EmailStatuses)
	}
	if err == nil && q.Order != "" && !catalog.IsID(q.Order) {
		err = fault.New(fault.Invalid, "query parameter \"order\" is not an id")
	}
	var list []messages.Email
	var next string
	if err == nil {
		list, next, err = s.Messages.Emails(c.Request.Context(), q)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"emails": list, "next_cursor": orNull(next)})
}

func (s *Server) adminResend(c *gin.Context) {
	name, err := id(c, "id")
	if err == nil {
		err = noBody(c)
	}
	var e messages.Email
	if err == nil {
		e, err = s.Messages.Email(c.Request.Context(), name)
	}
	if err == nil {
		subject := e.ID
		if e.Order != nil {
			subject = *e.Order
		}
		err = s.record(c, "email.resend", subject, gin.H{"email": e.ID, "kind": e.Kind})
	}
	if err == nil {
		e, err = s.Messages.Resend(c.Request.Context(), name)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusAccepted, e)
}

func (s *Server) emailOrder(c *gin.Context) {
	o, err := s.order(c)
	if err == nil {
		err = noBody(c)
	}
	var e messages.Email
	if err == nil {
		e, err = s.Messages.ConfirmAgain(c.Request.Context(), o.ID)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusAccepted, gin.H{"status": e.Status, "recipient": e.Recipient})
}
