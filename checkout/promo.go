package checkout

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"onsale/catalog"
	"onsale/internal/fault"
)

// PromoCode is a promo code of an event with its limits. What it takes off is
// either Percent of the tickets' prices or Amount off the tickets of one order.
type PromoCode struct {
	ID        string         `json:"id"`
	Code      string         `json:"code"`
	Percent   *catalog.Rate  `json:"percent"`
	Amount    *catalog.Money `json:"amount"`
	MaxUses   *int           `json:"max_uses"`  // orders; nil: no limit
	PerBuyer  *int           `json:"per_buyer"` // orders of one buyer
	Used      int            `json:"used"`
	StartsAt  *time.Time     `json:"starts_at"`
	EndsAt    *time.Time     `json:"ends_at"`
	Active    bool           `json:"active"`
	Note      string         `json:"note"`
	CreatedAt time.Time      `json:"created_at"`
}

// NewPromo is a promo code to be made, or, with Quantity, as many random ones that
// are good for one order each.
type NewPromo struct {
	Code     string
	Quantity int
	Prefix   string // of random codes
	Percent  *catalog.Rate
	Amount   *int64 // minor units of the event's currency
	MaxUses  *int
	PerBuyer *int
	StartsAt *time.Time
	EndsAt   *time.Time
	Inactive bool
	Note     string
}

// PromoPatch changes a promo code. What is not given stays; null lifts a limit.
type PromoPatch struct {
	Active   *bool                     `json:"active,omitempty"`
	MaxUses  catalog.Change[int]       `json:"max_uses,omitzero"`
	PerBuyer catalog.Change[int]       `json:"per_buyer,omitzero"`
	StartsAt catalog.Change[time.Time] `json:"starts_at,omitzero"`
	EndsAt   catalog.Change[time.Time] `json:"ends_at,omitzero"`
	Note     *string                   `json:"note,omitempty"`
}

// PromoQuery selects promo codes of an event, the latest first.
type PromoQuery struct {
	Event, Code string // Code "" is any
	Cursor      string // the id of the last one of the page before
	Limit       int
}

// PromoPage is one page of promo codes; Next is "" on the last.
type PromoPage struct {
	Promos []PromoCode
	Next   string
}

// PromoStore keeps promo codes durably. Its errors are faults.
type PromoStore interface {
	// CreatePromos makes codes with everything but their ids and their text the
	// same. A code that the event has already is Conflict, and none is made.
	CreatePromos(ctx context.Context, event string, codes []string, p NewPromo) ([]PromoCode, error)
	Promos(ctx context.Context, q PromoQuery) (PromoPage, error)
	PromoCode(ctx context.Context, event, promo string) (PromoCode, error)
	// UpdatePromo refuses a limit below the uses there were as Conflict.
	UpdatePromo(ctx context.Context, event, promo string, p PromoPatch) (PromoCode, error)
	// Promo finds a code that the visitor may use now. If it does not apply it is
	// returned with PromoInvalid, unless there is none.
	Promo(ctx context.Context, event, code, visitor string) (Promo, error)
}

// PromoReason is why a promo code does not apply now.
type PromoReason string

// The reasons, as members of the fault PromoInvalid.
const (
	PromoUnknown   PromoReason = "unknown"
	PromoNotYet    PromoReason = "not_yet"
	PromoOver      PromoReason = "over" // its time is, or it was switched off
	PromoUsedUp    PromoReason = "used_up"
	PromoUsedByYou PromoReason = "used_by_you"
)

var promoDetails = map[PromoReason]string{
	PromoUnknown:   "this event has no such promo code; look at how it is spelt",
	PromoNotYet:    "this promo code is not valid yet",
	PromoOver:      "this promo code is not valid any more",
	PromoUsedUp:    "this promo code has been used up",
	PromoUsedByYou: "you have used this promo code as often as one buyer may",
}

// PromoInvalid is the fault of a promo code that does not apply now.
func PromoInvalid(reason PromoReason) *fault.Error {
	return fault.New(fault.PromoInvalid, "%s", promoDetails[reason]).With("reason", string(reason))
}

// Bounds of promo codes.
const (
	MostPromos     = 10_000 // random codes made at once
	mostPromoUses  = 10_000_000
	mostPromoNote  = 200
	mostPromoOff   = 1_000_000_000_000
	mostPrefix     = 16
	randomCode     = 12 // characters: 60 bits
	mostWrongCodes = 20
	wrongCodesAge  = 10 * time.Minute
)

var (
	promoPattern  = regexp.MustCompile(`^[A-Z0-9-]{3,32}$`)
	prefixPattern = regexp.MustCompile(`^[A-Z0-9-]*$`)
)

// plainCode is a code however it was typed.
func plainCode(code string) string { return strings.ToUpper(strings.TrimSpace(code)) }

// check says what is wrong, as fault.Invalid.
func (p *NewPromo) check() error {
	invalid := func(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
	switch {
	case (p.Code != "") == (p.Quantity != 0):
		return invalid("give either a code, or a quantity of random ones")
	case p.Code != "" && !promoPattern.MatchString(p.Code):
		return invalid("code must be 3 to 32 letters (A to Z), digits and hyphens")
	case p.Code != "" && p.Prefix != "":
		return invalid("prefix: belongs to random codes")
	case p.Code == "" && (p.Quantity < 1 || p.Quantity > MostPromos):
		return invalid("quantity must be from 1 to %d", MostPromos)
	case len(p.Prefix) > mostPrefix || !prefixPattern.MatchString(p.Prefix):
		return invalid("prefix must be at most %d letters (A to Z), digits and hyphens", mostPrefix)
	case p.Quantity > 0 && (p.MaxUses != nil || p.PerBuyer != nil):
		return invalid("max_uses and per_buyer: random codes are good for one order each")
	case (p.Percent != nil) == (p.Amount != nil):
		return invalid("give either percent or amount")
	case p.Percent != nil && (*p.Percent < 1 || *p.Percent > catalog.MostRate):
		return invalid("percent must be above 0 and at most 100")
	case p.Amount != nil && (*p.Amount < 1 || *p.Amount > mostPromoOff):
		return invalid("amount must be from 1 to %d minor units", int64(mostPromoOff))
	}
	return checkPromo(p.MaxUses, p.PerBuyer, p.StartsAt, p.EndsAt, p.Note)
}

func checkPromo(maxUses, perBuyer *int, starts, ends *time.Time, note string) error {
	for _, l := range [...]struct {
		name  string
		value *int
	}{{"max_uses", maxUses}, {"per_buyer", perBuyer}} {
		if l.value != nil && (*l.value < 1 || *l.value > mostPromoUses) {
			return fault.New(fault.Invalid, "%s must be from 1 to %d", l.name, mostPromoUses)
		}
	}
	for _, t := range [...]struct {
		name  string
		value *time.Time
	}{{"starts_at", starts}, {"ends_at", ends}} {
		if t.value != nil && (t.value.Year() < 2000 || t.value.Year() > 2200) {
			return fault.New(fault.Invalid, "%s is not a plausible year", t.name)
		}
	}
	if starts != nil && ends != nil && !ends.After(*starts) {
		return fault.New(fault.Invalid, "ends_at must be after starts_at")
	}
	if utf8.RuneCountInString(note) > mostPromoNote || !utf8.ValidString(note) || hasControl(note) {
		return fault.New(fault.Invalid, "note must be text of at most %d characters", mostPromoNote)
	}
	return nil
}

// Check says what is wrong, as fault.Invalid.
func (p *NewPromo) Check() error {
	p.Code, p.Prefix = plainCode(p.Code), plainCode(p.Prefix)
	return p.check()
}

// Check says what is wrong, as fault.Invalid.
func (p *PromoPatch) Check() error {
	if *p == (PromoPatch{}) {
		return fault.New(fault.Invalid, "nothing is changed: active, max_uses, per_buyer, starts_at, ends_at or note is expected")
	}
	note := ""
	if p.Note != nil {
		note = *p.Note
	}
	return checkPromo(p.MaxUses.Value, p.PerBuyer.Value, p.StartsAt.Value, p.EndsAt.Value, note)
}

// CheckOn says what is wrong with changing had so. Uses that come meanwhile are for
// the store to refuse.
func (p *PromoPatch) CheckOn(had *PromoCode) error {
	if most := p.MaxUses.Value; most != nil && *most < had.Used {
		return fault.New(fault.Conflict, "max_uses cannot be below the %d orders that have used the code", had.Used)
	}
	starts, ends := had.StartsAt, had.EndsAt
	if p.StartsAt.Given {
		starts = p.StartsAt.Value
	}
	if p.EndsAt.Given {
		ends = p.EndsAt.Value
	}
	if starts != nil && ends != nil && !ends.After(*starts) {
		return fault.New(fault.Invalid, "ends_at would not be after starts_at")
	}
	return nil
}

// CreatePromos makes the codes that p asks for.
func (s *Service) CreatePromos(ctx context.Context, event string, p NewPromo) ([]PromoCode, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if _, err := s.catalog.Event(ctx, event); err != nil {
		return nil, err
	}
	codes := []string{p.Code}
	if p.Quantity > 0 {
		one := 1
		p.MaxUses = &one
		codes = make([]string, p.Quantity)
		for i := range codes {
			codes[i] = p.Prefix + newCode()
		}
	}
	return s.orders.CreatePromos(ctx, event, codes, p)
}

// newCode draws a code that nobody guesses, of signs that nobody confuses.
func newCode() string {
	const signs = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ" // 32: no 0, 1, I, O
	var b [randomCode]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand panics instead
	for i := range b {
		b[i] = signs[b[i]&31]
	}
	return string(b[:])
}

// Promos lists promo codes for operators.
func (s *Service) Promos(ctx context.Context, q PromoQuery) (PromoPage, error) {
	if _, err := s.catalog.Event(ctx, q.Event); err != nil {
		return PromoPage{}, err
	}
	if q.Cursor != "" && !catalog.IsID(q.Cursor) {
		return PromoPage{}, fault.New(fault.Invalid, "the cursor is not one that a page before gave out")
	}
	q.Code = plainCode(q.Code)
	return s.orders.Promos(ctx, q)
}

// PromoCode finds one promo code for operators.
func (s *Service) PromoCode(ctx context.Context, event, promo string) (PromoCode, error) {
	return s.orders.PromoCode(ctx, event, promo)
}

// UpdatePromo changes a promo code.
func (s *Service) UpdatePromo(ctx context.Context, event, promo string, p PromoPatch) (PromoCode, error) {
	if err := p.Check(); err != nil {
		return PromoCode{}, err
	}
	return s.orders.UpdatePromo(ctx, event, promo, p)
}

// Promo finds what a code takes off for a visitor now; nil for "". A code that does
// not apply is PromoInvalid. Who tries too many that do not exist is TooMany for a
// while: codes must not be found by guessing.
func (s *Service) Promo(ctx context.Context, event, visitor, code string) (*Promo, error) {
	p, err := s.lookUp(ctx, event, visitor, code)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// promoToOrder is Promo for an order, which may be one that was made before and has
// used up the code itself: whether the code still applies is decided by the order
// store, after it knows the order for a new one.
func (s *Service) promoToOrder(ctx context.Context, event, visitor, code string) (*Promo, error) {
	p, err := s.lookUp(ctx, event, visitor, code)
	if reason := reasonOf(err); reason != "" && reason != PromoUnknown {
		return p, nil
	}
	return p, err
}

// lookUp finds a promo code; one that does not apply comes with PromoInvalid.
func (s *Service) lookUp(ctx context.Context, event, visitor, code string) (*Promo, error) {
	code = plainCode(code)
	if code == "" {
		return nil, nil //nolint:nilnil // no code is a valid answer: nothing is taken off
	}
	if !promoPattern.MatchString(code) { // nothing is learned from it
		return nil, PromoInvalid(PromoUnknown)
	}
	// Counted before it is looked up, so that many tries at once are no way around
	// the limit; what was no guess is taken back.
	wrong, wait, err := s.holds.Guess(ctx, event, visitor, 1, wrongCodesAge)
	if err != nil {
		return nil, err
	}
	if wrong > mostWrongCodes {
		return nil, fault.New(fault.TooMany, "too many promo codes that do not exist; try again later, or go on without one").After(wait)
	}
	p, err := s.orders.Promo(ctx, event, code, visitor)
	if err == nil || reasonOf(err) != PromoUnknown {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sideEffect)
		defer cancel()
		_, _, _ = s.holds.Guess(ctx, event, visitor, -1, wrongCodesAge) // left standing it only counts against one visitor for a while
	}
	return &p, err
}

// reasonOf is the reason of a PromoInvalid, "" for other errors.
func reasonOf(err error) PromoReason {
	if f, ok := fault.Of(err); ok && f.Code == fault.PromoInvalid {
		reason, _ := f.Members["reason"].(string)
		return PromoReason(reason)
	}
	return ""
}

// Price tells what a visitor's hold costs with a promo code; "" is without.
func (s *Service) Price(ctx context.Context, event, visitor, hold, code string) (PriceView, error) {
	layout, err := s.catalog.Layout(ctx, event)
	if err != nil {
		return PriceView{}, err
	}
	held, err := s.holds.Get(ctx, event, visitor, hold)
	if err != nil {
		return PriceView{}, err
	}
	promo, err := s.Promo(ctx, event, visitor, code)
	if err != nil {
		return PriceView{}, err
	}
	return priceOf(layout, held.Ordinals, promo), nil
}

// priceOf shows what some tickets cost. Those of a layout that no longer exists are
// left out.
func priceOf(layout *catalog.Layout, ordinals []int, promo *Promo) PriceView {
	known := make([]int, 0, len(ordinals))
	for _, o := range ordinals {
		if o >= 0 && o < len(layout.Seats) {
			known = append(known, o)
		}
	}
	q := NewQuote(layout, known, promo)
	return q.View(ids(layout, known))
}
