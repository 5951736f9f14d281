package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// walk is a crowd on its way through one event.
type walk struct {
	api         *API
	event       string
	visitors    int
	clients     []*http.Client // one per address
	claimWindow time.Duration
	notes       *notes
	progress    Progress
	began       time.Time
}

// End is how a visit ended.
type End string

// The ends of a visit. All but Failed are ends that the visitor was told.
const (
	Bought  End = "bought"
	SoldOut End = "sold out"
	ShutOut End = "room closed"
	GaveUp  End = "changed their mind" // held tickets and gave them back
	Missed  End = "missed their turn"
	Failed  End = "failed"
)

// Steps whose time is measured.
const (
	stepJoin    = "join"
	stepConnect = "connect" // WebSocket handshake to first frame
	stepWait    = "wait"    // in line, from joining to the turn
	stepClaim   = "claim"
	stepHold    = "hold"
	stepOrder   = "order"
	stepPay     = "pay"
	stepSettle  = "settle" // until a payment whose answer was lost is known
	stepLeave   = "leave"
	stepLook    = "look" // at the seat map or oneself
)

var steps = []string{stepJoin, stepConnect, stepWait, stepClaim, stepLook, stepHold, stepOrder, stepPay, stepSettle, stepLeave}

// me is what a visitor is told about themselves.
type me struct {
	Visitor string     `json:"visitor"`
	Token   string     `json:"visitor_token"`
	State   string     `json:"state"`
	ClaimBy *time.Time `json:"claim_by"`
	Lease   *time.Time `json:"lease_ends"`
	Pass    *string    `json:"pass"`
	Room    struct {
		Reason    *string `json:"reason"`
		StockLeft *int    `json:"stock_left"`
	} `json:"room"`
}

// soldOut tells whether the page would say that nothing is left.
func (m *me) soldOut() bool {
	return m.Room.StockLeft != nil && *m.Room.StockLeft == 0 || m.Room.Reason != nil && *m.Room.Reason == "sold_out"
}

// visitor is one of the crowd.
type visitor struct {
	*walk

	n      int
	client *http.Client
	id     string
	token  string
	pass   string
	joined time.Time
	slot   span      // of the shop; from is zero while there is none
	until  time.Time // when the slot is lost at the latest
}

// errEnd carries how a visit ended to the one who notes it.
type errEnd End

func (e errEnd) Error() string { return string(e) }

// visit is one visitor's whole way.
func (w *walk) visit(ctx context.Context, n int) {
	v := &visitor{walk: w, n: n, client: w.clients[n/perSource]}
	err := v.goThrough(ctx)
	end := Bought
	var said errEnd
	switch {
	case errors.As(err, &said):
		end = End(said)
	case err != nil:
		end = Failed
		err = fmt.Errorf("visitor %d: %w", n+1, err)
	}
	v.giveUpSlot()
	w.notes.ended(end, err, v.slot)
	w.progress.Stepf(1, "%s", w.notes.summary())
}

// giveUpSlot is called before the visitor does what frees the slot.
func (v *visitor) giveUpSlot() {
	if v.slot.from.IsZero() || !v.slot.to.IsZero() {
		return
	}
	if v.slot.to = time.Now(); v.slot.to.After(v.until) {
		v.slot.to = v.until
	}
}

func (v *visitor) goThrough(ctx context.Context) error {
	if err := v.join(ctx); err != nil {
		return err
	}
	if err := v.wait(ctx); err != nil {
		return err
	}
	if err := v.claim(ctx); err != nil {
		return err
	}
	hold, err := v.hold(ctx)
	if err != nil {
		return err
	}
	return v.buy(ctx, hold)
}

// call sends a request, measured as a step. Too many requests and an
// unavailable program are asked again after the time they say.
func (v *visitor) call(ctx context.Context, step, method, path, token string, header http.Header, in, out any) error {
	if header == nil {
		header = http.Header{}
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	for {
		began := time.Now()
		err := exchange(ctx, v.client, method, v.api.base.String()+path, header, in, out)
		var r *refusal
		switch {
		case err == nil:
			v.notes.took(step, time.Since(began))
			v.notes.answer(step, http.StatusOK)
			return nil
		case errors.As(err, &r):
			v.notes.took(step, time.Since(began))
			v.notes.answer(step, r.Status)
			if again := r.Status == http.StatusTooManyRequests || r.Status == http.StatusServiceUnavailable; !again || ctx.Err() != nil {
				return err
			}
			pause(ctx, max(r.After, time.Second))
		default:
			return err
		}
	}
}

func (v *visitor) roomPath(rest string) string  { return "/v1/rooms/" + v.event + rest }
func (v *visitor) eventPath(rest string) string { return "/v1/events/" + v.event + rest }

// refused is the refusal that an error is, or nil.
func (v *visitor) refused(err error) *refusal {
	r, _ := errors.AsType[*refusal](err)
	return r
}

func (v *visitor) join(ctx context.Context) error {
	var m me
	err := v.call(ctx, stepJoin, http.MethodPost, v.roomPath("/join"), "", nil, object{}, &m)
	if r := v.refused(err); r != nil && r.Code == "room-closed" {
		return errEnd(ShutOut)
	}
	if err != nil {
		return err
	}
	if m.Token == "" || m.Visitor == "" {
		return errors.New("a join was answered without a visitor")
	}
	v.id, v.token, v.joined = m.Visitor, m.Token, time.Now()
	return nil
}

// wait stays connected until the visitor's turn comes, and connects again
// whenever the connection ends.
func (v *visitor) wait(ctx context.Context) error {
	const most = 20 // connections
	var err error
	for range most {
		var done bool
		if done, err = v.connected(ctx); done || ctx.Err() != nil {
			return err
		}
		v.notes.reconnect()
		pause(ctx, time.Duration(200+mathrand.IntN(800))*time.Millisecond)
	}
	return fmt.Errorf("the connection ended %d times: %w", most, err)
}

// connected is one connection; done is false when another one may help.
func (v *visitor) connected(ctx context.Context) (done bool, err error) {
	began := time.Now()
	address := *v.api.base
	address.Scheme = "ws"
	conn, response, err := websocketDialer(v.n).DialContext(ctx, address.String()+v.roomPath("/ws"), nil)
	if response != nil {
		v.notes.answer(stepConnect, response.StatusCode)
	}
	if err != nil {
		return false, handshakeFailed(err, response)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	// As browsers do, which cannot send headers.
	if err := conn.WriteJSON(object{"token": v.token}); err != nil {
		return false, err
	}
	for frames := 0; ; frames++ {
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute)) // pings come every half minute
		_, frame, err := conn.ReadMessage()
		if err != nil {
			return v.parted(err)
		}
		now := time.Now()
		if frames == 0 {
			v.notes.took(stepConnect, now.Sub(began))
		}
		var m me
		if err := json.Unmarshal(frame, &m); err != nil {
			return true, fmt.Errorf("frame: %w", err)
		}
		switch m.State {
		case "waiting", "lobby":
			if m.soldOut() {
				return true, v.leave(ctx, SoldOut)
			}
		case "ready":
			if m.ClaimBy == nil {
				return true, errors.New("a ready visitor was not told until when to claim")
			}
			v.notes.took(stepWait, now.Sub(v.joined))
			v.notes.admit(m.ClaimBy.Add(-v.claimWindow))
			v.slot.from, v.until = now, *m.ClaimBy
			return true, nil
		case "closed":
			return true, errEnd(ShutOut)
		case "expired":
			return true, errEnd(Missed)
		default:
			return true, fmt.Errorf("the state became %q while waiting", m.State)
		}
	}
}

// parted says whether a connection that ended is worth another.
func (v *visitor) parted(err error) (done bool, _ error) {
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		switch closed.Code {
		case 4010:
			return true, errEnd(ShutOut)
		case 4001, 4003:
			return true, fmt.Errorf("the connection was refused: %w", err)
		}
	}
	return false, err
}

func (v *visitor) claim(ctx context.Context) error {
	var m me
	err := v.call(ctx, stepClaim, http.MethodPost, v.roomPath("/claim"), v.token, nil, object{}, &m)
	if r := v.refused(err); r != nil && r.Code == "not-your-turn" {
		return errEnd(Missed)
	}
	if err != nil {
		return err
	}
	if m.State != "shopping" || m.Pass == nil || m.Lease == nil {
		return fmt.Errorf("a claim was answered with state %q", m.State)
	}
	v.pass, v.until = *m.Pass, *m.Lease
	return nil
}

// leave ends the visit.
func (v *visitor) leave(ctx context.Context, end End) error {
	v.giveUpSlot()
	if err := v.call(ctx, stepLeave, http.MethodDelete, v.roomPath("/me"), v.token, nil, nil, nil); err != nil {
		return err
	}
	return errEnd(end)
}

// held is a hold.
type held struct {
	ID      string `json:"hold"`
	Tickets []seat `json:"tickets"`
}

// seat is a ticket that somebody holds.
type seat struct {
	ID      string `json:"id"`
	Ordinal int    `json:"ordinal"`
	Section string `json:"section"`
	Row     string `json:"row"`
}

// holdPatience is how long a visitor goes on trying while others hold what is
// left.
const holdPatience = 45 * time.Second

// hold gets one or two tickets: mostly the best there are, else seats picked
// from the map, as long as anything can be had.
func (v *visitor) hold(ctx context.Context) (*held, error) {
	quantity, picky := 1+mathrand.IntN(2), mathrand.IntN(10) < 3
	for end := time.Now().Add(holdPatience); time.Now().Before(end); {
		request := object{"best_available": object{"quantity": quantity}}
		if picky {
			ordinals, err := v.pick(ctx, quantity)
			if err != nil {
				return nil, err
			}
			if len(ordinals) > 0 {
				request = object{"ordinals": ordinals}
			}
		}
		var h held
		err := v.call(ctx, stepHold, http.MethodPost, v.eventPath("/holds"), v.pass, nil, request, &h)
		if err == nil {
			return &h, nil
		}
		r := v.refused(err)
		switch {
		case r == nil:
			return nil, err
		case r.Code == "tickets-taken":
			continue // somebody was quicker
		case r.Code == "pass-lapsed":
			return nil, errEnd(Missed)
		case r.Code != "sold-out":
			return nil, err
		case quantity > 1:
			quantity = 1 // not next to each other any more
			continue
		}
		var m me
		if err := v.call(ctx, stepLook, http.MethodGet, v.roomPath("/me"), v.token, nil, nil, &m); err != nil {
			return nil, err
		}
		if m.soldOut() {
			break
		}
		pause(ctx, 500*time.Millisecond) // others may not buy what they hold
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, v.leave(ctx, SoldOut)
}

// pick chooses seats at random from those the map shows as free, fewer if there
// are not enough.
func (v *visitor) pick(ctx context.Context, quantity int) ([]int, error) {
	var seatMap struct {
		Total  int    `json:"total"`
		Status string `json:"status"`
	}
	if err := v.call(ctx, stepLook, http.MethodGet, v.eventPath("/availability"), "", nil, nil, &seatMap); err != nil {
		return nil, err
	}
	packed, err := base64.StdEncoding.DecodeString(seatMap.Status)
	if err != nil || len(packed)*4 < seatMap.Total {
		return nil, errors.New("the seat map cannot be read")
	}
	var free []int
	for o := range seatMap.Total {
		if packed[o/4]>>(o%4*2)&3 == 0 {
			free = append(free, o)
		}
	}
	mathrand.Shuffle(len(free), func(i, k int) { free[i], free[k] = free[k], free[i] })
	return free[:min(quantity, len(free))], nil
}

// How visitors behave in the shop, in hundredths of all of them.
const (
	changesMind   = 3 // gives the tickets back
	isDeclined    = 8 // at first
	losesAnswer   = 3 // the gateway's answer is lost
	captureFails  = 2 // at first
	isSlow        = 1
	walksAway     = 5 // after buying, without a word
	allHundredths = 100
)

// paying is an order.
type paying struct {
	ID     string `json:"order"`
	Status string `json:"status"`
}

// buy turns the hold into an order and pays it.
func (v *visitor) buy(ctx context.Context, h *held) error {
	method := "tok_ok"
	switch p := mathrand.IntN(allHundredths); {
	case p < changesMind:
		if err := v.call(ctx, stepLeave, http.MethodDelete, v.eventPath("/holds/"+h.ID), v.pass, nil, nil, nil); err != nil {
			return err
		}
		return v.leave(ctx, GaveUp)
	case p < changesMind+isDeclined:
		method = "tok_declined"
	case p < changesMind+isDeclined+losesAnswer:
		method = "tok_timeout"
	case p < changesMind+isDeclined+losesAnswer+captureFails:
		method = "tok_capture_fails_once"
	case p < changesMind+isDeclined+losesAnswer+captureFails+isSlow:
		method = "tok_slow"
	}
	var o paying
	buyer := object{"name": "Visitor " + strconv.Itoa(v.n+1), "email": fmt.Sprintf("visitor-%d@bench.example", v.n+1)}
	err := v.call(ctx, stepOrder, http.MethodPost, "/v1/orders", v.pass, http.Header{"Idempotency-Key": {rand.Text()}},
		object{"hold": h.ID, "buyer": buyer}, &o)
	if err != nil {
		return err
	}
	const attempts = 3
	for range attempts {
		v.giveUpSlot() // who has bought as much as they may has no slot any more
		err := v.call(ctx, stepPay, http.MethodPost, "/v1/orders/"+o.ID+"/pay", v.pass, http.Header{"Idempotency-Key": {rand.Text()}},
			object{"method": method}, &o)
		if err != nil {
			return err
		}
		if o.Status == "payment_unknown" {
			if err := v.settle(ctx, &o); err != nil {
				return err
			}
		}
		switch o.Status {
		case "paid", "fulfilled":
			tickets := make([]string, len(h.Tickets))
			for i := range h.Tickets {
				tickets[i] = h.Tickets[i].ID
			}
			v.notes.bought(purchase{order: o.ID, visitor: v.id, tickets: tickets})
			if mathrand.IntN(allHundredths) < walksAway {
				return nil // the program frees the slot itself
			}
			return v.leave(ctx, Bought)
		case "declined":
			method = "tok_ok"
		default:
			return fmt.Errorf("a payment was answered with status %q", o.Status)
		}
	}
	return fmt.Errorf("declined %d times", attempts)
}

// settle waits until the program knows whether an order is paid.
func (v *visitor) settle(ctx context.Context, o *paying) error {
	const most = time.Minute
	began := time.Now()
	for time.Since(began) < most && ctx.Err() == nil {
		pause(ctx, 500*time.Millisecond)
		if err := v.call(ctx, stepLook, http.MethodGet, "/v1/orders/"+o.ID, v.pass, nil, nil, o); err != nil {
			return err
		}
		if o.Status != "payment_unknown" {
			v.notes.took(stepSettle, time.Since(began))
			return nil
		}
	}
	return fmt.Errorf("a payment was still unknown after %v", most)
}
