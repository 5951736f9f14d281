package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"onsale/internal/fault"
)

// problemBase is what a problem's type starts with; the code follows.
const problemBase = "https://onsale.example/problems/"

// Faults that only HTTP knows.
const (
	methodNotAllowed fault.Code = "method-not-allowed"
	upgradeRequired  fault.Code = "upgrade-required" // the address speaks WebSocket only
)

// kinds is the one table from fault codes to HTTP: status and title.
var kinds = map[fault.Code]struct {
	status int
	title  string
}{
	fault.Invalid:            {http.StatusBadRequest, "The request is not valid"},
	fault.NotFound:           {http.StatusNotFound, "Not found"},
	fault.Unauthorized:       {http.StatusUnauthorized, "Credentials are missing or not valid"},
	fault.Forbidden:          {http.StatusForbidden, "Not allowed"},
	fault.PassRequired:       {http.StatusUnauthorized, "A pass is needed"},
	fault.PassLapsed:         {http.StatusForbidden, "The pass has lapsed"},
	fault.UnknownVisitor:     {http.StatusUnauthorized, "Not in this room"},
	fault.RoomClosed:         {http.StatusConflict, "The room is closed"},
	fault.NotYourTurn:        {http.StatusConflict, "It is not your turn"},
	fault.ShopFull:           {http.StatusServiceUnavailable, "The shop is full for a moment"},
	fault.ChallengeRequired:  {http.StatusForbidden, "A challenge must be solved"},
	fault.InviteRequired:     {http.StatusForbidden, "An invitation is needed"},
	fault.InviteInvalid:      {http.StatusForbidden, "The invitation is not valid"},
	fault.HandoverInvalid:    {http.StatusGone, "The code is not valid any more"},
	fault.SignInRequired:     {http.StatusUnauthorized, "Sign-in is needed"},
	fault.TooMany:            {http.StatusTooManyRequests, "Too many requests"},
	fault.TicketsTaken:       {http.StatusConflict, "Tickets are taken"},
	fault.SingleSeats:        {http.StatusConflict, "Single seats would be left"},
	fault.LimitReached:       {http.StatusConflict, "The limit per buyer is reached"},
	fault.SoldOut:            {http.StatusConflict, "Sold out"},
	fault.HoldLapsed:         {http.StatusConflict, "The hold has lapsed"},
	fault.PromoInvalid:       {http.StatusConflict, "The promo code does not apply"},
	fault.Conflict:           {http.StatusConflict, "Not possible in this state"},
	fault.KeyMissing:         {http.StatusBadRequest, "Idempotency-Key is missing"},
	fault.KeyInFlight:        {http.StatusConflict, "The same request is being worked on"},
	fault.KeyReused:          {http.StatusUnprocessableEntity, "Idempotency-Key was used for another request"},
	fault.TooLarge:           {http.StatusRequestEntityTooLarge, "The request is too large"},
	fault.Unavailable:        {http.StatusServiceUnavailable, "Temporarily unavailable"},
	fault.GatewayUnavailable: {http.StatusServiceUnavailable, "The payment gateway is unavailable"},
	methodNotAllowed:         {http.StatusMethodNotAllowed, "Method not allowed"},
	upgradeRequired:          {http.StatusUpgradeRequired, "This address speaks WebSocket"},
	fault.Internal:           {http.StatusInternalServerError, "Something went wrong"},
}

// fail renders err as application/problem+json and ends the request.
func (s *Server) fail(c *gin.Context, err error) {
	if errors.Is(err, context.Canceled) && c.Request.Context().Err() != nil {
		c.AbortWithStatus(499) // the client went away; nobody reads this
		return
	}
	f := s.diagnose(c, err)
	status, title := kindOf(f.Code)
	doc := make(map[string]any, len(f.Members)+6)
	maps.Copy(doc, f.Members)
	doc["type"] = problemBase + string(f.Code)
	doc["title"] = title
	doc["status"] = status
	doc["detail"] = f.Detail
	doc["instance"] = c.Request.URL.Path
	doc["request_id"] = requestID(c)
	if f.RetryAfter > 0 {
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	} else if status == http.StatusServiceUnavailable {
		c.Header("Retry-After", "2")
	}
	if status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Bearer realm="onsale"`)
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // it is read by people, and never as HTML
	if err := enc.Encode(doc); err != nil {
		c.AbortWithStatus(http.StatusInternalServerError)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.Data(status, "application/problem+json", body.Bytes())
	c.Abort()
}

// diagnose finds the fault in err and logs what is ours to mend. Errors that
// are not faults are shown as "internal".
func (s *Server) diagnose(c *gin.Context, err error) *fault.Error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) {
			f = fault.Down(err, "the service")
		} else {
			f = fault.Wrap(err, fault.Internal, "the error is logged under this request id")
		}
	}
	if status, _ := kindOf(f.Code); status >= http.StatusInternalServerError {
		s.log.LogAttrs(c.Request.Context(), slog.LevelError, "request failed",
			slog.String("request_id", requestID(c)), slog.String("route", c.FullPath()), slog.Any("error", err))
	}
	return f
}

// explain is what a person is told about err.
func (s *Server) explain(c *gin.Context, err error) (status int, title, detail string) {
	f := s.diagnose(c, err)
	status, title = kindOf(f.Code)
	return status, title, f.Detail
}

func kindOf(code fault.Code) (status int, title string) {
	kind, known := kinds[code]
	if !known {
		kind = kinds[fault.Internal]
	}
	return kind.status, kind.title
}
