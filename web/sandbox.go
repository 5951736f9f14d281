package web

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/checkout/payment"
	"onsale/internal/fault"
)

// SandboxActions is the page of the sandbox gateway where a buyer confirms a
// payment that requires an action, as a bank's page would be.
type SandboxActions interface {
	// Act returns payment.ErrNotFound when nothing waits for an answer.
	Act(ctx context.Context, payment string, approve bool) error
}

// sandboxPage has no script and no style: it stands for somebody else's site.
var sandboxPage = template.Must(template.New("sandbox").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sandbox bank</title></head><body><main><h1>Sandbox bank</h1>
<p>No money moves here. Confirm the payment as your bank would ask you to.</p>
<form method="post"><button name="answer" value="approve">Approve the payment</button>
<button name="answer" value="refuse">Refuse</button></form></main></body></html>
`))

func (s *Server) sandboxAction(c *gin.Context) {
	if _, err := id(c, "payment"); err != nil {
		s.failPage(c, err)
		return
	}
	var b bytes.Buffer
	if err := sandboxPage.Execute(&b, nil); err != nil {
		s.failPage(c, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.Header("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	c.Data(http.StatusOK, "text/html; charset=utf-8", b.Bytes())
}

// sandboxAct takes the buyer's answer, lets the shop look the payment up, and
// sends the browser back to its order.
func (s *Server) sandboxAct(c *gin.Context) {
	name, err := id(c, "payment")
	if err != nil {
		s.failPage(c, err)
		return
	}
	if err := c.Request.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			err = badJSON(err)
		} else {
			err = fault.Wrap(err, fault.Invalid, "the form cannot be read")
		}
		s.failPage(c, err)
		return
	}
	answer := c.Request.PostForm.Get("answer")
	if answer != "approve" && answer != "refuse" {
		s.failPage(c, fault.New(fault.Invalid, "answer must be approve or refuse"))
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), 10*time.Second)
	defer cancel()
	if err := s.Sandbox.Act(ctx, name, answer == "approve"); err != nil {
		if errors.Is(err, payment.ErrNotFound) {
			err = fault.New(fault.Conflict, "this payment does not wait for an answer any more")
		}
		s.failPage(c, err)
		return
	}
	if err := s.Shop.SettlePayment(ctx, name); err != nil {
		s.failPage(c, err)
		return
	}
	order, err := s.Shop.OrderOfPayment(ctx, name)
	if err != nil {
		s.failPage(c, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/orders/"+order)
}
