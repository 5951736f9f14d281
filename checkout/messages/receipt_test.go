package messages

import (
	"reflect"
	"testing"
	"time"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/checkout/mail"
)

// The lines of a receipt add up to what was paid, taxes on top and within.
func TestReceiptsAddUp(t *testing.T) {
	t.Parallel()
	back := time.Now()
	eur := func(amount int64) catalog.Money { return catalog.Money{Amount: amount, Currency: "EUR"} }
	for _, included := range []bool{true, false} {
		layout := &catalog.Layout{
			Currency: "EUR", Tiers: []catalog.Tier{{Price: eur(4500)}, {Price: eur(2500)}}, Seats: []catalog.Seat{{Tier: 0}, {Tier: 1}},
			Terms: catalog.Terms{FeePerTicket: 150, FeePerOrder: 200, Tax: catalog.Tax{Name: "VAT", Rate: 7000, Included: included}},
		}
		q := checkout.NewQuote(layout, []int{0, 1}, &checkout.Promo{Code: "SPRING", Kind: checkout.PromoAmount, Value: 500})
		o := &checkout.Order{ID: "o", Total: eur(q.Total), Quote: q}
		for _, cost := range q.Items {
			o.Items = append(o.Items, checkout.Item{Section: "Stalls", Price: eur(cost.Price), Cost: cost})
		}
		o.Items[1].Returned = &back
		r := receipt(o)
		var sum int64
		for _, item := range r.Items {
			sum += item.Price.Amount
		}
		for _, lines := range [][]mail.Line{r.Lines, r.Fees, r.TaxesOnTop} {
			for _, l := range lines {
				sum += l.Amount.Amount
			}
		}
		if sum != q.Total || r.Total != eur(q.Total) {
			t.Errorf("included %t: the lines add up to %d, the order costs %d", included, sum, q.Total)
		}
		if !reflect.DeepEqual(r.Lines, []mail.Line{{Label: "SPRING", Amount: eur(-500)}}) || !reflect.DeepEqual(r.Fees, []mail.Line{{Amount: eur(500)}}) {
			t.Errorf("lines %+v, fees %+v", r.Lines, r.Fees)
		}
		if (len(r.Taxes) == 1) != included || (len(r.TaxesOnTop) == 1) == included || r.Items[0].Returned || !r.Items[1].Returned {
			t.Errorf("included %t: %+v", included, r)
		}
	}
	if r := receipt(&checkout.Order{Total: eur(0)}); len(r.Lines)+len(r.Fees)+len(r.Taxes)+len(r.TaxesOnTop) != 0 {
		t.Errorf("a free order: %+v", r)
	}
}

func TestNamesThatAdvertise(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"Ada Example": "Ada Example", "Win at https://x": "", "WWW.x": "", "a@b.example": "", "Žofia d'Ö": "Žofia d'Ö"} {
		if got := spoken(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// After an exchange the lines are those of the tickets the buyer has now, and still
// add up.
func TestReceiptOfAnExchange(t *testing.T) {
	t.Parallel()
	eur := func(amount int64) catalog.Money { return catalog.Money{Amount: amount, Currency: "EUR"} }
	layout := &catalog.Layout{
		Currency: "EUR", Tiers: []catalog.Tier{{Price: eur(4500)}, {Price: eur(2500)}}, Seats: []catalog.Seat{{Tier: 0}, {Tier: 0}, {Tier: 1}},
		Terms: catalog.Terms{FeePerTicket: 150, FeePerOrder: 200, Tax: catalog.Tax{Name: "VAT", Rate: 7000}},
	}
	q := checkout.NewQuote(layout, []int{0, 1}, nil)
	back := time.Now()
	o := &checkout.Order{ID: "o", Total: eur(q.Total), Quote: q}
	for _, cost := range append(q.Items, checkout.NewQuote(layout, []int{2}, nil).Items...) {
		o.Items = append(o.Items, checkout.Item{Price: eur(cost.Price), Cost: cost})
	}
	o.Items[1].Returned, o.Items[1].Exchanged = &back, true
	r := receipt(o)
	sum := r.Items[0].Price.Amount + r.Items[1].Price.Amount + r.Fees[0].Amount.Amount + r.TaxesOnTop[0].Amount.Amount
	// 45.00, 25.00, fees of 2 · 1.50 and 2.00, and the tax on them: 3.26, 1.86 and 0.14.
	if len(r.Items) != 2 || r.Total != eur(7500+326+186+14) || sum != r.Total.Amount || r.Items[1].Price != eur(2500) {
		t.Errorf("%+v, the lines add up to %d", r, sum)
	}
}
