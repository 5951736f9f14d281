package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/draw"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// orderLinkLife is how long the link of an order works: well past the event.
const orderLinkLife = 3 * 365 * 24 * time.Hour

func (s *Server) shopRoutes(r gin.IRouter) {
	few := s.atOnce.limit(s)
	r.POST("/v1/events/:id/holds", few, s.makeHold)
	r.GET("/v1/events/:id/holds", s.listHolds)
	r.GET("/v1/events/:id/holds/:hold", s.getHold)
	r.POST("/v1/events/:id/holds/:hold/extend", s.extendHold)
	r.POST("/v1/events/:id/holds/:hold/price", few, s.priceHold)
	r.PATCH("/v1/events/:id/holds/:hold", few, s.changeHold)
	r.DELETE("/v1/events/:id/holds/:hold", s.releaseHold)
	r.GET("/v1/events/:id/channels", s.myChannels)
	r.POST("/v1/events/:id/channels", few, s.enterChannel)
	r.GET("/v1/events/:id/availability", s.availability)
	r.GET("/v1/events/:id/live", s.liveMap)
	r.POST("/v1/orders", few, s.createOrder)
	r.GET("/v1/orders/:id", s.getOrder)
	r.POST("/v1/orders/:id/pay", few, s.payOrder)
	r.GET("/v1/orders/:id/cancel", s.quoteCancel)
	r.POST("/v1/orders/:id/cancel", few, s.cancelOrder)
	r.GET("/v1/orders/:id/exchange", s.exchangeTerms)
	r.POST("/v1/orders/:id/exchange", few, s.exchangeTickets)
	r.POST("/v1/orders/:id/exchange/hold", few, s.holdToExchange)
	r.DELETE("/v1/orders/:id/exchange/hold", s.releaseToExchange)
	s.ticketRoutes(r)
	r.POST(webhookPath, s.hearGateway)
	if s.Sandbox != nil {
		r.GET("/sandbox/actions/:payment", s.sandboxAction)
		r.POST("/sandbox/actions/:payment", s.sandboxAct)
	}
}

// derivedID makes the same id from the same words.
func derivedID(words ...string) string {
	return uuid.NewHash(sha256.New(), uuid.NameSpaceOID, []byte(strings.Join(words, "\x00")), 8).String()
}

// maybeIdempotent is idempotent for what is safe to repeat without a key: nil if
// there is none.
func maybeIdempotent(c *gin.Context, who string) (*checkout.Key, error) {
	if c.GetHeader("Idempotency-Key") == "" {
		return nil, nil //nolint:nilnil // none
	}
	k, err := idempotent(c, who)
	if err == nil {
		err = k.Check()
	}
	return &k, err
}

// idempotent reads the Idempotency-Key and the fingerprint of the request: method,
// path and body, which it leaves to be read again.
func idempotent(c *gin.Context, who string) (checkout.Key, error) {
	raw, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return checkout.Key{}, badJSON(err)
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(raw))
	sum := sha256.Sum256(append([]byte(c.Request.Method+" "+c.Request.URL.Path+"\n"), raw...))
	return checkout.Key{
		Scope:       who + " " + c.Request.Method + " " + c.Request.URL.Path,
		Value:       c.GetHeader("Idempotency-Key"),
		Fingerprint: hex.EncodeToString(sum[:]),
	}, nil
}

func (s *Server) createOrder(c *gin.Context) {
	// Who is asking decides the key's scope, and needs the hold: read it first.
	raw, err := io.ReadAll(c.Request.Body)
	if err != nil {
		s.fail(c, badJSON(err))
		return
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(raw))
	var b struct {
		Hold  string         `json:"hold"`
		Buyer checkout.Buyer `json:"buyer"`
		Promo string         `json:"promo"`
	}
	if err := body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(raw))
	visitor, event, err := s.anyShopper(c, b.Hold)
	if err != nil {
		s.fail(c, err)
		return
	}
	if !catalog.IsID(b.Hold) {
		s.fail(c, fault.New(fault.Invalid, "hold: %q is not the id of a hold", clip(b.Hold)))
		return
	}
	if len(b.Promo) > mostCode {
		s.fail(c, fault.New(fault.Invalid, "promo is longer than %d characters", mostCode))
		return
	}
	k, err := idempotent(c, visitor)
	if err == nil {
		err = s.linkBuyer(c, visitor)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	o, err := s.Shop.CreateOrder(c.Request.Context(), k, checkout.OrderRequest{
		Event: event, Visitor: visitor, Hold: b.Hold, Buyer: b.Buyer, Promo: b.Promo,
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Location", "/v1/orders/"+o.ID)
	private(c, http.StatusCreated, s.orderView(o))
}

// orderView is an order with what its buyer needs to come back to it.
func (s *Server) orderView(o checkout.Order) any {
	if o.Payment.Gateway == "" {
		o.Payment.Gateway = s.Shop.Gateway()
	}
	if o.Payment.ClientSecret == "" && s.Sandbox != nil {
		o.Payment.ClientSecret = derivedID("payment", o.ID, s.Keys.Pseudonym(o.ID))
	}
	o.Payment.PublishableKey = s.StripeKey
	token, link := OrderLink(s.PublicURL, s.Keys, o)
	return struct {
		checkout.Order
		Token string `json:"order_token"`
		Link  string `json:"link"`
	}{o, token, link}
}

// OrderLink is where the buyer of an order sees it, and the token that lets them.
func OrderLink(public *url.URL, keys *pass.KeySet, o checkout.Order) (token, link string) {
	token = keys.SignOrder(o.ID, o.CreatedAt.Add(orderLinkLife))
	return token, strings.TrimSuffix(public.String(), "/") + "/orders/" + o.ID + "#t=" + token
}

// order loads the order of the request if the one who asks may see it: with
// its own token, as its visitor, or as an operator.
func (s *Server) order(c *gin.Context) (checkout.Order, error) {
	name, err := id(c, "id")
	if err != nil {
		return checkout.Order{}, err
	}
	visitor, all, err := s.orderReader(c, name)
	if err != nil {
		return checkout.Order{}, err
	}
	o, err := s.Shop.Order(c.Request.Context(), name)
	if fault.Is(err, fault.NotFound) || err == nil && !all && visitor != o.Visitor {
		// One answer for both: ids tell nothing.
		return checkout.Order{}, fault.New(fault.NotFound, "no such order")
	}
	return o, err
}

// orderReader finds out who asks for an order: a visitor, who sees their own, or
// somebody who may see this one whoever made it.
func (s *Server) orderReader(c *gin.Context, order string) (visitor string, all bool, err error) {
	token, err := bearer(c)
	if err != nil {
		return "", false, err
	}
	if s.isAdmin(token) {
		return "", true, nil
	}
	if named, err := s.Keys.Order(token, s.Clock()); err == nil {
		if named != order {
			return "", false, fault.New(fault.Forbidden, "the token is for another order")
		}
		return "", true, nil
	}
	if token != "" { // a pass says who it was made for even after it lapsed
		if p, err := s.Keys.PassOfAnyEvent(token, time.Unix(1, 0)); err == nil {
			return p.Visitor, false, nil
		}
	}
	visitor, err = s.visitor(c, "")
	switch {
	case err != nil:
		return "", false, fault.Wrap(err, fault.Unauthorized, "the token is not a valid order token, pass or visitor token")
	case visitor == "":
		return "", false, fault.New(fault.Unauthorized, "an order is seen with its link, or by whoever made it")
	}
	return visitor, false, nil
}

func (s *Server) getOrder(c *gin.Context) {
	o, err := s.order(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, s.orderView(o))
}

func (s *Server) payOrder(c *gin.Context) {
	o, err := s.order(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	k, err := idempotent(c, o.Visitor)
	if err != nil {
		s.fail(c, err)
		return
	}
	var b struct {
		Method string `json:"method"`
	}
	if err = body(c, &b); err != nil {
		s.fail(c, err)
		return
	}
	if err = s.recordOperator(c, "order.pay", o.ID, nil); err == nil {
		o, err = s.Shop.Pay(c.Request.Context(), k, o.ID, b.Method)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.bought(c, o)
	private(c, http.StatusOK, s.orderView(o))
}

// bought lets the waiting room know of a sale, so that the buyer's slot in the
// shop is soon somebody else's.
func (s *Server) bought(c *gin.Context, o checkout.Order) {
	if o.Status != checkout.Paid && o.Status != checkout.Fulfilled {
		return
	}
	ctx := c.Request.Context()
	more := true
	if e, err := s.Catalog.Event(ctx, o.Event); err == nil {
		more = len(o.Items) < e.MaxPerBuyer
	}
	if err := s.Rooms.Finish(ctx, o.Event, o.Visitor, more); err != nil {
		s.log.WarnContext(ctx, "a buyer keeps their slot until the lease ends", slog.String("order", o.ID), slog.Any("error", err))
	}
}

func (s *Server) cancelOrder(c *gin.Context) {
	o, err := s.order(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	k, err := maybeIdempotent(c, o.Visitor)
	var b struct {
		Tickets []string `json:"tickets"`
	}
	if err == nil {
		err = body(c, &b)
	}
	if err == nil {
		err = namesTickets("tickets", b.Tickets)
	}
	if err == nil {
		err = s.recordOperator(c, "order.cancel", o.ID, b)
	}
	if err == nil {
		o, err = s.Shop.Cancel(c.Request.Context(), k, checkout.CancelRequest{Order: o.ID, Tickets: b.Tickets})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, s.orderView(o))
}

// quoteCancel says what cancelOrder would do.
func (s *Server) quoteCancel(c *gin.Context) {
	o, err := s.order(c)
	if err == nil {
		err = knownQuery(c, "ticket")
	}
	tickets := c.QueryArray("ticket")
	if err == nil {
		err = namesTickets("ticket", tickets)
	}
	var q checkout.CancelQuote
	if err == nil {
		q, err = s.Shop.QuoteCancel(c.Request.Context(), o, tickets)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, q)
}

// exchangeTickets swaps tickets of a paid order for those of a hold.
func (s *Server) exchangeTickets(c *gin.Context) {
	o, err := s.order(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	k, err := maybeIdempotent(c, o.Visitor)
	var b struct {
		Tickets []string `json:"tickets"`
		Hold    string   `json:"hold"`
	}
	if err == nil {
		err = body(c, &b)
	}
	if err == nil {
		err = namesTickets("tickets", b.Tickets)
	}
	if err == nil && !catalog.IsID(b.Hold) {
		err = fault.New(fault.Invalid, "hold: %q is not the id of a hold", clip(b.Hold))
	}
	if err == nil {
		err = s.recordOperator(c, "order.exchange", o.ID, b)
	}
	if err == nil {
		o, err = s.Shop.Exchange(c.Request.Context(), k, checkout.ExchangeRequest{Order: o.ID, Tickets: b.Tickets, Hold: b.Hold})
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, s.orderView(o))
}

// mostTickets bounds how many tickets a request about an order names.
const mostTickets = 100

// namesTickets checks a list of tickets of an order.
func namesTickets(name string, ids []string) error {
	if len(ids) > mostTickets {
		return fault.New(fault.Invalid, "%s: at most %d are named", name, mostTickets)
	}
	for i, id := range ids {
		if !catalog.IsID(id) {
			return fault.New(fault.Invalid, "%s[%d]: %q is not the id of a ticket", name, i, clip(id))
		}
		if slices.Contains(ids[:i], id) {
			return fault.New(fault.Invalid, "%s[%d]: %s is named twice", name, i, id)
		}
	}
	return nil
}

// noBody accepts an empty object, or nothing.
func noBody(c *gin.Context) error { return body(c, &struct{}{}) }

// qrPNG draws text as a QR code with the quiet zone that scanners need.
func qrPNG(text string) ([]byte, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return nil, err
	}
	const module, quiet = 8, 4 // pixels, modules
	side := code.Bounds().Dx() * module
	code, err = barcode.Scale(code, side, side)
	if err != nil {
		return nil, err
	}
	full := image.NewGray(image.Rect(0, 0, side+2*quiet*module, side+2*quiet*module))
	draw.Draw(full, full.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(full, image.Rect(quiet*module, quiet*module, quiet*module+side, quiet*module+side), code, image.Point{}, draw.Src)
	var b bytes.Buffer
	err = png.Encode(&b, full)
	return b.Bytes(), err
}

// private answers with JSON that only this client may keep.
func private(c *gin.Context, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.Header("Cache-Control", "private, no-store")
	c.Data(status, "application/json; charset=utf-8", b)
}
