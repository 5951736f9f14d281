package catalog

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"onsale/internal/fault"
)

// Terms are what an event charges besides the prices of its tickets, and what it
// gives back to buyers who cancel.
type Terms struct {
	FeePerTicket int64 // minor units of the event's currency
	FeePerOrder  int64
	Tax          Tax
	Cancel       *CancelPolicy // nil: buyers cannot cancel what they have paid
}

// Same reports whether two terms say the same.
func (t Terms) Same(as Terms) bool {
	if (t.Cancel == nil) != (as.Cancel == nil) || t.Cancel != nil && *t.Cancel != *as.Cancel {
		return false
	}
	t.Cancel, as.Cancel = nil, nil
	return t == as
}

// Tax is what the country of the venue takes of tickets and fees.
type Tax struct {
	Name     string // as receipts say it: VAT, sales tax …
	Rate     Rate
	Included bool // prices and fees contain it; otherwise it comes on top
}

// Rate is a share in thousandths of a percent: 8875 is 8.875 %. In JSON it is the
// text "8.875"; a number is read, too, by its digits and never as a float.
type Rate int

// MostRate is the whole: 100 %.
const MostRate Rate = 100_000

// String writes the rate as people do: "8.875", "19".
func (r Rate) String() string {
	whole, part := int(r)/1000, int(r)%1000
	if part == 0 {
		return strconv.Itoa(whole)
	}
	return strconv.Itoa(whole) + "." + strings.TrimRight(strconv.Itoa(1000 + part)[1:], "0")
}

// ParseRate reads a percentage from 0 to 100 with at most three decimals. ok is
// false for anything else.
func ParseRate(text string) (r Rate, ok bool) {
	whole, part, dotted := strings.Cut(text, ".")
	if !digits(whole, 3) || dotted && !digits(part, 3) {
		return 0, false
	}
	n, err := strconv.Atoi(whole + part + "000"[len(part):])
	return Rate(n), err == nil && Rate(n) <= MostRate
}

// digits reports whether s is 1 to most digits.
func digits(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// MarshalJSON writes the text.
func (r Rate) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

// UnmarshalJSON reads a text or a number. Anything else is fault.Invalid.
func (r *Rate) UnmarshalJSON(b []byte) error {
	text := string(b)
	if b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	read, ok := ParseRate(text)
	if !ok {
		return fault.New(fault.Invalid, "percent: %s", badRate)
	}
	*r = read
	return nil
}

const badRate = `must be a percentage from 0 to 100 with at most three decimals, such as "8.875"`

// CancelPolicy is until when buyers may cancel a paid order by themselves.
type CancelPolicy struct {
	UntilHours int  `json:"until_hours"` // before the event starts
	KeepsFees  bool `json:"keep_fees"`
}

// Bounds of terms.
const (
	mostTaxName     = 50
	mostCancelHours = 8760
)

func (t Terms) check(r *review) {
	r.amountAt("$.fees.per_ticket", t.FeePerTicket)
	r.amountAt("$.fees.per_order", t.FeePerOrder)
	t.Tax.check(r)
	if t.Cancel != nil {
		t.Cancel.check(r)
	}
}

func (t Tax) check(r *review) {
	if t.Rate < 0 || t.Rate > MostRate {
		r.problemAtf("$.tax.percent", badRate)
	}
	switch n := len([]rune(t.Name)); {
	case t.Rate > 0 && strings.TrimSpace(t.Name) == "":
		r.problemAtf("$.tax.name", "is missing: what receipts call it, such as VAT")
	case n > mostTaxName || !storable(t.Name) || hasControl(t.Name):
		r.problemAtf("$.tax.name", "must be text of at most %d characters", mostTaxName)
	}
}

func (p CancelPolicy) check(r *review) {
	if p.UntilHours < 0 || p.UntilHours > mostCancelHours {
		r.problemAtf("$.cancellation.until_hours", "must be a whole number from 0 to %d", mostCancelHours)
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f })
}

// terms reads fees, tax and cancellation of an event document. What says nothing of
// a tax has that of the venue's country.
func (r *review) terms(root *node, country string) Terms {
	var t Terms
	if m := root.given("fees"); m != nil && r.object(m, r.strange, "per_ticket", "per_order") {
		t.FeePerTicket = r.integer(m, "per_ticket", 0, 0, mostAmount)
		t.FeePerOrder = r.integer(m, "per_order", 0, 0, mostAmount)
	}
	t.Tax = r.tax(root, country)
	if m := root.given("cancellation"); m != nil && r.object(m, r.strange, "until_hours", "keep_fees") {
		if m.given("until_hours") == nil {
			r.problemf(m, "until_hours is missing")
		}
		t.Cancel = &CancelPolicy{
			UntilHours: int(r.integer(m, "until_hours", 0, 0, mostCancelHours)), KeepsFees: r.yesOr(m, "keep_fees", true),
		}
	}
	return t
}

func (r *review) tax(root *node, country string) Tax {
	m := root.given("tax")
	if m == nil {
		return r.defaults.Taxes[country]
	}
	if !r.object(m, r.strange, "name", "percent", "included") {
		return Tax{}
	}
	t := Tax{Name: r.text(m, "name"), Included: r.yesOr(m, "included", true)}
	p := m.given("percent")
	switch {
	case p == nil:
		r.problemf(m, "the percent is missing")
		return Tax{}
	case p.kind != isNumber && p.kind != isString:
		r.problemf(p, "%s", badRate)
		return Tax{}
	}
	var ok bool
	if t.Rate, ok = ParseRate(strings.TrimSpace(p.text)); !ok {
		r.problemf(p, "%s", badRate)
	}
	return t
}

// yesOr reads true or false; absent is def.
func (r *review) yesOr(n *node, key string, def bool) bool {
	if n.given(key) == nil {
		return def
	}
	return r.yes(n, key)
}

// FeesPatch changes the fees of an event. Nil fields stay as they are.
type FeesPatch struct {
	PerTicket *int64 `json:"per_ticket,omitempty"`
	PerOrder  *int64 `json:"per_order,omitempty"`
}

// TaxPatch is a tax as operators write it.
type TaxPatch struct {
	Name     string `json:"name"`
	Rate     *Rate  `json:"percent"`
	Included *bool  `json:"included,omitempty"` // nil is true
}

// Tax is the tax that the patch makes; nil is none.
func (p *TaxPatch) Tax() Tax {
	t := Tax{Included: true}
	if p == nil {
		return t
	}
	t.Name = strings.TrimSpace(p.Name)
	if p.Rate != nil {
		t.Rate = *p.Rate
	}
	if p.Included != nil {
		t.Included = *p.Included
	}
	return t
}

// CancelPatch is a cancellation policy as operators write it.
type CancelPatch struct {
	UntilHours *int  `json:"until_hours"`
	KeepsFees  *bool `json:"keep_fees,omitempty"` // nil is true
}

// Policy is the policy that the patch makes; nil is none.
func (p *CancelPatch) Policy() *CancelPolicy {
	if p == nil || p.UntilHours == nil {
		return nil
	}
	return &CancelPolicy{UntilHours: *p.UntilHours, KeepsFees: p.KeepsFees == nil || *p.KeepsFees}
}

// Change replaces a part of an event as a whole. JSON null is given, and takes the
// part away.
type Change[T any] struct {
	Given bool
	Value *T
}

// UnmarshalJSON reads the new part. Unknown members are errors.
func (c *Change[T]) UnmarshalJSON(b []byte) error {
	c.Given = true
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(&c.Value)
}

// MarshalJSON writes the new part.
func (c Change[T]) MarshalJSON() ([]byte, error) { return json.Marshal(c.Value) }

// IsZero reports whether nothing is changed.
func (c Change[T]) IsZero() bool { return !c.Given }

func (p EventPatch) checkTerms(r *review) {
	if f := p.Fees; f != nil {
		if f.PerTicket != nil {
			r.amountAt("$.fees.per_ticket", *f.PerTicket)
		}
		if f.PerOrder != nil {
			r.amountAt("$.fees.per_order", *f.PerOrder)
		}
		if f.PerTicket == nil && f.PerOrder == nil {
			r.problemAtf("$.fees", "per_ticket or per_order is expected")
		}
	}
	if t := p.Tax.Value; t != nil {
		if t.Rate == nil {
			r.problemAtf("$.tax.percent", "is missing")
		}
		t.Tax().check(r)
	}
	if c := p.Cancel.Value; c != nil {
		if c.UntilHours == nil {
			r.problemAtf("$.cancellation.until_hours", "is missing")
		} else {
			c.Policy().check(r)
		}
	}
}
