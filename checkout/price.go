package checkout

import (
	"math/bits"

	"onsale/catalog"
)

// PromoKind is how a promo code makes an order cheaper.
type PromoKind string

// The kinds of promo codes.
const (
	PromoPercent PromoKind = "percent" // Value is a catalog.Rate of the tickets' prices
	PromoAmount  PromoKind = "amount"  // Value is minor units off the tickets of one order
)

// Promo is what a promo code takes off.
type Promo struct {
	ID, Code string
	Kind     PromoKind
	Value    int64
}

// ItemPrice is what one ticket of an order costs, in minor units. Total is what
// is paid for it: price, less discount, plus fee, plus tax unless Tax is
// contained in the others.
type ItemPrice struct {
	Price, Discount, Fee, Tax, Total int64
}

// Quote is what some tickets cost when they are bought together. Every line is
// rounded for itself, half a unit up, so that the lines add up to the total and a
// refund of one ticket gives back exactly what was paid for it.
type Quote struct {
	Currency string
	Tax      catalog.Tax
	Promo    *Promo
	Items    []ItemPrice // in the order of the tickets
	// OrderFee is the fee of the order itself, OrderFeeTax the tax in it or on top of
	// it, OrderFeeTotal what is paid for it.
	OrderFee, OrderFeeTax, OrderFeeTotal int64
	Total                                int64
}

// NewQuote prices the tickets with these ordinals. promo may be nil.
func NewQuote(l *catalog.Layout, ordinals []int, promo *Promo) Quote {
	q := Quote{Currency: l.Currency, Tax: l.Terms.Tax, Promo: promo, Items: make([]ItemPrice, len(ordinals))}
	var sum int64
	for i, o := range ordinals {
		q.Items[i].Price = l.Price(o).Amount
		sum += q.Items[i].Price
	}
	if promo != nil {
		discount(q.Items, sum, *promo)
	}
	for i := range q.Items {
		item := &q.Items[i]
		item.Fee = l.Terms.FeePerTicket
		item.Tax, item.Total = taxed(item.Price-item.Discount+item.Fee, q.Tax)
		q.Total += item.Total
	}
	if len(ordinals) > 0 {
		q.OrderFee = l.Terms.FeePerOrder
	}
	q.OrderFeeTax, q.OrderFeeTotal = taxed(q.OrderFee, q.Tax)
	q.Total += q.OrderFeeTotal
	return q
}

// discount spreads what a promo code takes off over the tickets, in proportion to
// their prices and to the last unit.
func discount(items []ItemPrice, sum int64, promo Promo) {
	if promo.Kind == PromoPercent {
		for i := range items {
			items[i].Discount = share(items[i].Price, min(promo.Value, whole), whole)
		}
		return
	}
	off := min(promo.Value, sum)
	// Each ticket takes its share of what is left, so that the shares add up.
	for i := range items {
		if sum == 0 {
			return
		}
		items[i].Discount = share(off, items[i].Price, sum)
		off -= items[i].Discount
		sum -= items[i].Price
	}
}

// taxed returns the tax of an amount and what is paid in all.
func taxed(amount int64, t catalog.Tax) (tax, total int64) {
	rate := int64(t.Rate)
	if t.Included {
		return share(amount, rate, whole+rate), amount
	}
	tax = share(amount, rate, whole)
	return tax, amount + tax
}

// whole is 100 % as a catalog.Rate.
const whole = int64(catalog.MostRate)

// share is amount·part/of, rounded half up, for an amount of at least 0 and a part
// of at most the whole. The product has 128 bits, so that no amount is too large.
func share(amount, part, of int64) int64 {
	high, low := bits.Mul64(uint64(amount), uint64(part))
	quotient, rest := bits.Div64(high, low, uint64(of))
	if rest >= uint64(of)-rest { // half a unit or more
		quotient++
	}
	return int64(quotient)
}
