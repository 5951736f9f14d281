package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/checkout/payment"
	"onsale/internal/fault"
)

const (
	webhookPath = "/v1/webhooks/:gateway"
	// webhookBytes bounds a gateway's webhook, whatever the limit of other bodies.
	webhookBytes = 64 << 10
	// webhookWait is how long a gateway is kept waiting. Jobs finish what takes longer.
	webhookWait = 8 * time.Second
)

// hearGateway takes what a payment gateway has to say. Its signature is the only
// credential; what it says is looked up at the gateway and not believed. An answer
// other than 200 asks the gateway to send it again.
func (s *Server) hearGateway(c *gin.Context) {
	if c.Param("gateway") != s.Shop.Gateway() {
		s.fail(c, fault.New(fault.NotFound, "the gateway in use is another one"))
		return
	}
	raw, err := io.ReadAll(c.Request.Body)
	if err != nil {
		s.fail(c, badJSON(err))
		return
	}
	notice, err := s.Shop.ParseNotice(c.Request.Header, raw)
	switch {
	case err == nil:
		ctx, cancel := context.WithTimeout(c.Request.Context(), webhookWait)
		defer cancel()
		if err := s.Shop.Notice(ctx, notice); err != nil {
			s.fail(c, fault.Wrap(err, fault.Unavailable, "the payment cannot be looked up now; send it again"))
			return
		}
	case errors.Is(err, payment.ErrIgnored):
	case errors.Is(err, payment.ErrStale):
		s.fail(c, fault.Wrap(err, fault.Invalid, "the signature is too old, or the clocks differ"))
		return
	default:
		s.fail(c, fault.Wrap(err, fault.Invalid, "the signature is missing or not the gateway's"))
		return
	}
	private(c, http.StatusOK, gin.H{"received": true})
}
